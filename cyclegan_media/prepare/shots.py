"""Where a video is cut: the first frames of its shots."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_CHANGE = 0.08
"""Mean difference of two neighbouring small frames, 0…1, below which there is no cut."""
_TIMES = 4.0
"""A cut changes so many times as much as the frames before it did; fast motion does not."""
_BEFORE = 8
_SHIFT = 2


class ShotCounter:
    """Counts the shots of a video from its frames, made small, one after the other.

    A cut changes colours everywhere at once: much more than the frames before changed, even when
    each is compared with the other moved a little. Dissolves and fades are no cuts here.
    """

    def __init__(self) -> None:
        self.shot = 0
        """The number of the shot of the last frame."""
        self._last: NDArray[np.float32] | None = None
        self._changes: deque[float] = deque(maxlen=_BEFORE)

    def add(self, small: NDArray[Any]) -> int:
        """The shot of the next frame, ``(height, width, 3)`` of about 32 × 32 pixels, uint8."""
        frame = np.divide(small, 255, dtype=np.float32)
        if self._last is not None:
            change = _change(self._last, frame)
            usual = float(np.median(self._changes)) if self._changes else 0.0
            if change > max(LEAST_CHANGE, _TIMES * usual):
                self.shot += 1
                self._changes.clear()
            else:
                self._changes.append(change)
        self._last = frame
        return self.shot


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """The least mean difference over small shifts: a camera that moves is no cut."""
    inner = before[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    height, width = inner.shape[:2]
    return min(
        float(np.abs(after[y : y + height, x : x + width] - inner).mean())
        for y in range(0, 2 * _SHIFT + 1, _SHIFT)
        for x in range(0, 2 * _SHIFT + 1, _SHIFT)
    )
