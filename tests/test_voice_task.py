"""Training on voices: data, validation that can tell good from bad, previews, and a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.demo.voices import say, write_voices
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import load_model
from cyclegan_media.recipe import VoiceData, load_recipe
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics
from cyclegan_media.training import train
from cyclegan_media.training.voice_task import VoiceTask
from cyclegan_media.translate.voice import convert_voice

DATA = VoiceData(frames=64, analysis=AnalysisConfig(f0="dio"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voices(tmp_path_factory.mktemp("voices") / "data", sentences=6, held_out=2)


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    return find_files(folder, folder, ("audio",))


@pytest.fixture(scope="module")
def task(files: Files) -> VoiceTask:
    return VoiceTask(DATA, files, lambda message: None)


class Linear(nn.Module):
    """Scales and shifts every coefficient."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


def generators(a2b: nn.Module, b2a: nn.Module) -> dict[str, nn.Module]:
    return {"a2b": a2b, "b2a": b2a}


def test_segments_of_both_voices_are_standardised(task: VoiceTask) -> None:
    for domain in (task.domain_a, task.domain_b):
        assert len(domain) == 6
        drawn = torch.stack([domain.sample(k % 6, random_generator(k)) for k in range(60)])
        assert drawn.shape == (60, 24, 64)
        assert drawn.dtype == torch.float32
        assert drawn.mean(dim=(0, 2)).abs().max() < 0.5
        assert (drawn.std(dim=(0, 2)) - 1).abs().max() < 0.4


def test_validation_of_generators_that_change_nothing(task: VoiceTask) -> None:
    figures = task.validate(generators(Linear(), Linear()))  # type: ignore[arg-type]
    assert set(figures) == {"score", "distance_a2b", "distance_b2a", "cycle_a", "cycle_b"}
    assert figures["cycle_a"] == pytest.approx(0, abs=1e-5)
    assert figures["cycle_b"] == pytest.approx(0, abs=1e-5)
    assert figures["score"] == pytest.approx(
        (figures["distance_a2b"] + figures["distance_b2a"]) / 2, abs=1e-5
    )
    assert 0 < figures["distance_a2b"] < 1


def test_validation_by_hand(task: VoiceTask) -> None:
    same = task.validate(generators(Linear(), Linear()))  # type: ignore[arg-type]
    # A shift by 1 on the way there and not back: an error of 1 in every coefficient.
    shifted = task.validate(generators(Linear(shift=1.0), Linear()))  # type: ignore[arg-type]
    assert shifted["cycle_a"] == pytest.approx(1, abs=1e-4)
    assert shifted["cycle_b"] == pytest.approx(1, abs=1e-4)
    assert shifted["distance_a2b"] > same["distance_a2b"] + 0.3
    assert shifted["distance_b2a"] == pytest.approx(same["distance_b2a"], abs=1e-6)
    # There and back by inverse maps: no error in the cycle, but a distribution too wide.
    wide = task.validate(generators(Linear(2.0), Linear(0.5)))  # type: ignore[arg-type]
    assert wide["cycle_a"] == pytest.approx(0, abs=1e-5)
    assert wide["distance_a2b"] > same["distance_a2b"] + 0.3


