"""How close converted speech is to the target speaker's.

Two kinds of measure. Against the *same sentences* said by the target, aligned in time: mel-cepstral
distortion and log-F0 error. Against *any* recordings of the target: global variance, which
over-smoothing lowers, and modulation spectrum, which shows muffled or jittery trajectories.

All take :class:`~cyclegan_media.speech.Features` of recordings that were analysed alike; the
papers' settings are :data:`METRIC_ANALYSIS`. Frames more than 30 dB below a recording's loudest
are pauses and count nowhere, except inside the trajectories of the modulation spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.alignment import align
from cyclegan_media.speech import AnalysisConfig, Features, active_frames

Floats = NDArray[np.float64]

METRIC_ANALYSIS = AnalysisConfig(
    sample_rate=16000, frame_period=5.0, coefficients=24, alpha=0.42, f0="harvest"
)
"""WORLD at 16 kHz, mel-cepstra c₁ … c₂₄, all-pass constant 0.42: what the CycleGAN-VC papers
measure on, whatever a model was trained on."""

DECIBEL = 10 * np.sqrt(2) / np.log(10)
"""From the Euclidean distance of mel-cepstra (natural logarithm of amplitude) to dB: a cosine
series counts each coefficient twice, for ω and −ω, and the spectral distance is 20 log₁₀."""

MODULATION_FRAMES = 128
"""Frames of a trajectory whose spectrum is taken: as long as a segment of training, 640 ms."""
_MODULATION_FLOOR = 1e-10
"""Least power of a modulation spectrum: a trajectory that does not move has none."""


@dataclass(frozen=True)
class VoiceScores:
    """All measures of a set of converted recordings; less is closer in each."""

    mcd: float
    """dB, the mean over the recordings of :func:`mel_cepstral_distortion`."""
    log_f0_rmse: float
    """The mean over the recordings of :func:`log_f0_rmse`, without those that have none."""
    gv_distance: float
    """See :func:`global_variance_distance`."""
    ms_distance: float
    """dB, see :func:`modulation_spectrum_distance`."""


def compare_voices(converted: Sequence[Features], target: Sequence[Features]) -> VoiceScores:
    """All measures, where recording ``k`` of both says the same sentence.

    Raises:
        UserError: different numbers of recordings, none, or a recording without speech.
    """
    if len(converted) != len(target):
        raise UserError(
            f"{len(converted)} converted and {len(target)} target recordings: need the same"
            " sentences of both"
        )
    _check_any(converted)
    pairs = [_pair(one, other) for one, other in zip(converted, target, strict=True)]
    errors = [pair.log_f0_rmse() for pair in pairs]
    known = [error for error in errors if not np.isnan(error)]
    return VoiceScores(
        mcd=float(np.mean([pair.distortion() for pair in pairs])),
        log_f0_rmse=float(np.mean(known)) if known else float("nan"),
        gv_distance=global_variance_distance(converted, target),
        ms_distance=modulation_spectrum_distance(converted, target),
    )


def mel_cepstral_distortion(converted: Features, target: Features) -> float:
    """Mean distance in dB along the alignment of two recordings of one sentence; 0 is equal.

    Kubichek: "Mel-cepstral distance measure for objective speech quality assessment", 1993:

        MCD = 10 √2 / ln 10 · mean over the path of ‖c − c'‖,   c₀ left out

    Raises:
        UserError: a recording without speech, or values that are not finite.
    """
    return _pair(converted, target).distortion()


def log_f0_rmse(converted: Features, target: Features) -> float:
    """Root mean square difference of log F0 (natural) over aligned frames voiced in both.

    0.69 is an octave; ``nan`` where no aligned frames are voiced in both.

    Raises:
        UserError: see :func:`mel_cepstral_distortion`.
    """
    return _pair(converted, target).log_f0_rmse()


def global_variance(recordings: Sequence[Features]) -> Floats:
    """``(coefficients,)``: variance of each mel-cepstral coefficient over all frames of speech.

    Toda, Black, Tokuda: "Voice Conversion Based on Maximum-Likelihood Estimation of Spectral
    Parameter Trajectory", 2007, section IV; taken over the recordings together, since a variance
    within one sentence says as much about its words as about its voice.

    Raises:
        UserError: no recordings, or one without speech.
    """
    _check_any(recordings)
    return np.concatenate([_speech(item)[0] for item in recordings], axis=1).var(axis=1)


def global_variance_distance(converted: Sequence[Features], target: Sequence[Features]) -> float:
    """Mean over the coefficients of ``|ln(GV converted / GV target)|``; 0 is equal.

    0.69 means variances that differ by a factor of 2. The sentences need not be the same.

    Raises:
        UserError: no recordings, one without speech, or different analyses.
    """
    one, other = global_variance(converted), global_variance(target)
    _check_coefficients(len(one), len(other))
    least = np.finfo(np.float64).tiny
    return float(np.abs(np.log(np.maximum(one, least) / np.maximum(other, least))).mean())


def modulation_spectrum(recordings: Sequence[Features]) -> Floats:
    """``(coefficients, frequencies)`` in dB: power of each coefficient's movement by its rate.

    Takamichi et al.: "Postfilters to Modify the Modulation Spectrum for Statistical Parametric
    Speech Synthesis", 2016, in the segment-level form: the log-power spectrum of each
    coefficient's trajectory, here over windows of 128 frames that overlap by half, mean over all
    windows of all recordings, so that neither durations nor counts matter. Frequencies run from
    just above 0 (the mean of a trajectory does not move) to half the frame rate, 100 Hz.

    Silence before and after the speech is left out; a recording shorter than a window is
    continued by its mirror image.

    Raises:
        UserError: see :func:`global_variance`.
    """
    _check_any(recordings)
    window = np.hanning(MODULATION_FRAMES + 1)[:-1]
    spectra = []
    for item in recordings:
        _, _, places = _speech(item)
        trajectory = item.mel_cepstrum[:, places[0] : places[-1] + 1].astype(np.float64)
        short = max(0, MODULATION_FRAMES - trajectory.shape[1])
        trajectory = np.pad(trajectory, ((0, 0), (0, short)), mode="symmetric")
        parts = np.lib.stride_tricks.sliding_window_view(trajectory, MODULATION_FRAMES, axis=1)
        parts = parts[:, :: MODULATION_FRAMES // 2]
        parts = (parts - parts.mean(axis=2, keepdims=True)) * window
        power = np.abs(np.fft.rfft(parts)[..., 1:]) ** 2 / (window**2).sum()
        spectra.append(10 * np.log10(np.maximum(power, _MODULATION_FLOOR)))
    return np.concatenate(spectra, axis=1).mean(axis=1)


def modulation_spectrum_distance(
    converted: Sequence[Features], target: Sequence[Features]
) -> float:
    """Root mean square difference in dB over all coefficients and modulation frequencies.

    The measure of local structure of CycleGAN-VC2 (Kaneko, Kameoka, Tanaka, Hojo 2019, arXiv
    1904.04631). The sentences need not be the same.

    Raises:
        UserError: see :func:`global_variance_distance`.
    """
    one, other = modulation_spectrum(converted), modulation_spectrum(target)
    _check_coefficients(len(one), len(other))
    return float(np.sqrt(np.mean((one - other) ** 2)))


@dataclass(frozen=True)
class _Pair:
    """Frames of two recordings that say the same."""

    cepstra: tuple[Floats, Floats]
    f0: tuple[Floats, Floats]

    def distortion(self) -> float:
        one, other = self.cepstra
        return float(DECIBEL * np.linalg.norm(one - other, axis=0).mean())

    def log_f0_rmse(self) -> float:
        one, other = self.f0
        voiced = (one > 0) & (other > 0)
        if not voiced.any():
            return float("nan")
        return float(np.sqrt(np.mean(np.log(one[voiced] / other[voiced]) ** 2)))


def _pair(converted: Features, target: Features) -> _Pair:
    (spectrum, f0, _), (target_spectrum, target_f0, _) = _speech(converted), _speech(target)
    _check_coefficients(len(spectrum), len(target_spectrum))
    here, there = align(spectrum, target_spectrum)
    return _Pair((spectrum[:, here], target_spectrum[:, there]), (f0[here], target_f0[there]))


def _speech(features: Features) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Mel-cepstrum and F0 of the frames of speech, and which frames they are."""
    places = np.flatnonzero(active_frames(features))
    if not len(places):
        raise UserError("a recording holds no speech, so there is nothing to compare")
    spectrum = features.mel_cepstrum[:, places].astype(np.float64)
    if not np.isfinite(spectrum).all():
        raise UserError("a recording's mel-cepstrum holds values that are not finite")
    return spectrum, features.f0[places].astype(np.float64), places


def _check_any(recordings: Sequence[Features]) -> None:
    if not recordings:
        raise UserError("no recordings to compare")


def _check_coefficients(one: int, other: int) -> None:
    if one != other:
        raise UserError(
            f"recordings of {one} and of {other} coefficients cannot be compared; analyse them"
            " alike"
        )
