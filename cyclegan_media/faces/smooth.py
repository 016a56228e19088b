"""Steady placements out of a detector's jumpy ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

from cyclegan_media.faces.detector import Face
from cyclegan_media.faces.placement import Placement, placement_of_box, placement_of_landmarks

OUTLIERS = 5
"""Frames of the median filter that takes out single wrong detections."""


def smooth_placements(faces: Sequence[Face | None], window: int) -> list[Placement]:
    """One placement a frame for a face seen in most of them.

    A detector's box is there in every frame in which it sees the face, landmarks only in some.
    So what the landmarks say beside the box (shift and scale relative to it, angle) is a series
    of its own: it is filled in between, and a frame without landmarks does not jump back to the
    box. Then the sum of both goes through a median filter and that of Savitzky & Golay 1964,
    which follows a quadratic motion exactly and looks as far ahead as back.

    Args:
        faces: frame by frame; ``None`` where the face was not seen, but not in the first frame.
        window: frames that the filter looks at; fewer where there are no more.
    """
    frames = np.arange(len(faces))
    boxes = np.full((len(faces), 4), np.nan)
    beside = np.full((len(faces), 4), np.nan)
    for k, face in enumerate(faces):
        if face is None:
            continue
        box = placement_of_box(face)
        boxes[k] = _numbers(box)
        marked = placement_of_landmarks(face)
        if marked is not None:
            beside[k] = _numbers(marked) - boxes[k]
            beside[k, :2] /= box.size
    boxes = _filled(frames, boxes)
    if not np.isnan(beside[:, 0]).all():
        known = ~np.isnan(beside[:, 3])
        beside[known, 3] = np.unwrap(beside[known, 3])
        beside = _filled(frames, beside)
        beside[:, :2] *= np.exp(boxes[:, 2:3])
        boxes = boxes + beside
    rows = _smoothed(median(boxes), window)
    return [
        Placement(float(x), float(y), float(np.exp(size)), float(angle))
        for x, y, size, angle in rows
    ]


def _numbers(placement: Placement) -> NDArray[np.float64]:
    """The size as a logarithm: growing and shrinking are then alike."""
    return np.array([placement.x, placement.y, np.log(placement.size), placement.angle])


def _filled(frames: NDArray[np.int_], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(rows[:, 0])
    columns = [np.interp(frames, frames[known], column[known]) for column in rows.T]
    return np.stack(columns, axis=1)


def median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running median of each column."""
    filtered: NDArray[np.float64] = median_filter(rows, size=(OUTLIERS, 1), mode="nearest")
    return filtered


def _smoothed(rows: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    window = min(window, len(rows))
    window -= 1 - window % 2  # odd
    if window <= 3:
        return rows
    filtered: NDArray[np.float64] = savgol_filter(rows, window, polyorder=2, axis=0)
    return filtered