def test_validation_is_repeatable_and_survives_nonsense(task: VoiceTask) -> None:
    first, again = (
        task.validate(generators(Linear(1.1), Linear(0.9)))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first == again
    broken = task.validate(generators(Linear(float("nan")), Linear()))  # type: ignore[arg-type]
    assert not broken["score"] < 1e9  # never the best


def test_preview_shows_and_plays_every_stage(task: VoiceTask) -> None:
    preview = task.preview(generators(Linear(), Linear()))  # type: ignore[arg-type]
    assert set(preview.pictures) == {"a2b", "b2a"}
    assert set(preview.sounds) == {
        f"{way}_{stage}" for way in ("a2b", "b2a") for stage in ("real", "converted", "cycle")
    }
    for way, voice in (("a2b", "a"), ("b2a", "b")):
        real, rate = preview.sounds[f"{way}_real"]
        assert rate == 16000
        np.testing.assert_allclose(real, say(0, voice)[: len(real)], atol=1e-4)  # type: ignore[arg-type]
        for stage in ("converted", "cycle"):
            samples, _ = preview.sounds[f"{way}_{stage}"]
            assert samples.shape == real.shape
            assert 0.05 < np.abs(samples).max() <= 1
        picture = preview.pictures[way]
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        rows = np.split(picture, 3)
        assert not np.array_equal(rows[0], rows[1])


def test_the_model_folder_gets_what_conversion_needs(task: VoiceTask) -> None:
    assert AnalysisConfig.model_validate(task.analysis()) == DATA.analysis
    tensors = task.statistics()
    high, low = (SpeakerStatistics.from_tensors(tensors, side) for side in ("a", "b"))
    assert high.log_f0_mean - low.log_f0_mean > 0.4


def test_without_held_out_recordings_training_ones_stand_in(files: Files) -> None:
    bare = Files(files.train_a, files.train_b, [], [])
    figures = VoiceTask(DATA, bare, lambda message: None).validate(
        generators(Linear(), Linear())  # type: ignore[arg-type]
    )
    assert np.isfinite(list(figures.values())).all()


def test_held_out_silence_is_passed_over(files: Files, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(8000), 16000)
    task = VoiceTask(
        DATA, Files(files.train_a, files.train_b, [silence], files.held_out_b), lambda message: None
    )
    figures = task.validate(generators(Linear(), Linear()))  # type: ignore[arg-type]
    assert np.isfinite(list(figures.values())).all()
    preview = task.preview(generators(Linear(), Linear()))  # type: ignore[arg-type]
    assert np.abs(preview.sounds["a2b_converted"][0]).max() < 1e-6


def test_a_speaker_without_speech_is_refused_by_name(files: Files, tmp_path: Path) -> None:
    hum = tmp_path / "hum.wav"
    soundfile.write(hum, 0.01 * np.random.default_rng(0).normal(size=8000), 16000)
    with pytest.raises(UserError, match=rf"{tmp_path}: domain B: .*less than one segment of 64"):
        VoiceTask(DATA, Files(files.train_a, [hum], [], []), lambda message: None)


def test_matched_tracts_move_the_higher_voice_to_less_warping(files: Files) -> None:
    said: list[str] = []
    data = DATA.model_copy(update={"match_tracts": True, "whitening": 0.0})
    task = VoiceTask(data, files, said.append)
    tensors = task.statistics()
    alpha_a, alpha_b = float(tensors["a.alpha"]), float(tensors["b.alpha"])
    assert alpha_a < alpha_b
    assert (alpha_a + alpha_b) / 2 == pytest.approx(0.42, abs=1e-6)
    assert any("all-pass constants" in message for message in said)
    weight = tensors["a.weight"]
    assert weight[0] > 4 * weight[-1]  # c₁ varies far more than c₂₄
    torch.testing.assert_close(weight, tensors["b.weight"])
    segment = task.domain_a.sample(0, random_generator(0))
    assert segment.shape == (24, 64)
    assert np.isfinite(list(task.validate(generators(Linear(), Linear())).values())).all()  # type: ignore[arg-type]
    assert len(task.preview(generators(Linear(), Linear())).sounds) == 6  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["cyclegan_vc", "cyclegan_vc_small", "cyclegan_vc2_small", "demo_voice"]
)
def test_recipes_train_to_a_model_that_converts(name: str, files: Files, tmp_path: Path) -> None:
    recipe = load_recipe(
        name,
        [
            "model.generator.width=2",
            "model.generator.residual_blocks=1",
            "model.discriminator.width=2",
            "trainer.steps=2",
            "trainer.decay_steps=1",
            "trainer.checkpoint_every=2",
            "data.analysis.f0=dio",
        ],
    )
    result = train(recipe, files, tmp_path / "run", device="cpu", progress=False)
    assert result.steps == 3
    assert result.model is not None
    model = load_model(result.model)
    sentence = say(0, "a")
    for direction in ("a2b", "b2a"):
        out, rate = convert_voice(model, sentence, 16000, direction)  # type: ignore[arg-type]
        assert rate == 16000
        assert out.shape == sentence.shape
        assert np.isfinite(out).all()
    assert (tmp_path / "run/validation.csv").read_text().startswith("step,score,distance_a2b")
