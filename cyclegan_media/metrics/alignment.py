"""Dynamic time warping: which frames of two utterances say the same thing.

Sakoe, Chiba: "Dynamic programming algorithm optimization for spoken word recognition", 1978,
without slope constraint and with each step counted once:

    D(i, j) = d(i, j) + min(D(i − 1, j − 1), D(i − 1, j), D(i, j − 1))

Cells of one anti-diagonal do not depend on each other and are computed at once. Where the table of
steps would be large, the path's middle is found from both ends and each half is aligned by itself
(Hirschberg: "A linear space algorithm for computing maximal common subsequences", 1975), so memory
grows with the sum of the lengths, not with their product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

Floats = NDArray[np.floating[Any]]
Double = NDArray[np.float64]
Path = NDArray[np.intp]

TABLE_CELLS = 1 << 24
"""Largest table of steps, one byte a cell: two utterances of 20 s at 5 ms a frame."""

_DIAGONAL, _FROM_ABOVE, _FROM_LEFT = 0, 1, 2


def align(x: Floats, y: Floats, *, table_cells: int = TABLE_CELLS) -> Path:
    """The path of least summed Euclidean distance between two sequences of vectors.

    Args:
        x, y: ``(coefficients, frames)`` each, of any two lengths.
        table_cells: above so many pairs of frames, the path is found in halves.

    Returns:
        ``(2, steps)``: frames of ``x`` and of ``y`` that correspond, from the first pair to the
        last; each step moves on by one frame in ``x``, in ``y`` or in both.

    Raises:
        UserError: no frames, differing numbers of coefficients, or values that are not finite.
    """
    for name, values in (("first", x), ("second", y)):
        if values.ndim != 2 or not values.shape[1]:
            raise UserError(
                f"alignment: the {name} sequence has the shape {values.shape}; need"
                " (coefficients, frames) with at least one frame"
            )
        if not np.isfinite(values).all():
            raise UserError(f"alignment: the {name} sequence holds values that are not finite")
    if len(x) != len(y):
        raise UserError(
            f"alignment: sequences of {len(x)} and of {len(y)} coefficients cannot be compared"
        )
    frames_x, frames_y = (np.ascontiguousarray(v.T, dtype=np.float64) for v in (x, y))
    return np.array(_align(frames_x, frames_y, max(table_cells, 4)), dtype=np.intp).T


def _align(x: Double, y: Double, table_cells: int) -> list[tuple[int, int]]:
    if len(x) * len(y) <= table_cells or min(len(x), len(y)) < 3:
        return _whole(x, y)
    if len(x) < len(y):
        return [(i, j) for j, i in _align(y, x, table_cells)]
    middle = len(x) // 2
    before = _row(x[: middle + 1], y)
    after = _row(x[middle:][::-1], y[::-1])[::-1]
    at_middle = np.linalg.norm(x[middle] - y, axis=1)  # counted in both halves
    meet = int(np.argmin(before + after - at_middle))
    first = _align(x[: middle + 1], y[: meet + 1], table_cells)
    rest = _align(x[middle:], y[meet:], table_cells)
    return first + [(i + middle, j + meet) for i, j in rest[1:]]


def _row(x: Double, y: Double) -> Double:
    """``D(last frame of x, j)`` for all ``j``."""
    result = np.empty(len(y))
    for k, (first, total, _) in enumerate(_diagonals(x, y)):
        if first + len(total) == len(x):
            result[k - len(x) + 1] = total[-1]
    return result


def _whole(x: Double, y: Double) -> list[tuple[int, int]]:
    diagonals = [(first, steps) for first, _, steps in _diagonals(x, y)]
    i, j = len(x) - 1, len(y) - 1
    path = [(i, j)]
    while i or j:
        first, steps = diagonals[i + j]
        step = steps[i - first]
        i, j = i - (step != _FROM_LEFT), j - (step != _FROM_ABOVE)
        path.append((i, j))
    return path[::-1]


def _diagonals(x: Double, y: Double) -> Iterator[tuple[int, Double, NDArray[np.uint8]]]:
    """For each anti-diagonal ``i + j = k``: its first ``i``, then ``D`` and the step by ``i``."""
    n, m = len(x), len(y)
    y_backwards = np.ascontiguousarray(y[::-1])
    # D of the two diagonals before, indexed by i + 1; infinite outside the table.
    one_before, two_before = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    two_before[0] = 0.0  # the corner before the first pair
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        shift = m - 1 - k  # frame k − i of y is frame shift + i of its reverse
        distance = np.linalg.norm(x[low:high] - y_backwards[shift + low : shift + high], axis=1)
        came = np.stack(
            [two_before[low:high], one_before[low:high], one_before[low + 1 : high + 1]]
        )
        steps = came.argmin(axis=0).astype(np.uint8)
        total = distance + came.min(axis=0)
        two_before, one_before = one_before, np.full(n + 1, np.inf)
        one_before[low + 1 : high + 1] = total
        yield low, total, steps
