"""Conversion of features and waveforms of any length: windows, pauses, parts, levels, limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cyclegan_media.demo.voices import say
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    SpeakerStatistics,
    active_frames,
    analyse,
    apply_to_frames,
    convert_features,
    convert_signal,
    limit,
    transform_f0,
    vocode,
)
from cyclegan_media.speech.conversion import speech_stretches

CONFIG = AnalysisConfig(f0="dio")


class Watched(nn.Module):
    """Applies a function; refuses what the real generator would; remembers what it saw."""

    multiple, minimum = 4, 8

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2] % self.multiple == 0
        assert x.shape[2] >= self.minimum
        self.seen.append(x.shape[2])
        return self.function(x) * self.scale


def unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


def distortion(x: Features, y: Features) -> float:
    """Mel-cepstral distortion in dB over the speech of y, in step with x."""
    difference = (x.mel_cepstrum - y.mel_cepstrum)[:, active_frames(y)]
    return float((10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(0))).mean())


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    return say(3, "a")


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 127, 1024, 1025, 3001])
def test_any_number_of_frames_goes_through(frames: int) -> None:
    spectrum = np.random.default_rng(0).normal(size=(6, frames)).astype(np.float32)
    generator = Watched(lambda x: 2 * x)
    np.testing.assert_allclose(apply_to_frames(generator, spectrum), 2 * spectrum, rtol=1e-6)
    assert max(generator.seen) <= 1024


def test_windows_leave_no_trace_of_their_borders() -> None:
    # A smoothing over 41 frames that meets zeros at its window's ends, as convolutions do.
    kernel = torch.full((6, 1, 41), 1 / 41)

    def smooth(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv1d(x, kernel, padding=20, groups=6)

    spectrum = 5 + np.random.default_rng(0).normal(size=(6, 3000)).astype(np.float32)
    whole = smooth(torch.from_numpy(spectrum)[None])[0].numpy()
    generator = Watched(smooth)
    parts = apply_to_frames(generator, spectrum, window=512, overlap=128)
    assert max(generator.seen) == 512
    # Zeros reach 20 frames into a window, where its share of the fade is small.
    assert np.abs(parts - whole).max() < 0.1 * np.abs(whole).max()
    np.testing.assert_allclose(parts[:, :300], whole[:, :300], atol=1e-5)
    np.testing.assert_allclose(parts[:, -300:], whole[:, -300:], atol=1e-5)


def test_windows_that_disagree_fade_into_one_another() -> None:
    levels = iter(range(100))
    generator = Watched(lambda x: 0 * x + next(levels))
    out = apply_to_frames(generator, np.zeros((1, 2000), np.float32), window=512, overlap=128)
    assert out[0, 0] == 0
    assert out[0, -1] == len(generator.seen) - 1
    assert (np.diff(out[0]) >= 0).all()
    assert np.diff(out[0]).max() < 1 / 100


def test_speech_is_found_between_long_pauses() -> None:
    active = np.zeros(1000, dtype=bool)
    active[[100, 150, 160]] = True  # short pauses belong to it
    active[400:500] = True
    active[995] = True
    assert speech_stretches(active) == [(88, 173), (388, 512), (983, 1000)]
    assert speech_stretches(np.zeros(10, dtype=bool)) == []
    assert speech_stretches(np.ones(10, dtype=bool)) == [(0, 10)]


def test_a_generator_that_changes_nothing_matches_mean_and_deviation(
    sentence: np.ndarray,
) -> None:
    features = analyse(sentence, CONFIG)
    source = SpeakerStatistics.from_features([features])
    target = SpeakerStatistics.from_features([analyse(say(5, "b"), CONFIG)])
    converted = convert_features(features, Watched(unchanged), source, target)
    wanted = target.destandardise(source.standardise(features.mel_cepstrum))
    np.testing.assert_allclose(converted.mel_cepstrum, wanted, atol=1e-5)
    np.testing.assert_array_equal(converted.f0, transform_f0(features.f0, source, target))
    np.testing.assert_array_equal(converted.energy, features.energy)
    found = SpeakerStatistics.from_features([converted])
    np.testing.assert_allclose(found.mean, target.mean, atol=1e-3)
    np.testing.assert_allclose(found.std, target.std, atol=1e-3)
    assert found.log_f0_mean == pytest.approx(target.log_f0_mean, abs=1e-3)


def test_long_pauses_do_not_reach_the_generator() -> None:
    frames = 900
    level = np.full(frames, -80.0)
    level[100:300] = level[600:800] = -20.0
    features = Features(
        f0=np.zeros(frames, np.float32),
        mel_cepstrum=np.ones((4, frames), np.float32),
        energy=(level * np.log(10) / 20).astype(np.float32),
        samples=80 * frames,
    )
    unit = SpeakerStatistics(np.zeros(4, np.float32), np.ones(4, np.float32), 0.0, 0.0)
    generator = Watched(lambda x: x + 10)
    converted = convert_features(features, generator, unit, unit).mel_cepstrum
    assert generator.seen == [224, 224]
    np.testing.assert_allclose(converted[:, 105:295], 11)
    np.testing.assert_allclose(converted[:, 320:580], 1)
    assert np.abs(np.diff(converted, axis=1)).max() < 1  # no step on the way


def test_levels_lengths_and_voice_are_kept_when_nothing_changes(sentence: np.ndarray) -> None:
    speaker = SpeakerStatistics.from_features([analyse(sentence, CONFIG)])
    out = convert_signal(sentence, Watched(unchanged), speaker, speaker, CONFIG)
    assert out.shape == sentence.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.sqrt(np.mean(out**2)) == pytest.approx(np.sqrt(np.mean(sentence**2)), rel=0.02)
    before, after = analyse(sentence, CONFIG), analyse(out, CONFIG)
    assert distortion(after, before) < 3


@pytest.mark.parametrize("gain", [0.01, 2.5])
def test_quiet_speech_stays_quiet_and_loud_speech_loud(sentence: np.ndarray, gain: float) -> None:
    speaker = SpeakerStatistics.from_features([analyse(sentence, CONFIG)])
    out = convert_signal(gain * sentence, Watched(lambda x: 1.3 * x), speaker, speaker, CONFIG)
    speech = active_frames(analyse(sentence, CONFIG)).repeat(80)[: len(out)]
    levels = [np.sqrt(np.mean(x[: len(speech)][speech] ** 2)) for x in (out, gain * sentence)]
    assert levels[0] == pytest.approx(levels[1], rel=0.06)  # half a decibel


def test_silence_stays_silent() -> None:
    speaker = SpeakerStatistics.from_features([analyse(say(3, "a"), CONFIG)])
    generator = Watched(unchanged)
    for silence in (np.zeros(8000), 1e-6 * np.random.default_rng(0).normal(size=8000)):
        out = convert_signal(silence.astype(np.float32), generator, speaker, speaker, CONFIG)
        assert out.shape == (8000,)
        assert not out.any()
    assert generator.seen == []


def test_a_long_recording_is_synthesised_in_parts_without_a_trace(
    sentence: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = np.concatenate([sentence, say(4, "a"), say(5, "a")])
    speaker = SpeakerStatistics.from_features([analyse(signal, CONFIG)])
    whole = convert_signal(signal, Watched(unchanged), speaker, speaker, CONFIG)
    monkeypatch.setattr(vocode, "_PART_SECONDS", 1.5)
    parts = convert_signal(signal, Watched(unchanged), speaker, speaker, CONFIG)
    assert not np.array_equal(parts, whole)
    # Noise and the phase of pulses differ; what was said does not get worse.
    original = analyse(signal, CONFIG)
    errors = [distortion(analyse(x, CONFIG), original) for x in (parts, whole)]
    assert errors[0] < 1.1 * errors[1]
    rises = [np.abs(np.diff(x)).max() for x in (parts, whole)]
    assert rises[0] < 1.2 * rises[1]  # no click


def test_only_peaks_are_turned_down() -> None:
    rate = 16000
    samples = (0.5 * np.sin(np.arange(rate) * 0.11)).astype(np.float32)
    loud = samples.copy()
    loud[8000:8200] *= 4
    out = limit(loud, rate)
    assert np.abs(out).max() <= 0.99
    assert np.abs(out[8000:8200]).max() > 0.9
    np.testing.assert_array_equal(out[:7840], loud[:7840])  # 10 ms before
    np.testing.assert_array_equal(out[8360:], loud[8360:])
    # No wave is squared off: the gain moves slowly, so the peak stays round.
    gain = out[8000:8200] / np.where(loud[8000:8200] == 0, 1, loud[8000:8200])
    assert np.abs(np.diff(gain[np.abs(loud[8000:8200]) > 0.1])).max() < 0.1


def test_what_fits_is_left_alone() -> None:
    samples = np.array([0.99, -0.99, 0.3], dtype=np.float32)
    assert limit(samples, 16000) is samples
    assert limit(np.zeros(0, np.float32), 16000).shape == (0,)
    assert np.abs(limit(np.full(10, 1e6, np.float32), 16000)).max() <= 0.99
