"""Undo isolated octave jumps in tracks of F0.

Trackers now and then take half or double the frequency for some frames (de Cheveigné & Kawahara
2002, "YIN, a Fundamental Frequency Estimator for Speech and Music", section I: "octave errors").
Such a stretch begins and ends by a leap that no voice makes within a frame, is short, and lies an
octave from the speech on both sides; then, and only then, its F0 is doubled or halved. Speech that
glides, however far, has no leap, and a change of register that lasts is no short stretch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAP = 0.6
"""Octaves from one frame to the next, at least, where a stretch begins."""
_NEAR = 0.2
"""Octaves that the distance from the speech around may differ from one."""
_LONGEST = 100.0
"""Milliseconds: longer stretches are believed."""
_AROUND = 50.0
"""Milliseconds before and after a stretch that it is compared with; also the longest unvoiced gap
between it and what it is compared with."""


def repair_octaves(f0: NDArray[np.float64], frame_period: float) -> NDArray[np.float64]:
    """F0 with isolated halvings doubled and isolated doublings halved.

    Args:
        f0: ``(frames,)`` in Hz, 0 where unvoiced.
        frame_period: milliseconds from one frame to the next.

    Returns:
        ``(frames,)``; the same frames are voiced.
    """
    out = np.array(f0, dtype=np.float64)
    longest, around = round(_LONGEST / frame_period), max(1, round(_AROUND / frame_period))
    for start, stop in _stretches(out):
        if stop - start > longest:
            continue
        octave = np.log2(np.median(out[start:stop]))
        before, after = out[max(0, start - around) : start], out[stop : stop + around]
        if not (before > 0).any() or not (after > 0).any():
            continue
        sides = [np.log2(np.median(side[side > 0])) - octave for side in (before, after)]
        up = np.sign(sides[0])
        # A stretch that only one side contradicts may be where a register changes.
        if all(abs(side - up) <= _NEAR for side in sides):
            out[start:stop] *= 2.0**up
    return out


def _stretches(f0: NDArray[np.float64]) -> list[tuple[int, int]]:
    """First and last frame (exclusive) of what is voiced without a leap."""
    voiced = f0 > 0
    octaves = np.log2(np.where(voiced, f0, 1.0))
    joined = voiced[1:] & voiced[:-1] & (np.abs(np.diff(octaves)) < _LEAP)
    starts = np.flatnonzero(voiced & ~np.concatenate([[False], joined]))
    stops = np.flatnonzero(voiced & ~np.concatenate([joined, [False]])) + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
