"""Which pictures, and which recordings, are nearly the same: short fingerprints, compared by bits.

A fingerprint tells of each neighbouring pair of places in a small version whether it gets brighter
from left to right (the difference hash). It hardly changes when a picture is scaled, encoded again
or made a little brighter, or a recording louder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 256
"""Of a fingerprint."""
SAME_PICTURE = 0.04
"""Share of the bits by which the same picture, scaled or encoded again, may differ."""
SAME_SOUND = 0.12
"""The same of recordings: of 70 sentences by two speakers no two are nearer than 0.25, and an MP3
of one, or one resampled or with a little noise, is within 0.08 of it."""
_SIDE = 16
_LEAST_STEP = 0.004
"""Of the range; differences below are of noise and count as none."""

_ONES = np.array([number.bit_count() for number in range(256)])
"""How many bits of a byte are set."""

Fingerprint = NDArray[np.uint8]
"""``(32,)``: 256 bits."""


def picture_fingerprint(lightness: NDArray[Any]) -> Fingerprint:
    """Of a picture ``(height, width)``, any range."""
    small = _shrunk(np.asarray(lightness, dtype=np.float32), _SIDE, _SIDE + 1)
    return _bits(small)


def sound_fingerprint(samples: NDArray[np.floating[Any]], sample_rate: int) -> Fingerprint:
    """Of a recording ``(n,)``: of the picture that its spectrogram up to 4 kHz is, in decibels.

    Leading and trailing silence plays no part.
    """
    loud = np.flatnonzero(np.abs(samples) > 0.02 * (np.abs(samples).max() + 1e-12))
    samples = samples[loud[0] : loud[-1] + 1] if loud.size else samples
    length = max(64, round(0.04 * sample_rate))
    padded = np.pad(np.asarray(samples, dtype=np.float32), (0, max(0, 20 * length - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: length // 2]
    rows = []
    for start in range(0, len(frames), 4096):  # memory does not grow with the length
        power = np.abs(np.fft.rfft(frames[start : start + 4096] * np.hanning(length), axis=1)) ** 2
        top = max(_SIDE + 1, round(4000 * length / sample_rate))
        rows.append(_columns(power[:, 1:top], _SIDE + 1))
    decibels = 10 * np.log10(np.concatenate(rows) + 1e-9 * max(row.max() for row in rows) + 1e-20)
    return _bits(_shrunk(decibels, _SIDE, _SIDE + 1))


class Seen:
    """Fingerprints so far, and which of them a new one is like.

    Args:
        most: bits by which two of the same may differ.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._rows = np.empty((64, BITS // 8), dtype=np.uint8)
        self._count = 0

    def like(self, fingerprint: Fingerprint) -> int | None:
        """The number of the nearest one within ``most`` bits, counted from 0; ``None``: none is."""
        if self._count == 0:
            return None
        apart = _ONES[self._rows[: self._count] ^ fingerprint].sum(axis=1)
        nearest = int(apart.argmin())
        return nearest if apart[nearest] <= self.most else None

    def add(self, fingerprint: Fingerprint) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = fingerprint
        self._count += 1


def _bits(small: NDArray[np.floating[Any]]) -> Fingerprint:
    least = _LEAST_STEP * (float(small.max() - small.min()) + 1e-12)
    return np.packbits(np.diff(small, axis=1) > least)


def _shrunk(picture: NDArray[np.floating[Any]], height: int, width: int) -> NDArray[Any]:
    """Means of the areas of a grid."""
    return _columns(_columns(picture, width).T, height).T


def _columns(picture: NDArray[np.floating[Any]], count: int) -> NDArray[Any]:
    wide = picture.shape[1]
    if wide < count:
        picture = np.repeat(picture, -(-count // wide), axis=1)
        wide = picture.shape[1]
    sums = np.concatenate([np.zeros((len(picture), 1)), np.cumsum(picture, axis=1)], axis=1)
    edges = np.linspace(0, wide, count + 1)
    whole = np.minimum(edges.astype(int), wide - 1)
    part = sums[:, whole] + (edges - whole) * picture[:, whole]
    return np.diff(part, axis=1) / (wide / count)
