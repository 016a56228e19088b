"""Where a face is: its centre, size and angle, and the square crop that belongs to them.

A face's own coordinates have their origin at its centre, the unit of its size (about from the
brows to the chin), x to the right and y down in the upright face. Its picture coordinates are
``p = c + s · R(φ) · u``; the four numbers of that similarity are the placement.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.faces.detector import Face

# Five-point template of Deng 2019, "ArcFace", arXiv 1801.07698 (its 112 × 112 crop), in units of
# the face: the eyes are 0.44 apart and 0.13 above the centre, as in the boxes of the detectors.
_ARCFACE = np.array(
    [[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]]
)
_UNIT = 0.44 / 35.24
TEMPLATE = (_ARCFACE - [55.91, 51.60]) * _UNIT - [0, 0.13]
"""Places of the five landmarks in a face's own coordinates, ``(5, 2)``."""

DEFAULT_MARGIN = 0.4
"""What a crop shows around the face on each side, as a share of the face's size."""


@dataclass(frozen=True)
class Placement:
    """Centre (pixels), size (pixels) and angle (radians, clockwise as one sees it) of a face."""

    x: float
    y: float
    size: float
    angle: float

    def crop_matrix(self, crop_size: int, margin: float = DEFAULT_MARGIN) -> NDArray[np.float64]:
        """``(2, 3)``: takes points of the crop ``(x, y, 1)``, in its pixels, to the picture's."""
        pixel = self.size * (1 + 2 * margin) / crop_size
        turn = pixel * cmath.exp(1j * self.angle)
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        middle = np.full(2, crop_size / 2)
        shift = np.array([self.x, self.y]) - linear @ middle
        return np.concatenate([linear, shift[:, None]], axis=1)


def placement_of_box(face: Face) -> Placement:
    """The upright placement in the middle of a detector's box."""
    left, top, width, height = face.box
    return Placement(left + width / 2, top + height / 2, float(np.sqrt(width * height)), 0.0)


def placement_of_landmarks(face: Face) -> Placement | None:
    """The similarity that takes :data:`TEMPLATE` nearest to the landmarks; ``None`` without any.

    Least squares in closed form (Umeyama 1991); in the complex plane, with means taken off,
    ``p = a u`` gives ``a = Σ ū p / Σ |u|²``. Two landmarks are the least.
    """
    if face.landmarks is None:
        return None
    known = ~np.isnan(face.landmarks).any(axis=1)
    if known.sum() < 2:
        return None
    u, p = _complex(TEMPLATE[known]), _complex(face.landmarks[known])
    from_mean = u - u.mean()
    a = np.vdot(from_mean, p - p.mean()) / np.vdot(from_mean, from_mean)
    centre = p.mean() - a * u.mean()
    return Placement(float(centre.real), float(centre.imag), float(abs(a)), float(np.angle(a)))


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a ``(2, 3)`` matrix of an affine map."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)


def _complex(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]
