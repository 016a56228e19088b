"""Give converted speech the variance that the target's speech has, against a muffled sound.

Networks trained by means and cycles smooth what they convert: each coefficient varies less over a
recording than it does when the target speaks. The global-variance postfilter (Toda, Black, Tokuda
2007, "Voice Conversion Based on Maximum-Likelihood Estimation of Spectral Parameter Trajectory",
section III; as a postfilter Silén, Helander, Nurminen, Gabbouj 2012, "Ways to Implement Global
Variance in Statistical Speech Synthesis") stretches each coefficient about its mean:

    c'_t(d) = (σ_target(d) / σ_converted(d))^s (c_t(d) − μ_converted(d)) + μ_converted(d)

The price is a larger distance frame by frame: what is wrong is stretched as well.
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
        deviation: ``(coefficients,)``, the target's standard deviations.
        strength: s; 0 changes nothing, 1 gives the deviation of the target.
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
