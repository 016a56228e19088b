"""Arrays → pictures, in the format of the file name's suffix."""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_file
from cyclegan_media.media.image import Image

logger = logging.getLogger("cyclegan_media")

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
    ".tga": "TGA",
}
"""Pillow's name of the format that each suffix is written in."""
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Little loss, whole colour resolution: these files are results, and often inputs again.
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels; libjpeg would tell the terminal."""
_WITHOUT_ALPHA = ("JPEG", "BMP", "PPM", "GIF")


def write_image(path: str | os.PathLike[str], image: Image, overwrite: bool = False) -> Path:
    """Write a picture in the format of the path's suffix; the file is complete or absent.

    16 bits are kept in PNG and TIFF and rounded to 8 elsewhere. A format without transparency
    gets the picture on white, with a message.

    Raises:
        UserError: unknown suffix, ``path`` exists and ``overwrite`` is false, or it cannot be
            written.
        RunError: the disk is full.
    """
    path = Path(path)
    format_name = image_format(path)
    if format_name in _WITHOUT_ALPHA and image.alpha is not None:
        logger.warning("%s: this format has no transparency; the picture is put on white", path)
        image = _on_white(image)
    sixteen = image.pixels.dtype == np.uint16
    with atomic_file(path, overwrite=overwrite) as partial:
        # Into memory first, so that what fails there is known to be no fault of the disk.
        if sixteen and format_name in ("PNG", "TIFF"):
            encoded = _encode_sixteen_bit(path, image, format_name)
        else:
            encoded = _encode_eight_bit(path, image, format_name)
        partial.write_bytes(encoded)
    return path


def image_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that ``path`` would be written in.

    Raises:
        UserError: its suffix names no format that pictures are written in.
    """
    suffix = Path(path).suffix.lower()
    name = _FORMATS.get(suffix)
    if name is None:
        shown = repr(suffix) if suffix else "a file without a suffix"
        raise UserError(
            f"{path}: cannot write a picture as {shown}; use .png, .jpg, .webp, .avif or .tif"
        )
    return name


def _on_white(image: Image) -> Image:
    assert image.alpha is not None
    top = float(np.iinfo(image.pixels.dtype).max)
    share = image.alpha[..., None] / top
    mixed = image.pixels * share + top * (1 - share)
    return Image(mixed.round().astype(image.pixels.dtype), None, image.icc_profile)


def _encode_eight_bit(path: Path, image: Image, format_name: str) -> bytes:
    pixels, alpha = image.pixels, image.alpha
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=-1)
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    options = dict(_SAVE_OPTIONS.get(format_name, {}))
    if image.icc_profile and format_name not in ("PPM", "TGA", "BMP", "GIF"):
        options["icc_profile"] = image.icc_profile
    encoded = io.BytesIO()
    try:
        height, width = pixels.shape[:2]
        if max(height, width) > _MAX_SIDE.get(format_name, 2**31):
            raise ValueError(f"a side may have {_MAX_SIDE[format_name]} pixels at most")
        picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
        picture.save(encoded, format_name, **options)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path}: {width} × {height} pixels cannot be written as {format_name}:"
            f" {_first_line(error)}; use .png"
        ) from error
    return encoded.getvalue()


def _encode_sixteen_bit(path: Path, image: Image, format_name: str) -> bytes:
    import av

    pixels: Any = image.pixels
    layout = "rgb48"
    if image.alpha is not None:
        pixels, layout = np.concatenate([pixels, image.alpha[..., None]], axis=-1), "rgba64"
    layout += "be" if format_name == "PNG" else "le"
    encoded = io.BytesIO()
    try:
        with av.open(encoded, "w", format="image2pipe") as container:
            stream = container.add_stream(format_name.lower(), rate=1)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = pixels.shape[:2]
            stream.pix_fmt = layout
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: cannot be written as 16-bit {format_name}: {reason}") from error
    content = encoded.getvalue()
    if image.icc_profile and format_name == "PNG":
        return _with_profile(content, image.icc_profile)
    if image.icc_profile:
        logger.warning("%s: a 16-bit TIFF is written without its colour profile; use .png", path)
    return content


def _with_profile(png: bytes, profile: bytes) -> bytes:
    """Add an iCCP chunk after the header (PNG specification, section 11.3.2.3)."""
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header = 8 + 25  # signature, IHDR
    return png[:header] + chunk + png[header:]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
