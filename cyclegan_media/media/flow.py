"""Where each pixel of a frame was in the one before, and where that is known.

Dense inverse search (Kroeger, Timofte, Dai, Van Gool: "Fast Optical Flow using Dense Inverse
Search", 2016), as in OpenCV; pixels that are hidden in one of two frames are found by following the
flow there and back (Sundaram, Brox, Keutzer: "Dense point trajectories by GPU-accelerated large
displacement optical flow", 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

Picture = NDArray[np.float32]
"""``(height, width)`` or ``(height, width, channels)``."""
Flow = NDArray[np.float32]
"""``(height, width, 2)`` in pixels, right and down: what one frame shows at a place, the other
shows at that place plus this."""
Mask = NDArray[np.bool_]

SMALLEST = 16
"""Least side of a frame in pixels: that of the flow's coarsest patches."""


@dataclass(frozen=True)
class FlowPair:
    """Flow between two frames, in both directions."""

    to_previous: Flow
    """Of each pixel of the current frame."""
    to_current: Flow
    """Of each pixel of the previous frame."""
    seen_before: Mask
    """``(height, width)``: pixels of the current frame that the previous one shows as well."""
    seen_after: Mask
    """Pixels of the previous frame that the current one shows as well."""


class FlowFinder:
    """Finds the flow between frames of one video.

    Raises:
        UserError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        cv2 = opencv()
        self._search: Any = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> FlowPair:
        """Flow between two frames, both ways; see :meth:`to_previous`."""
        back = self.to_previous(previous, current)
        there = self.to_previous(current, previous)
        return FlowPair(back, there, _agree(back, there), _agree(there, back))

    def to_previous(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> Flow:
        """Flow of each pixel of ``current``.

        Args:
            previous, current: lightness, ``(height, width)``, 0…255.

        Raises:
            UserError: the sizes differ, or a side is below 16 pixels.
        """
        if previous.shape != current.shape:
            raise UserError(
                f"frames of {_size(previous)} and of {_size(current)} pixels: optical flow needs"
                " one size throughout a video"
            )
        if min(previous.shape) < SMALLEST:
            raise UserError(
                f"frames of {_size(previous)} pixels: optical flow needs at least"
                f" {SMALLEST}×{SMALLEST}"
            )
        flow: Flow = self._search.calc(current, previous, None)
        return flow


def warp(picture: Picture, flow: Flow, *, cubic: bool = False) -> Picture:
    """What ``picture`` shows where ``flow`` points to, in float32 (bilinear); edges are continued.

    Args:
        cubic: interpolate by cubes, which blurs less where a picture is moved again and again.

    With the flow from the current frame to the previous one and the previous frame's picture, it
    is that picture with everything moved to where the current frame shows it.
    """
    cv2 = opencv()
    columns, rows = _targets(flow)
    moved: Picture = cv2.remap(
        np.asarray(picture, dtype=np.float32),
        columns,
        rows,
        cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved


def opencv() -> ModuleType:
    """OpenCV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "optical flow needs OpenCV; install it: pip install 'cyclegan-media[video]'"
        ) from error
    return cv2


def _agree(there: Flow, back: Flow) -> Mask:
    """Where going there and back again ends near the start, and inside the frame."""
    height, width = there.shape[:2]
    columns, rows = _targets(there)
    inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    returned = warp(back, there)
    gap = np.square(there + returned).sum(axis=2)
    lengths = np.square(there).sum(axis=2) + np.square(returned).sum(axis=2)
    return np.asarray(inside & (gap <= 0.01 * lengths + 0.5))


def _targets(flow: Flow) -> tuple[Picture, Picture]:
    height, width = flow.shape[:2]
    columns = np.arange(width, dtype=np.float32)[None, :] + flow[..., 0]
    rows = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return columns, rows


def _size(frame: NDArray[Any]) -> str:
    return "×".join(map(str, frame.shape[:2]))
