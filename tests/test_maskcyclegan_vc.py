"""MaskCycleGAN-VC as published, from recordings to a converted recording, by the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_pretrained_vocoders import HIFIGAN, write_hifigan
from torch import nn

import cyclegan_media
from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.demo.voices import say, write_voices
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.recipe import VoiceData, load_recipe
from cyclegan_media.speech import AnalysisConfig, GriffinLim, LogMelConfig, SpeakerStatistics
from cyclegan_media.training import train
from cyclegan_media.training.voice_task import VoiceTask

CONFIG = LogMelConfig()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("voices") / "data"
    write_voices(folder, sentences=4, held_out=1)
    return find_files(folder, folder, ("audio",))


@pytest.fixture(scope="module")
def model(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recipe, with slimmer networks and two steps."""
    recipe = load_recipe(
        "maskcyclegan_vc",
        [
            "model.generator.width=2",
            "model.generator.residual_blocks=1",
            "model.discriminator.width=2",
            *("trainer.steps=2", "trainer.decay_steps=0", "trainer.preview_every=1000"),
        ],
    )
    run = tmp_path_factory.mktemp("run") / "run"
    trained = train(recipe, files, run, device="cpu", progress=False).model
    assert trained is not None
    return trained


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "anna.wav"
    soundfile.write(path, 0.3 * say(9, "a")[:20001], 16000)
    return path


def test_the_recipe_is_the_papers() -> None:
    recipe = load_recipe("maskcyclegan_vc")
    data, trainer = recipe.data, recipe.trainer
    assert isinstance(data, VoiceData)
    assert data.analysis == CONFIG
    assert data.example_shape == (80, 64)
    assert data.longest_gap == 32
    assert data.gives == {"mask"}
    assert (recipe.optimiser.generator_lr, recipe.optimiser.discriminator_lr) == (2e-4, 1e-4)
    assert recipe.objective["cycle"]["weight"] == 10
    assert (
        recipe.objective["identity"] | {"weight": 5, "until": 10000}
        == (recipe.objective["identity"])
    )
    assert "two_step_adversarial" in recipe.objective
    assert trainer.batch_size == 1


def test_segments_and_their_gaps(files: Files) -> None:
    data = VoiceData(frames=64, longest_gap=32, analysis=CONFIG)
    task = VoiceTask(data, files, lambda message: None)
    drawn = [task.domain_a.sample(k % 4, random_generator(k)) for k in range(60)]
    assert all(isinstance(sample, dict) for sample in drawn)
    bands = torch.stack([sample["real"] for sample in drawn])  # type: ignore[call-overload]
    masks = torch.stack([sample["mask"] for sample in drawn])  # type: ignore[call-overload]
    assert bands.shape == (60, 80, 64)
    assert bands.mean(dim=(0, 2)).abs().max() < 0.7
    assert (bands.std(dim=(0, 2)) - 1).abs().max() < 0.5
    hidden = (1 - masks).sum(dim=(1, 2))
    assert hidden.max() <= 32
    assert hidden.min() < 8
    assert hidden.max() > 24


