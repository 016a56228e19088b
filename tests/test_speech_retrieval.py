"""Spectra drawn to the target's own: against the definition, and as models keep and use them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.demo.voices import say, write_voices
from cyclegan_media.errors import UserError
from cyclegan_media.media.audio_writer import write_audio
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.recipe import VoiceData
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    LogMelConfig,
    SpeakerStatistics,
    active_frames,
    analyse,
    convert_features,
)
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.speech.retrieval import NEIGHBOURS, SHARPNESS, choose_frames, draw_to_frames
from cyclegan_media.training.voice_task import VoiceTask
from cyclegan_media.translate.voice import convert_voice

CONFIG = AnalysisConfig(f0="dio")
SPEC = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}


def by_definition(spectrum: np.ndarray, frames: np.ndarray, share: float) -> np.ndarray:
    """The equation of the module, frame by frame in float64."""
    out = []
    for y in spectrum.T.astype(np.float64):
        squares = np.square(frames - y).sum(axis=1)
        near = np.argsort(squares)[:NEIGHBOURS]
        weights = np.exp(-SHARPNESS * (squares[near] - squares[near[0]]) / squares[near[0]])
        drawn = (weights[:, None] * frames[near]).sum(axis=0) / weights.sum()
        out.append((1 - share) * y + share * drawn)
    return np.stack(out, axis=1)


@pytest.mark.parametrize("count", [5, NEIGHBOURS, 700])
def test_each_frame_moves_as_the_equation_says(count: int) -> None:
    rng = np.random.default_rng(count)
    frames = rng.normal(size=(count, 6)).astype(np.float32)
    spectrum = rng.normal(size=(6, 600)).astype(np.float32)  # more than are compared at once
    got = draw_to_frames(spectrum, frames, 0.7)
    np.testing.assert_allclose(got, by_definition(spectrum, frames, 0.7), atol=2e-4)


def test_nothing_moves_without_a_share_nor_what_the_target_has_made() -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(300, 6)).astype(np.float32)
    made = frames[:40].T.copy()
    assert np.array_equal(draw_to_frames(made, frames, 0.0), made)
    np.testing.assert_allclose(draw_to_frames(made, frames, 1.0), made, atol=1e-5)


def test_frames_stay_within_what_the_target_has_made() -> None:
    rng = np.random.default_rng(1)
    frames = rng.uniform(-1, 1, size=(500, 4)).astype(np.float32)
    wild = rng.normal(scale=5, size=(4, 50)).astype(np.float32)
    assert np.abs(draw_to_frames(wild, frames, 1.0)).max() <= 1


def features(lengths: list[int], loud: float = 0.0) -> list[Features]:
    """Recordings whose single coefficient numbers all frames, every fourth of which is a pause."""
    made, start = [], 0
    for length in lengths:
        energy = np.full(length, loud, dtype=np.float32)
        energy[3::4] = -20
        number = np.arange(start, start + length, dtype=np.float32)
        made.append(Features(np.full(length, 100.0), number[None], energy, 80 * length, None))
        start += length
    return made


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 80))
def test_kept_frames_are_speech_and_spread_evenly(lengths: list[int], most: int) -> None:
    recordings = features(lengths)
    speech = np.concatenate([item.spectrum[0, active_frames(item)] for item in recordings])
    kept = choose_frames(recordings, most)
    assert kept.shape == (min(most, len(speech)), 1)
    assert kept.dtype == np.float32
    places = np.sort(np.searchsorted(speech, kept[:, 0]))
    assert np.array_equal(speech[places], np.sort(kept[:, 0]))
    assert len(set(places)) == len(places)
    gaps = np.diff(places)
    if len(gaps):
        assert gaps.max() - gaps.min() <= 1


def test_kept_frames_do_not_follow_one_another() -> None:
    kept = choose_frames(features([4000]), 3000)[:, 0]
    assert np.mean(np.abs(np.diff(kept)) < 20) < 0.05
    assert np.array_equal(kept, choose_frames(features([4000]), 3000)[:, 0])


class Negated(torch.nn.Module):
    """A network whose output tells what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = torch.nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sign * x


