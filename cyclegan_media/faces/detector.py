"""What a face detector is, and which one a user gets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LANDMARKS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner")
"""The order of a face's points; left and right as the picture shows them."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture. Coordinates are pixels, (0, 0) the upper left corner of the picture."""

    box: tuple[float, float, float, float]
    """Left, top, width and height; from the brows to the chin, or a little more all around."""
    landmarks: NDArray[np.float64] | None = None
    """``(5, 2)``, x and y of each of :data:`LANDMARKS`, NaN where unknown; ``None`` for none."""
    score: float = 1.0
    """How sure the detector is, on a scale of its own; higher is surer."""


class FaceDetector(Protocol):
    """Anything that finds faces; pass an object of yours wherever a detector is asked for."""

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """The faces in a picture.

        Args:
            pixels: RGB, ``(height, width, 3)``.
        """
        ...


def load_detector(model: str | os.PathLike[str] | None = None) -> FaceDetector:
    """OpenCV's detector: YuNet with the model file ``model``; without one, its Haar cascades.

    Raises:
        UserError: OpenCV is not installed, or ``model`` cannot be read.
    """
    from cyclegan_media.faces.opencv import HaarDetector, YuNetDetector

    return HaarDetector() if model is None else YuNetDetector(model)


def eight_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of 8 or 16 bits as the 8 that detectors take."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
