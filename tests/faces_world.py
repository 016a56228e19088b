"""A photograph of a face, moved over a background along a known path: what trackers should say."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from cyclegan_media.faces import Face
from cyclegan_media.faces.placement import Placement, placement_of_landmarks

HEIGHT, WIDTH, RATE = 240, 320, 25

MARKS = np.array([[203.8, 101.2], [246.7, 103.3], [224.0, 127.1], [203.8, 140.2], [244.2, 141.3]])
"""Pupils, tip of the nose and corners of the mouth in the photograph, marked by hand."""


@cache
def photograph() -> NDArray[np.uint8]:
    """Eileen Collins, NASA, public domain; 512 × 512."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the photograph")
    return np.asarray(data.astronaut())


@cache
def background() -> NDArray[np.uint8]:
    """Smooth blobs of colour, in which nobody sees a face."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 60.0
    waves = [np.sin(1.3 * x + k) * np.cos(0.9 * y - 2 * k) for k in range(3)]
    return np.stack([(110 + 60 * wave).astype(np.uint8) for wave in waves], axis=-1)


def path_of_photograph(time: float) -> NDArray[np.float64]:
    """``(2, 3)``: where a point of the photograph is in the frame at ``time`` seconds."""
    scale = 0.75 + 0.1 * math.sin(2 * math.pi * time / 1.9)
    angle = 0.08 * math.sin(2 * math.pi * time / 1.3)
    middle = np.array(
        [160 + 45 * math.sin(2 * math.pi * time / 2), 115 + 15 * math.cos(2 * math.pi * time / 1.5)]
    )
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = middle - linear @ MARKS[2]
    return np.concatenate([linear, shift[:, None]], axis=1)


@cache
def frame_at(time: float) -> NDArray[np.uint8]:
    """The frame at ``time`` seconds, RGB ``(height, width, 3)``."""
    matrix = path_of_photograph(time)
    linear = np.linalg.inv(matrix[:, :2])
    inverse = np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)

    def moved(layer: NDArray[np.uint8]) -> PIL.Image.Image:
        picture = PIL.Image.fromarray(layer)
        # Reduced by about 0.75: bicubic interpolation alone is sharp enough and shows no aliases.
        return picture.transform(
            (WIDTH, HEIGHT),
            PIL.Image.Transform.AFFINE,
            tuple(inverse.ravel()),
            PIL.Image.Resampling.BICUBIC,
        )

    photo = photograph()
    frame = PIL.Image.fromarray(background())
    frame.paste(moved(photo), mask=moved(np.full(photo.shape[:2], 255, np.uint8)))
    return np.asarray(frame)


def truth_at(time: float, points: int = 5) -> Placement:
    """Where the face is at ``time``, by the first ``points`` of the marks."""
    matrix = path_of_photograph(time)
    marks = np.full((5, 2), np.nan)
    marks[:points] = MARKS[:points] @ matrix[:, :2].T + matrix[:, 2]
    placement = placement_of_landmarks(Face((0, 0, 1, 1), marks))
    assert placement is not None
    return placement


def write_clip(path: Path, frames: list[NDArray[Any]]) -> Path:
    """A lossless video of 8-bit frames, given as RGB and stored as YCbCr without subsampling."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
