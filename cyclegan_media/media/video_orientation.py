"""How the pictures in a file are turned for display: the display matrix of video containers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a rectangle on a screen: transpose first, then mirror."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @property
    def is_upright(self) -> bool:
        return not (self.transposed or self.mirrored_x or self.mirrored_y)

    @property
    def rotation(self) -> int:
        """Degrees by which a player turns the stored picture clockwise: 0, 90, 180 or 270.

        A mirrored picture is turned by these degrees and then mirrored left to right.
        """
        if self.transposed:
            return 270 if self.mirrored_y else 90
        return 180 if self.mirrored_y else 0

    def upright(self, picture: Tensor) -> Tensor:
        """Turn a stored picture ``(…, height, width)`` as it should be seen."""
        if self.transposed:
            picture = picture.transpose(-1, -2)
        return self._mirror(picture)

    def stored(self, picture: Tensor) -> Tensor:
        """The inverse of :meth:`upright`."""
        picture = self._mirror(picture)
        return picture.transpose(-1, -2) if self.transposed else picture

    def _mirror(self, picture: Tensor) -> Tensor:
        dims = [dim for dim, on in ((-1, self.mirrored_x), (-2, self.mirrored_y)) if on]
        return picture.flip(dims) if dims else picture


UPRIGHT = Orientation()


def read_display_matrix(data: bytes) -> tuple[int, ...]:
    """The nine numbers of the matrix, row by row, as FFmpeg hands them out (16.16 fixed point)."""
    return _MATRIX.unpack(data)


def orientation_of(matrix: tuple[int, ...]) -> Orientation | None:
    """What a display matrix does to a picture; ``None`` if it is not made of quarter turns.

    With ``(a, b, ·, c, d, ·, …)`` as in ISO 14496-12, a stored pixel in column ``p`` and row ``q``
    appears at ``x = a·p + c·q``, ``y = b·p + d·q``, from the picture's new corner.
    """
    a, b, _, c, d = matrix[:5]
    if b == c == 0 and abs(a) == abs(d) != 0:
        return Orientation(False, a < 0, d < 0)
    if a == d == 0 and abs(b) == abs(c) != 0:
        return Orientation(True, c < 0, b < 0)
    return None
