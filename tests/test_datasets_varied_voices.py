"""Segments varied at random: off by default, within the stated ranges, the same once more."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.datasets.varied_voices import VariedSegments, varied, warping
from cyclegan_media.datasets.voices import VoiceSegments
from cyclegan_media.demo.voices import say, write_voices
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import Recipe, load_recipe
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    LogMelConfig,
    SpeakerStatistics,
    VoiceAnalysis,
)
from cyclegan_media.speech.mel_cepstrum import envelope_to_mel_cepstrum, mel_cepstrum_to_envelope
from cyclegan_media.training import TrainingResult, train, trainer

WORLD = AnalysisConfig(f0="dio")
LOG_MEL = LogMelConfig(sample_rate=16000, f_max=8000)


def voice(config: VoiceAnalysis, frames: int = 64) -> tuple[VoiceSegments, SpeakerStatistics]:
    items = [config.analyse(say(k, "a")) for k in range(3)]
    speaker = SpeakerStatistics.from_features(items)
    return VoiceSegments(items, speaker, frames), speaker


def counting(frames: int = 64) -> tuple[VoiceSegments, SpeakerStatistics]:
    """One loud, voiced recording whose only coefficient counts the frames."""
    item = Features(
        f0=np.full(600, 100, np.float32),
        mel_cepstrum=np.arange(600, dtype=np.float32)[None],
        energy=np.zeros(600, np.float32),
        samples=48000,
    )
    unit = SpeakerStatistics(np.zeros(1, np.float32), np.ones(1, np.float32), 5.0, 0.1)
    return VoiceSegments([item], unit, frames), unit


def drawn(domain: Any, count: int = 400, index: int = 0) -> torch.Tensor:
    return torch.stack([domain.sample(index, random_generator(k)) for k in range(count)])


@pytest.mark.parametrize("config", [WORLD, LOG_MEL])
def test_nothing_varies_by_default(config: VoiceAnalysis) -> None:
    segments, speaker = voice(config)
    assert varied(segments, speaker, config) is segments


@pytest.mark.parametrize("config", [WORLD, LOG_MEL])
def test_a_sample_depends_on_its_arguments_alone(config: VoiceAnalysis) -> None:
    segments, speaker = voice(config)
    level = 6.0 if config is LOG_MEL else 0.0
    one, other = (
        varied(segments, speaker, config, level=level, formants=0.05, tempo=0.2) for _ in range(2)
    )
    first = drawn(one, 20)
    assert first.dtype == torch.float32
    assert first.shape == (20, segments.sample(0, random_generator(0)).shape[0], 64)
    assert torch.equal(first, drawn(other, 20))
    plain = drawn(segments, 20)
    assert all(not torch.equal(a, b) for a, b in zip(first, plain, strict=True))


def test_tempo_varies_by_the_stated_factor_both_ways() -> None:
    segments, unit = counting()
    frames = drawn(varied(segments, unit, WORLD, tempo=0.25))[:, 0]
    # A counter of frames rises by the tempo; ends are met exactly, between them it is as straight.
    rises = (frames[:, -1] - frames[:, 0] + 1) / 64
    assert rises.min() >= 0.8 - 1 / 64
    assert rises.max() <= 1.25 + 1 / 64
    assert rises.min() < 0.83
    assert rises.max() > 1.2
    logarithms = torch.log(rises)
    assert abs(float(logarithms.mean())) < 3 * math.log(1.25) / math.sqrt(3 * 400)
    assert frames.min() >= 0
    assert frames.max() <= 599
    # Cubic interpolation of a line is the line, but for the frames next to an end.
    inner = frames.diff(dim=1)[:, 2:-2]
    torch.testing.assert_close(
        inner, inner.mean(dim=1, keepdim=True).expand_as(inner), atol=0.1, rtol=0
    )


def test_the_level_of_bands_varies_evenly() -> None:
    segments, speaker = voice(LOG_MEL)
    changed = drawn(varied(segments, speaker, LOG_MEL, level=6.0))
    scale = torch.from_numpy(speaker.std / speaker.weight)[:, None]
    mean = torch.from_numpy(speaker.mean)[:, None]
    floor = math.log(LOG_MEL.floor)
    plain = drawn(segments) * scale + mean
    difference = (changed * scale + mean - plain) * 20 / math.log(10)
    heard = plain > floor + 1  # one that goes under stays at the floor
    per_segment = torch.stack([d[h].median() for d, h in zip(difference, heard, strict=True)])
    assert per_segment.abs().max() <= 6.001
    assert per_segment.min() < -5.5
    assert per_segment.max() > 5.5
    assert abs(float(per_segment.mean())) < 3 * 6 / math.sqrt(3 * 400)
    assert float(per_segment.std()) == pytest.approx(6 / math.sqrt(3), rel=0.1)
    spread = torch.stack([(d[h] - d[h].median()).abs().max() for d, h in zip(difference, heard)])  # noqa: B905
    assert spread.max() < 0.01
    assert (changed * scale + mean).min() >= floor - 1e-3


def test_mel_cepstra_have_no_level_to_vary() -> None:
    segments, speaker = voice(WORLD)
    with pytest.raises(UserError, match="mel-cepstra hold none"):
        VariedSegments(segments, speaker, WORLD, level=3.0)
    with pytest.raises(UserError, match=r"augment\.level: the mel-cepstra of analysis\.kind"):
        load_recipe("cyclegan_vc", ["data.augment.level=3"])


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("alpha", [0.37, 0.47])
def test_formants_of_mel_cepstra_move_by_the_factor(factor: float, alpha: float) -> None:
    config = AnalysisConfig(coefficients=60, alpha=alpha)
    hertz = np.linspace(0, 8000, 513)
    formants = (500.0, 1500.0)
    power = sum(1 / (1 + ((hertz - at) / 120) ** 2) for at in formants) + 0.01
    cepstrum = envelope_to_mel_cepstrum(np.atleast_2d(power), 60, alpha)
    moved = np.vstack([cepstrum[:1], warping(config, factor) @ cepstrum[1:]])
    envelope = mel_cepstrum_to_envelope(moved, 513, alpha)[0]
    for at, tolerance in zip(formants, (0.01, 0.03), strict=True):
        near = np.abs(hertz - at * factor) < 250
        found = hertz[near][envelope[near].argmax()]
        assert found / at == pytest.approx(factor, abs=tolerance + 16 / at)
    if factor == 1:
        np.testing.assert_allclose(moved, cepstrum, atol=1e-6)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_bands_move_by_the_factor(factor: float) -> None:
    clock = np.arange(16000) / 16000
    low, high = (
        LOG_MEL.analyse(0.1 * np.sin(2 * np.pi * at * clock)).log_mel[:, 20:40].mean(axis=1)
        for at in (2000, 2000 * factor)
    )
    matrix = warping(LOG_MEL, factor)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert abs(int((matrix @ low).argmax()) - int(high.argmax())) <= 1


def test_varied_formants_lie_around_those_of_the_voice() -> None:
    segments, speaker = voice(WORLD)
    plain, changed = drawn(segments), drawn(varied(segments, speaker, WORLD, formants=0.05))
    difference = changed - plain
    assert difference.abs().mean() > 0.05
    # As many move up as down, so the mean stays, while each is elsewhere.
    assert difference.mean(dim=(0, 2)).abs().max() < 0.1
    assert changed.std(dim=(0, 2)).div(plain.std(dim=(0, 2))).log().abs().max() < 0.2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = write_voices(tmp_path_factory.mktemp("voices") / "data", sentences=3, held_out=1)
    return find_files(folder, folder, ("audio",))


def tiny(*more: str) -> Recipe:
    return load_recipe(
        "cyclegan_vc_small",
        [
            *("model.generator.width=2", "model.generator.residual_blocks=1"),
            *("model.discriminator.width=2", "data.analysis.f0=dio", "trainer.batch_size=2"),
            *("trainer.steps=3", "trainer.decay_steps=1", "trainer.checkpoint_every=2"),
            *("trainer.validate_every=4", "trainer.preview_every=4", *more),
        ],
    )


def go(recipe: Recipe, files: Files, run: Path, **keys: Any) -> TrainingResult:
    return train(recipe, files, run, device="cpu", progress=False, **keys)


VARIED = ("data.augment={formants: 0.03, tempo: 0.1}",)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_training_goes_on_to_the_very_same_weights(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    recipe = tiny(*VARIED, f"trainer.workers={workers}")
    whole = go(recipe, files, tmp_path / "whole")
    update = trainer.update_average

    def hooked(state: Any) -> None:
        update(state)
        if state.steps == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "update_average", hooked)
        assert go(recipe, files, tmp_path / "parts").interrupted
    torch.rand(100)  # whatever another program did meanwhile
    again = go(recipe, files, tmp_path / "parts", resume=True)
    assert again.steps == whole.steps == 4
    assert whole.model is not None
    assert again.model is not None
    for path in whole.model.glob("*.safetensors"):
        assert (again.model / path.name).read_bytes() == path.read_bytes()


def test_variation_changes_what_is_learned_but_no_statistics(files: Files, tmp_path: Path) -> None:
    plain, changed = (
        go(tiny(*more), files, tmp_path / str(k)).model for k, more in enumerate(((), VARIED))
    )
    assert plain is not None
    assert changed is not None
    same = [
        (plain / f"{name}.safetensors").read_bytes()
        == (changed / f"{name}.safetensors").read_bytes()
        for name in ("statistics", "generator_a2b", "generator_b2a")
    ]
    assert same == [True, False, False]
