"""Voices converted by filtering: known filters come out, and nothing is added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import freqz, lfilter
from torch import nn

from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.speech.differential import filter_frames
from cyclegan_media.speech.log_mel import LogMelConfig
from cyclegan_media.speech.mel_cepstrum import mel_cepstrum_to_envelope
from cyclegan_media.speech.vocode import convert_signal, filter_converted

BINS = 513


class Same(nn.Module):
    """A network that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def ratio(signal: np.ndarray, error: np.ndarray) -> float:
    """dB"""
    return float(10 * np.log10(np.sum(signal**2) / max(np.sum(error**2), 1e-30)))


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    return say(3, "a")


@pytest.mark.parametrize("samples", [1, 79, 80, 16001])
@pytest.mark.parametrize("period", [80.0, 110.25])
def test_responses_of_one_give_back_the_signal(samples: int, period: float) -> None:
    signal = np.random.default_rng(0).normal(size=samples)
    frames = int(samples / period) + 1
    filtered = filter_frames(signal, np.zeros((frames, BINS)), period)
    assert filtered.shape == (samples,)
    assert ratio(signal, filtered - signal) > 120


def test_a_minimum_phase_filter_comes_out_sample_by_sample() -> None:
    b, a = np.array([1.0, -0.5]), np.array([1.0, -1.2, 0.72])
    signal = np.random.default_rng(1).normal(size=8000)
    _, response = freqz(b, a, np.linspace(0, np.pi, BINS))
    filtered = filter_frames(signal, np.tile(np.log(np.abs(response)), (101, 1)), 80.0)
    expected = lfilter(b, a, signal)
    assert ratio(expected, filtered - expected) > 80


def test_gain_that_changes_is_interpolated_between_frames() -> None:
    gain = np.array([1.0, 3.0, 2.0])
    filtered = filter_frames(np.ones(161), np.tile(np.log(gain)[:, None], (1, BINS)), 80.0)
    np.testing.assert_allclose(filtered, np.interp(np.arange(161), [0, 80, 160], gain), rtol=1e-5)


def test_too_few_bins_are_refused() -> None:
    with pytest.raises(UserError, match="too few"):
        filter_frames(np.zeros(100), np.zeros((2, 65)), 80.0)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_a_conversion_that_changes_nothing_gives_back_the_recording(rate: int) -> None:
    signal = np.random.default_rng(2).normal(scale=0.05, size=rate).astype(np.float32)
    config = AnalysisConfig(sample_rate=rate)
    features = analyse(signal, config)
    same = filter_converted(features, features, signal, config, config)
    assert ratio(signal, same - signal) > 60


def test_the_pitch_and_length_are_kept_and_the_level_too(sentence: np.ndarray) -> None:
    own = analyse(sentence)
    speaker = SpeakerStatistics.from_features([own])
    tilt = np.zeros_like(speaker.mean)
    tilt[0] = 0.3
    target = replace(
        speaker, mean=speaker.mean + tilt, log_f0_mean=speaker.log_f0_mean + np.log(1.8)
    )
    out = convert_signal(
        sentence,
        Same(),
        speaker,
        target,
        AnalysisConfig(),
        conversion=Conversion(synthesis="differential"),
    )
    assert out.shape == sentence.shape
    found = analyse(out)
    both = found.voiced & own.voiced
    assert both.sum() > 0.8 * own.voiced.sum()
    assert np.median(np.abs(np.log(found.f0[both] / own.f0[both]))) < 0.01
    # c₁ rises by what the target's mean is above the source's.
    moved = (found.mel_cepstrum - own.mel_cepstrum)[0, both].mean()
    assert moved == pytest.approx(0.3, abs=0.06)
    np.testing.assert_allclose(np.sqrt(np.mean(out**2)), np.sqrt(np.mean(sentence**2)), rtol=0.1)


def test_what_differential_synthesis_would_ignore_is_refused() -> None:
    with pytest.raises(UserError, match="keeps the recording's"):
        Conversion(synthesis="differential", pitch="quantile")
    with pytest.raises(UserError, match="synthesis: must be one of"):
        Conversion(synthesis="wavenet")  # type: ignore[arg-type]


def test_spectra_that_hold_the_pitch_are_refused(sentence: np.ndarray) -> None:
    config = LogMelConfig()
    features = config.analyse(sentence)
    with pytest.raises(UserError, match="differential needs a model on WORLD's"):
        filter_converted(features, features, sentence, config, config)


def test_parts_of_a_long_recording_join_without_a_trace() -> None:
    signal = np.random.default_rng(3).normal(scale=0.05, size=45 * 16000).astype(np.float32)
    config = AnalysisConfig(f0="dio")
    features = analyse(signal, config)
    same = filter_converted(features, features, signal, config, config)
    assert np.abs(same - signal).max() < 1e-5
    # A filter that stays the same leaves no trace of the parts either.
    tilt = np.array([0.3, -0.2], dtype=np.float32)[:, None]
    moved = features.mel_cepstrum.copy()
    moved[:2] += tilt
    out = filter_converted(features.with_spectrum(moved), features, signal, config, config)
    whole = filter_frames(
        signal,
        np.tile(
            0.5
            * np.log(mel_cepstrum_to_envelope(np.vstack([[[0.0]], tilt]), BINS, config.warping)),
            (features.frames, 1),
        ),
        config.frame_samples,
    )
    assert ratio(whole, out - whole) > 60
