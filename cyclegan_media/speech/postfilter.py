"""Give converted speech the variance that the target's speech has, against a muffled sound.

Networks trained by means and cycles smooth what they convert: each coefficient varies less over a
recording than it does when the target speaks. The global-variance postfilter (Toda, Black, Tokuda
2007, "Voice Conversion Based on Maximum-Likelihood Estimation of Spectral Parameter Trajectory",
section III; as a postfilter Silén, Helander, Nurminen, Gabbouj 2012, "Ways to Implement Global
Variance in Statistical Speech Synthesis") stretches each coefficient about its mean:

    c'_t(d) = (σ_target(d) / σ_converted(d))^s (c_t(d) − μ_converted(d)) + μ_converted(d)

The price is a larger distance frame by frame: what is wrong is stretched as well.

A sentence varies more or less than its speaker does on the whole, by its sounds. So σ_target is not
that of all of the target's speech, but that times how much the *source* varies in this sentence,
against the source on the whole: sounds that vary little are not stretched to what they never had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

_FADE = 13
"""Frames over which the stretching fades at the edges of speech."""
_FEW = 50
"""Frames: σ of so much speech is only half believed."""
_LARGEST = 3.0
"""A coefficient that hardly varies is not blown up to noise."""
_UNUSUAL = 2.0
"""No sentence varies by a larger factor more, or less, than its speaker does on the whole."""


def expected_deviation(
    spectrum: NDArray[np.float32],
    active: NDArray[np.bool_],
    source: NDArray[np.float32],
    target: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What a recording's deviation would be if the target had said it.

    Args:
        spectrum: ``(coefficients, frames)`` of the source's recording.
        active: ``(frames,)``, which frames are speech; without any, ``target`` is returned.
        source, target: ``(coefficients,)``, above 0: deviations of all of a speaker's speech.

    Returns:
        ``(coefficients,)``, above 0.
    """
    if not active.any():
        return target
    share = spectrum[:, active].astype(np.float64).std(axis=1) / source
    return (target * np.clip(share, 1 / _UNUSUAL, _UNUSUAL)).astype(np.float32)


def stretch_variance(
    spectrum: NDArray[np.float32],
    active: NDArray[np.bool_],
    deviation: NDArray[np.float32],
    strength: float,
) -> NDArray[np.float32]:
    """Stretch each coefficient towards ``deviation`` where there is speech.

    Args:
        spectrum: ``(coefficients, frames)``, converted.
        active: ``(frames,)``, which frames are speech.
        deviation: ``(coefficients,)``, standard deviations that speech is to have.
        strength: s; 0 changes nothing, 1 gives ``deviation``.
    """
    if strength == 0 or not active.any():
        return spectrum
    speech = spectrum[:, active].astype(np.float64)
    mean, found = speech.mean(axis=1), speech.std(axis=1)
    believed = strength * speech.shape[1] / (speech.shape[1] + _FEW)
    gain = np.minimum(deviation / np.maximum(found, 1e-6), _LARGEST) ** believed
    share = uniform_filter1d(active.astype(np.float64), _FADE, mode="nearest")
    gains = 1 + (gain[:, None] - 1) * share
    return (mean[:, None] + gains * (spectrum - mean[:, None])).astype(np.float32)
