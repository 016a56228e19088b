"""Two speakers brought as close as it goes without learning, before any network sees them.

Neither is part of CycleGAN-VC as published; a recipe asks for them. Both need no sentence that the
two speakers share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.analysis import AnalysisConfig, Features
from cyclegan_media.speech.mel_cepstrum import rewarp
from cyclegan_media.speech.statistics import SpeakerStatistics, active_frames

TRACT_COEFFICIENTS = 60
"""Order of the cepstra that :func:`match_tracts` and :func:`retract` need: so many hold all that
the envelope has, so that a change of the all-pass constant loses nothing."""
_WIDEST = 0.24
"""Largest difference of two speakers' all-pass constants, that of an adult man and a child."""
_STEP = 0.01
_MOST_FRAMES = 20_000
"""Of each speaker, evenly spread, that a distribution is judged by."""


def weigh(
    a: SpeakerStatistics, b: SpeakerStatistics, whitening: float
) -> tuple[SpeakerStatistics, SpeakerStatistics]:
    """Choose how much each coefficient counts in standardised spectra.

    With ``whitening`` 1 every coefficient has deviation 1, as published. But the high ones vary by
    a tenth of what the low ones do, and mostly by chance; blown up to the same size they rule the
    distances that a network is trained by. With 0 each keeps the deviation that it has on average
    of both speakers (relative to all), so that distances are proportional to mel-cepstral
    distortion. In between, the logarithm of the deviation is interpolated.

    The identity still maps mean and deviation of one speaker to the other's.
    """
    typical = np.sqrt(a.std.astype(np.float64) * b.std)
    typical /= np.sqrt(np.mean(typical**2))
    weight = (typical ** (1 - whitening)).astype(np.float32)
    return replace(a, weight=weight), replace(b, weight=weight)


def match_tracts(
    a: Sequence[Features], b: Sequence[Features], config: AnalysisConfig
) -> tuple[float, float]:
    """All-pass constants for two speakers that make their vocal tracts look equally long.

    A shorter tract has all its formants higher. To warp the frequency axis less (a smaller α) sets
    them lower on the warped axis, so that spectra of the same sound come to lie on one another
    (vocal tract length normalisation by the bilinear transform: Pitz & Ney, "Vocal Tract
    Normalization Equals Linear Transformation in Cepstral Space", 2005). The constants lie evenly
    around ``config.warping``, and are chosen such that, once mean and deviation are matched, the
    distributions of both speakers' frames are closest (:func:`gaussian_distance`).

    Args:
        a, b: analysed with ``config`` but :data:`TRACT_COEFFICIENTS` coefficients.

    Returns:
        α of a and of b.
    """
    frames_a, frames_b = _active(a), _active(b)

    def distance(difference: float) -> float:
        alpha_a, alpha_b = _pair(difference, config)
        x = rewarp(frames_a, config.warping, alpha_a, config.coefficients)[1:]
        y = rewarp(frames_b, config.warping, alpha_b, config.coefficients)[1:]
        mean, deviation = y.mean(axis=1, keepdims=True), y.std(axis=1, keepdims=True)
        matched = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        matched = matched * deviation + mean
        return gaussian_distance(matched, y)

    differences = np.arange(-_WIDEST, _WIDEST + _STEP / 2, _STEP)
    return _pair(min(differences, key=distance), config)


def retract(features: Features, alpha: float, config: AnalysisConfig) -> Features:
    """Features as if analysed with the all-pass constant ``alpha``.

    Args:
        features: analysed with ``config`` but :data:`TRACT_COEFFICIENTS` coefficients.

    Returns:
        Features with ``config.coefficients`` coefficients.
    """
    cepstrum = rewarp(_whole(features), config.warping, alpha, config.coefficients)
    return replace(
        features,
        energy=cepstrum[0].astype(np.float32),
        mel_cepstrum=np.ascontiguousarray(cepstrum[1:], dtype=np.float32),
    )


def gaussian_distance(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Fréchet distance of the Gaussians of two sets ``(dimensions, n)``, per root dimension.

    ``d² = |μₓ − μ_y|² + tr(Σₓ + Σ_y − 2 (Σₓ Σ_y)^½)`` (Dowson & Landau 1982, eq. 4). Infinite
    where a value is not finite.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("inf")
    cov_x, cov_y = np.cov(x), np.cov(y)
    # The eigenvalues of a product of two covariances are real and not negative.
    root = np.sqrt(np.maximum(np.linalg.eigvals(cov_x @ cov_y).real, 0)).sum()
    means = np.square(x.mean(axis=1) - y.mean(axis=1)).sum()
    square = means + np.trace(cov_x) + np.trace(cov_y) - 2 * root
    return float(np.sqrt(max(square, 0.0) / len(x)))


def _pair(difference: float, config: AnalysisConfig) -> tuple[float, float]:
    return config.warping + float(difference) / 2, config.warping - float(difference) / 2


def _whole(features: Features) -> NDArray[np.float64]:
    parts = [features.energy[None], features.mel_cepstrum]
    return np.concatenate(parts).astype(np.float64)


def _active(features: Sequence[Features]) -> NDArray[np.float64]:
    frames = np.concatenate([_whole(item)[:, active_frames(item)] for item in features], axis=1)
    return frames[:, :: max(1, frames.shape[1] // _MOST_FRAMES)]
