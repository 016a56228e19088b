"""Spectra drawn to spectra that a voice has made: the source's before, the target's after.

A network that learned from a minute of speech makes some spectra that no mouth of the target's ever
made, and more so of sounds that it has never seen. Voice conversion by nearest neighbours (Baas,
van Niekerk & Kamper 2023, arXiv 2305.18975, section 3.1) puts in the place of each frame the mean
of those of the target's frames that are nearest to it. Its queries are features of a large network
that was trained on thousands of hours; here they are what the generator made of the source's frame,
and a share of the converted frame stays:

    y'_t = (1 − s) y_t + s Σ_i w_i f_i        w_i ∝ exp(−β (d_i² − d_1²) / d_1²)

over the :data:`NEIGHBOURS` frames f_i nearest to y_t, at distances d_1 ≤ d_2 ≤ …. Frames count by
how near they are, β (:data:`SHARPNESS`), where the paper takes their plain mean. What goes into the
network is drawn likewise to frames of the source that it has learned from.

Kept frames are drawn from the recordings and mixed up: what was said cannot be put together again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.interface import VoiceFeatures
from cyclegan_media.speech.statistics import active_frames
from cyclegan_media.speech.threads import one_blas_thread

NEIGHBOURS = 100
"""That make a mean, at most; fewer are a little less smooth and farther off."""
SHARPNESS = 1.0
"""β: a frame whose distance is twice the nearest one's weighs e⁻³ of it."""
_AT_ONCE = 256
"""Frames whose distances to all kept ones are in memory at a time."""
_TINY = 1e-8
"""Squared distances below, against the frame's own square, are those of the same frame."""


def choose_frames(features: Sequence[VoiceFeatures], most: int) -> NDArray[np.float32]:
    """Frames of speech, at most so many, evenly spread over all recordings and mixed up.

    Returns:
        ``(n, coefficients)``, the same for the same recordings.
    """
    speech = [np.flatnonzero(active_frames(item)) for item in features]
    total = sum(map(len, speech))
    chosen, passed = [], 0
    for item, places in zip(features, speech, strict=True):
        # The k-th of all frames is taken where k · most / total passes a whole number.
        number = np.arange(passed, passed + len(places) + 1) * min(most, total) // max(total, 1)
        chosen.append(item.spectrum[:, places[np.diff(number) > 0]])
        passed += len(places)
    frames = np.concatenate(chosen, axis=1).T
    return np.random.default_rng(0).permutation(frames).astype(np.float32)


def draw_to_frames(
    spectrum: NDArray[np.float32], frames: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Draw each frame to the kept ones that are nearest.

    Args:
        spectrum: ``(coefficients, t)``, in units in which distances count.
        frames: ``(n, coefficients)`` of a speaker, in the same units; 1 at least.
        share: s, 0…1.
    """
    if share == 0:
        return spectrum
    count = min(NEIGHBOURS, len(frames))
    kept = np.ascontiguousarray(frames, dtype=np.float32)
    squares = np.square(kept).sum(axis=1)
    out = spectrum.copy()
    with one_blas_thread():
        for start in range(0, spectrum.shape[1], _AT_ONCE):
            queries = spectrum[:, start : start + _AT_ONCE].T
            near = _nearest(queries, kept, squares, count)
            neighbours = kept[near]
            distances = np.square(neighbours - queries[:, None]).sum(axis=2)
            nearest = distances.min(axis=1, keepdims=True)
            unit = np.maximum(nearest, _TINY * (1 + np.square(queries).sum(axis=1, keepdims=True)))
            weights = np.exp(-SHARPNESS * (distances - nearest) / unit)
            weights /= weights.sum(axis=1, keepdims=True)
            drawn = (weights[..., None] * neighbours).sum(axis=1)
            out[:, start : start + _AT_ONCE] += share * (drawn - queries).T
    return out


def _nearest(
    queries: NDArray[np.float32],
    frames: NDArray[np.float32],
    squares: NDArray[np.float32],
    count: int,
) -> NDArray[np.int64]:
    """``(t, count)``: which frames are nearest, in no order."""
    import torch

    apart = squares - 2 * queries @ frames.T  # the query's own square changes no order
    # Four times as fast as numpy's argpartition.
    nearest = torch.from_numpy(apart).topk(count, dim=1, largest=False, sorted=False)
    return nearest.indices.numpy()