def test_a_conversion_draws_what_goes_into_the_network_and_what_comes_out() -> None:
    rng = np.random.default_rng(2)
    item = analyse(say(3, "a"), CONFIG)
    own = SpeakerStatistics.from_features([item])
    shape = (400, CONFIG.coefficients)
    source, target = (
        replace(own, frames=rng.normal(size=shape).astype(np.float32)) for _ in range(2)
    )
    drawn = convert_features(item, Negated(), source, target, Conversion(retrieval=0.6))
    at = np.flatnonzero(active_frames(item))[50:-50]
    kept = [own.standardise(speaker.frames.T).T for speaker in (source, target)]  # type: ignore[union-attr]
    given = by_definition(own.standardise(item.spectrum[:, at]), kept[0], 0.6)
    wanted = by_definition(-given, kept[1], 0.6)
    np.testing.assert_allclose(own.standardise(drawn.spectrum[:, at]), wanted, atol=2e-3)
    # Without a share, or frames, the network alone.
    for speaker, share in ((target, 0.0), (own, 0.6)):
        plain = convert_features(item, Negated(), speaker, speaker, Conversion(retrieval=share))
        alone = -own.standardise(item.spectrum[:, at])
        np.testing.assert_allclose(own.standardise(plain.spectrum[:, at]), alone, atol=1e-4)


@pytest.fixture(scope="module")
def statistics() -> dict[str, torch.Tensor]:
    found = {}
    for side in ("a", "b"):
        items = [analyse(say(k, side), CONFIG) for k in (10, 11)]
        speaker = replace(SpeakerStatistics.from_features(items), frames=choose_frames(items, 300))
        found |= speaker.to_tensors(side)
    return found


@pytest.fixture(scope="module")
def model(statistics: dict[str, torch.Tensor]) -> PretrainedModel:
    torch.manual_seed(0)
    return PretrainedModel(
        ModelConfig(modality="voice", generators={"a2b": SPEC}, analysis=CONFIG.model_dump()),
        {"a2b": build(SPEC).eval()},
        statistics,
    )


def test_a_model_folder_keeps_the_frames(model: PretrainedModel, tmp_path: Path) -> None:
    again = load_model(save_model(tmp_path / "model", model))
    assert again.statistics["b.frames"].shape == (300, 24)
    for name, tensor in model.statistics.items():
        assert torch.equal(again.statistics[name], tensor)
    sentence, conversion = say(3, "a"), Conversion(retrieval=0.5)
    one, _ = convert_voice(model, sentence, 16000, conversion=conversion)
    other, _ = convert_voice(again, sentence, 16000, conversion=conversion)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, convert_voice(model, sentence, 16000)[0])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(24), "must be a table of finite numbers"),
        (torch.full((3, 24), float("nan")), "must be a table of finite numbers"),
        (torch.zeros(3, 23), "differ in coefficients"),
    ],
)
def test_damaged_frames_are_refused(
    statistics: dict[str, torch.Tensor], frames: torch.Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        SpeakerStatistics.from_tensors({**statistics, "b.frames": frames}, "b")


def test_a_model_without_frames_is_told_before_anything_is_written(
    model: PretrainedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {k: v for k, v in model.statistics.items() if not k.endswith("frames")}
    folder = save_model(tmp_path / "old", replace(model, statistics=old))
    source = write_audio(tmp_path / "in.wav", say(3, "a")[None], 16000)
    command = ["translate", str(source), "-m", str(folder), "-o", str(tmp_path / "out.wav")]
    assert main([*command, "--retrieval", "0.5"]) == 2
    assert "keeps no frames of its speakers; train it again" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()
    assert main(command) == 0


def test_a_training_keeps_frames_of_both_speakers_as_its_recipe_says(tmp_path: Path) -> None:
    folder = write_voices(tmp_path / "data", sentences=6, held_out=2)
    files = find_files(folder, folder, ("audio",))

    def kept(data: VoiceData) -> dict[str, torch.Tensor]:
        found = VoiceTask(data, files, lambda message: None).statistics()
        return {name: tensor for name, tensor in found.items() if name.endswith("frames")}

    some = kept(VoiceData(frames=64, analysis=CONFIG, match_tracts=True, keep_frames=100))
    assert {name: tuple(tensor.shape) for name, tensor in some.items()} == {
        "a.frames": (100, 24),
        "b.frames": (100, 24),
    }
    assert not torch.equal(some["a.frames"], some["b.frames"])
    assert not kept(VoiceData(frames=64, analysis=CONFIG, keep_frames=0))
    assert not kept(VoiceData(frames=64, analysis=LogMelConfig()))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(wrong: float) -> None:
    with pytest.raises(UserError, match="retrieval: must be in 0…1"):
        Conversion(retrieval=wrong)
