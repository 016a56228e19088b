"""A first look at a video or a picture: which frames may be taken, without keeping any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.media import VideoReader, kind_of, read_image
from cyclegan_media.prepare.shots import ShotCounter
from cyclegan_media.prepare.similar import Fingerprint, picture_fingerprint

_SHORTER = 256
"""Side at which sharpness is measured, so that it does not depend on how many pixels there are."""
_SMALL = 32
FLAT = 4.0
"""Deviation of lightness (0…255) below which a picture shows nothing: black, a blank page."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame that may be taken: the sharpest of its stretch of time, or a picture."""

    source: Path
    frame: int
    """Its number in its video, from 0."""
    time: float
    """Seconds from the video's start."""
    shot: int
    width: int
    height: int
    sharpness: float
    """Variance of the Laplacian of lightness (0…255); Pech-Pacheco 2000, "Diatom autofocusing in
    brightfield microscopy"."""
    contrast: float
    """Deviation of lightness, 0…255."""
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Scan:
    """What was seen of a source."""

    source: Path
    frames: int
    shots: int
    candidates: list[Candidate]


def scan(source: Path, rate: float) -> Scan:
    """Look at all frames of a video, or at a picture.

    Args:
        rate: candidates per second; each is the sharpest frame of its stretch and shot. 0 takes
            every frame.

    Raises:
        UserError, RunError: it cannot be read; see :class:`VideoReader` and :func:`read_image`.
    """
    if kind_of(source) == "image":
        return _scan_picture(source)
    shots, best, count = ShotCounter(), dict[tuple[int, int], Candidate](), 0
    with VideoReader(source) as video:
        scale = _SHORTER / min(video.stored_size)
        height, width = (max(2, round(side * scale)) for side in video.stored_size)
        start: float | None = None
        for frame in video:
            shot = shots.add(frame.decoded.reformat(_SMALL, _SMALL, "rgb24").to_ndarray())
            lightness = frame.decoded.reformat(width, height, "gray").to_ndarray()
            time = float(frame.time)
            start = time if start is None else start
            count += 1
            place = (shot, int((time - start) * rate) if rate else frame.number)
            sharp = sharpness(lightness)
            if place not in best or sharp > best[place].sharpness:
                best[place] = Candidate(
                    source,
                    frame.number,
                    time,
                    shot,
                    video.width,
                    video.height,
                    sharp,
                    float(lightness.std()),
                    picture_fingerprint(lightness),
                )
    return Scan(source, count, shots.shot + 1, [*best.values()])


def _scan_picture(source: Path) -> Scan:
    from PIL import Image as Pillow

    pixels = read_image(source).pixels
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    height, width = eight.shape[:2]
    scale = _SHORTER / min(height, width)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    grey = Pillow.fromarray(eight).convert("L").resize(size, Pillow.Resampling.BILINEAR)
    lightness = np.asarray(grey)
    found = Candidate(
        source,
        0,
        0.0,
        0,
        width,
        height,
        sharpness(lightness),
        float(lightness.std()),
        picture_fingerprint(lightness),
    )
    return Scan(source, 1, 1, [found])


def sharpness(lightness: NDArray[Any]) -> float:
    """Variance of the Laplacian of ``(height, width)``, 0…255."""
    x = lightness.astype(np.float32)
    laplacian = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]
    return float(laplacian.var())