class Linear(nn.Module):
    """Shifts every band."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(())), shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


def test_validation_and_preview_by_hand(files: Files) -> None:
    task = VoiceTask(VoiceData(frames=64, analysis=CONFIG), files, lambda message: None)
    same = task.validate({"a2b": Linear(), "b2a": Linear()})  # type: ignore[dict-item]
    assert same["cycle_a"] == pytest.approx(0, abs=1e-4)
    shifted = task.validate({"a2b": Linear(0.5), "b2a": Linear()})  # type: ignore[dict-item]
    assert shifted["cycle_a"] == pytest.approx(0.5, abs=0.02)  # but where speech fades into pauses
    assert shifted["distance_a2b"] > same["distance_a2b"] + 0.1
    preview = task.preview({"a2b": Linear()})  # type: ignore[dict-item]
    real, rate = preview.sounds["a2b_real"]
    converted, _ = preview.sounds["a2b_converted"]
    assert rate == 22050
    assert converted.shape == real.shape
    assert 0.05 < np.abs(converted).max() <= 0.99


def test_the_model_folder_says_all_that_its_spectra_depend_on(model: Path) -> None:
    stated = json.loads((model / "config.json").read_text())["analysis"]
    assert stated == {
        "kind": "log_mel",
        "sample_rate": 22050,
        "n_fft": 1024,
        "hop": 256,
        "bands": 80,
        "f_min": 0.0,
        "f_max": 8000.0,
        "filters": "slaney",
        "floor": 1e-5,
        "centred": False,
    }
    statistics = load_model(model).statistics
    assert len(SpeakerStatistics.from_tensors(statistics, "a").mean) == 80


def converted(recording: Path, model: Path, target: Path, *options: str) -> np.ndarray:
    """What the command line writes."""
    arguments = ["translate", str(recording), "-m", str(model), "-o", str(target), "--quiet"]
    assert main([*arguments, "--device", "cpu", *options]) == 0
    samples, rate = soundfile.read(target)
    assert rate == 16000
    assert samples.shape == (20001,)
    assert 0 < np.abs(samples).max() <= 0.99
    return samples


def test_recordings_are_converted_with_every_vocoder(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    fits = write_hifigan(tmp_path / "hifigan", HIFIGAN)
    plain = converted(recording, model, tmp_path / "plain.wav")
    named = converted(recording, model, tmp_path / "named.wav", "--vocoder", "griffin_lim")
    np.testing.assert_array_equal(named, plain)
    file = converted(recording, model, tmp_path / "file.wav", "--vocoder", str(fits))
    folder = converted(recording, model, tmp_path / "f.flac", "--vocoder", str(fits.parent))
    np.testing.assert_allclose(folder, file, atol=1e-4)
    assert np.abs(file - plain).max() > 0.01


def test_vocoders_that_do_not_fit_are_refused_before_anything_is_written(
    model: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**HIFIGAN, "sampling_rate": 24000, "fmax": 12000}
    unfit = write_hifigan(tmp_path / "unfit", other)
    world = tmp_path / "world"
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    folder = ModelConfig(modality="voice", generators={"a2b": spec}, analysis={"f0": "dio"})
    statistics = {
        name: tensor
        for side in ("a", "b")
        for name, tensor in SpeakerStatistics(
            np.zeros(24, np.float32), np.ones(24, np.float32), 5.0, 0.1
        )
        .to_tensors(side)
        .items()
    }
    save_model(world, PretrainedModel(folder, {"a2b": build(spec)}, statistics))
    picture = tmp_path / "picture"
    drawn = {"name": "resnet", "width": 2, "blocks": 1}
    config = ModelConfig(modality="image", generators={"a2b": drawn})
    save_model(picture, PretrainedModel(config, {"a2b": build(drawn)}))
    for folder_, vocoder, says in (
        (model, str(unfit), "sample_rate 24000, but the model's analysis has sample_rate 22050"),
        (model, "nowhere", "nowhere: there is no such vocoder"),
        (world, "griffin_lim", "griffin_lim: takes log-mel spectra, but this model's .* 'world'"),
        (world, str(unfit), "takes log-mel spectra, but this model's .* 'world'"),
        (picture, "griffin_lim", "translates pictures; a vocoder is for voices"),
    ):
        target = tmp_path / "out.wav"
        arguments = ["translate", str(recording), "-m", str(folder_), "-o", str(target)]
        assert main([*arguments, "--device", "cpu", "--vocoder", vocoder]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.search(says, error), error
        assert not target.exists()
    for folder_, option, says in (
        (model, ("--pitch", "quantile"), "the network converts it"),
        (model, ("--synthesis", "differential"), "needs a model on WORLD's features"),
        (picture, ("--variance", "0.5"), "variance, retrieval, pitch and synthesis are for voices"),
    ):
        arguments = ["translate", str(recording), "-m", str(folder_), "-o", str(target)]
        assert main([*arguments, "--device", "cpu", *option]) == 2
        assert says in capsys.readouterr().err
        assert not target.exists()
    # What a folder says that knew of no other analysis is still understood.
    assert main(["translate", str(recording), "-m", str(world), "-o", str(target), "--quiet"]) == 0
    assert len(soundfile.read(target)[0]) == 20001
    assert AnalysisConfig.model_validate(load_model(world).config.analysis).f0 == "dio"


def test_arrays_are_converted_with_a_vocoder_of_ones_own(model: Path) -> None:
    class Counting:
        """Griffin-Lim that says what it was given."""

        name, convention = "counting", CONFIG

        def __init__(self) -> None:
            self.frames = 0

        def __call__(self, log_mel: np.ndarray) -> np.ndarray:
            self.frames += log_mel.shape[1]
            return GriffinLim(CONFIG)(log_mel)

    vocoder = Counting()
    translator = cyclegan_media.load(model, device="cpu")
    voice = 0.3 * say(9, "a")[:8000]
    out = translator.translate(voice, sample_rate=16000, vocoder=vocoder)
    assert out.shape == voice.shape
    assert vocoder.frames == CONFIG.frames(11025)
    plain = translator.translate(voice, sample_rate=16000)
    np.testing.assert_array_equal(out, plain)
