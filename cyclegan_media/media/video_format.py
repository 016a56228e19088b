"""What the planes of a picture mean: colour tags, pixel format, and how to reach the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.codec.codec import find_best_pix_fmt_of_list

from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Numbers of ITU-T H.273.
RGB, BT709, UNSPECIFIED, RESERVED, BT601 = 0, 1, 2, 3, 6
LIMITED, FULL = 1, 2

_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""``(Kr, Kb)`` of the matrices of ITU-T H.273, table 4: BT.709, FCC, BT.601 (625 and 525 lines),
SMPTE 240M, BT.2020 with non-constant luminance."""

_RGB_FORMATS = tuple(f"gbrp{bits}" for bits in ("", "9le", "10le", "12le", "14le", "16le"))
PLANAR_FORMATS = (
    *(
        base + bits
        for base in ("yuv420p", "yuv422p", "yuv444p", "gray")
        for bits in ("", "9le", "10le", "12le", "14le", "16le")
    ),
    *("yuv440p", "yuv411p", "yuv410p"),
    *_RGB_FORMATS,
)
"""FFmpeg's names of the formats that pictures are brought into before their samples are read. All
others hold the same numbers in another order, or have a transparency that is left out."""


@dataclass(frozen=True)
class ColourTags:
    """What a file says about its colours, in the numbers of ITU-T H.273 (2: unspecified)."""

    matrix: int
    primaries: int
    transfer: int
    range: int
    """1 limited, 2 full, 0 unspecified."""

    @classmethod
    def of(cls, picture: av.VideoFrame) -> ColourTags:
        full = picture.format.name.startswith("yuvj")
        return cls(
            picture.colorspace,
            picture.color_primaries,
            picture.color_trc,
            FULL if full else picture.color_range,
        )


@dataclass(frozen=True)
class PlaneCoding:
    """What the numbers in the planes of a picture mean. See :mod:`.video_colour`.

    Attributes:
        bits: of a sample, 8 to 16; deeper ones than 8 lie in 16-bit words, low bits first.
        full_range: samples use all their values; else black is at 16 and white at 235 (8 bits).
        weights: ``(Kr, Kb)`` of the matrix; ``None`` for planes that are G, B and R themselves.
    """

    bits: int
    full_range: bool
    weights: tuple[float, float] | None


@dataclass(frozen=True)
class PlaneLayout:
    """Where the samples of a picture lie, and what they mean."""

    format: str
    """One of :data:`PLANAR_FORMATS`."""
    coding: PlaneCoding

    @property
    def block(self) -> tuple[int, int]:
        """Height and width in pixels of what a chroma sample covers."""
        probe = av.VideoFormat(self.format, 16, 16)
        return 16 // probe.chroma_height(), 16 // probe.chroma_width()

    def planes(self, picture: av.VideoFrame) -> list[Tensor]:
        """The planes ``(rows, columns)`` of a picture of this format, sharing its memory."""
        import torch

        return [torch.from_numpy(self._samples(plane)) for plane in picture.planes]

    def picture(self, planes: Sequence[Tensor]) -> av.VideoFrame:
        """A new picture of this format with these planes, which may lie on any device."""
        height, width = planes[0].shape
        picture = av.VideoFrame(width, height, self.format)
        for plane, values in zip(picture.planes, planes, strict=True):
            self._samples(plane)[:] = values.cpu().numpy()
        return picture

    def _samples(self, plane: av.video.plane.VideoPlane) -> np.ndarray:
        dtype = np.dtype(np.uint16 if self.coding.bits > 8 else np.uint8)
        rows = np.asarray(memoryview(plane)).view(dtype)
        rows = rows.reshape(plane.height, -1)[:, : plane.width]
        # Some decoders store the lowest row first.
        return np.ascontiguousarray(rows[::-1]) if plane.line_size < 0 else rows


def layout_of(path: Path, picture: av.VideoFrame, tags: ColourTags) -> PlaneLayout:
    """The layout that pictures like this one are brought into without loss (transparency aside).

    Where the file does not name a matrix, players take BT.709 for high definition and BT.601
    below it, and so does this; where it does not name a range, limited for Y, Cb and Cr.

    Raises:
        UserError: the file names a matrix that is not linear in R, G and B, or a rare one.
    """
    name = picture.format.name.replace("yuvj", "yuv")
    if name not in PLANAR_FORMATS:
        name = _planar(picture.format)
    bits = av.VideoFormat(name).components[0].bits
    if name.startswith("gbrp"):
        return PlaneLayout(name, PlaneCoding(bits, True, None))
    weights = _weights(tags.matrix, (picture.height, picture.width))
    if weights is None:
        raise UserError(
            f"{path}: its colours use matrix {tags.matrix} of ITU-T H.273, which is not supported;"
            " convert it to BT.709 first"
        )
    return PlaneLayout(name, PlaneCoding(bits, tags.range == FULL, weights))


def _weights(matrix: int, size: tuple[int, int]) -> tuple[float, float] | None:
    height, width = size
    if matrix in (RGB, UNSPECIFIED, RESERVED):
        matrix = BT709 if width >= 1280 or height > 576 else BT601
    return _WEIGHTS.get(matrix)


def tags_to_write(tags: ColourTags, layout: PlaneLayout, encoder: str) -> ColourTags:
    """The tags of a video in Y, Cb and Cr that is made from one with these tags and layout."""
    if encoder in ("libvpx", "mjpeg"):  # VP8 and JPEG know no others
        return replace(tags, matrix=BT601, range=FULL if encoder == "mjpeg" else LIMITED)
    if layout.coding.weights is None:
        return replace(tags, matrix=BT709, range=LIMITED)
    return replace(tags, matrix=UNSPECIFIED) if tags.matrix in (RGB, RESERVED) else tags


def layout_to_write(chosen: av.VideoFormat, tags: ColourTags, size: tuple[int, int]) -> PlaneLayout:
    """The layout of pictures for an encoder that takes the pixel format ``chosen``.

    Args:
        tags: what the file will say of them.
        size: height and width.
    """
    name = chosen.name.replace("yuvj", "yuv")
    if name not in PLANAR_FORMATS:
        name = _planar(chosen)
    bits = av.VideoFormat(name).components[0].bits
    if name.startswith("gbrp"):
        return PlaneLayout(name, PlaneCoding(bits, True, None))
    full = tags.range == FULL or chosen.name.startswith("yuvj")
    return PlaneLayout(name, PlaneCoding(bits, full, _weights(tags.matrix, size)))


def _planar(stored: av.VideoFormat) -> str:
    # A palette, black and white in bits, and XYZ become RGB; FFmpeg would choose otherwise.
    to_rgb = stored.is_rgb or stored.has_palette or stored.is_bit_stream or "xyz" in stored.name
    choice, _ = find_best_pix_fmt_of_list(_RGB_FORMATS if to_rgb else PLANAR_FORMATS, stored)
    if choice is None:
        raise UserError(f"pictures in the format {stored.name} are not supported")
    return choice.name
