"""Pictures ↔ arrays: upright, RGB, 8 or 16 bits, with their transparency and colour profile."""

from __future__ import annotations

import io
import logging
import os
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageFile
import PIL.ImageOps
from numpy.typing import NDArray

from cyclegan_media.errors import RunError, UserError, from_os_error
from cyclegan_media.files import atomic_file
from cyclegan_media.media.kinds import check_input

logger = logging.getLogger("cyclegan_media")

Pixels = NDArray[np.uint8 | np.uint16]

DEFAULT_MAX_MEGAPIXELS = 200.0
MAX_MEGAPIXELS_VARIABLE = "CYCLEGAN_MEDIA_MAX_MEGAPIXELS"
"""Environment variable that raises the limit on the size of pictures."""

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
_PILLOW_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Image:
    """A picture in memory."""

    pixels: Pixels
    """``(height, width, 3)`` RGB, uint8 or uint16 over their whole range."""
    alpha: Pixels | None = None
    """``(height, width)`` of the same type, 0 for transparent; ``None`` for opaque pictures."""
    icc_profile: bytes | None = None
    """The colour space of ``pixels``; ``None`` for sRGB."""


def read_image(path: str | os.PathLike[str], *, max_megapixels: float | None = None) -> Image:
    """Read a picture as RGB, turned upright by its EXIF orientation.

    Palettes and greyscale become RGB; CMYK and grey pictures with a colour profile are converted
    to sRGB by it. PNG and TIFF files with 16 bits a channel keep them.

    Args:
        max_megapixels: larger pictures are refused before they are decoded; ``None`` for
            ``$CYCLEGAN_MEDIA_MAX_MEGAPIXELS``, else 200.

    Raises:
        UserError: missing, empty, damaged, no picture, an animation or several pages, or too
            large.
    """
    path = check_input(path)
    limit = _limit() if max_megapixels is None else max_megapixels
    try:
        with _open(path) as picture:
            check_header(path, picture, limit)
            if _is_sixteen_bit(picture):
                return _read_sixteen_bit(path, picture)
            return _read_eight_bit(picture)
    except UserError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise UserError(f"{path}: is not a picture of a format that can be read") from error
    except MemoryError as error:
        raise RunError(f"{path}: not enough memory for a picture of this size") from error
    except Exception as error:
        # Damaged files meet the decoders in many ways: OSError, SyntaxError, struct.error, …
        raise UserError(f"{path}: is damaged or cut short ({_first_line(error)})") from error


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
        if sixteen and format_name in ("PNG", "TIFF"):
            _write_sixteen_bit(partial, image, format_name)
        else:
            _write_eight_bit(partial, image, format_name)
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


def check_header(path: Path, picture: PIL.Image.Image, max_megapixels: float | None = None) -> None:
    """Refuse, before decoding, what :func:`read_image` does not read.

    Raises:
        UserError: an animation or several pages, or more than ``max_megapixels``.
    """
    limit = _limit() if max_megapixels is None else max_megapixels
    width, height = picture.size
    if width * height > limit * 1e6:
        raise UserError(
            f"{path}: {width} × {height} pixels are more than the limit of {limit:g} megapixels;"
            f" raise it by the environment variable {MAX_MEGAPIXELS_VARIABLE}"
        )
    count = getattr(picture, "n_frames", 1)
    # A camera's MPO is a JPEG with further views of the same moment behind it.
    if count > 1 and picture.format != "MPO":
        raise UserError(
            f"{path}: holds {count} pictures (an animation or pages), and only single pictures are"
            " read; convert it to a video, or to one file per picture"
        )


def _limit() -> float:
    text = os.environ.get(MAX_MEGAPIXELS_VARIABLE)
    try:
        return DEFAULT_MAX_MEGAPIXELS if text is None else float(text)
    except ValueError as error:
        raise UserError(f"{MAX_MEGAPIXELS_VARIABLE}: {text!r} is not a number") from error


def _open(path: Path) -> PIL.ImageFile.ImageFile:
    # Pillow's own limit is a global of the process and cannot be raised per file; ours replaces
    # it while the header is read.
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            return PIL.Image.open(path)
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = before


def _is_sixteen_bit(picture: PIL.ImageFile.ImageFile) -> bool:
    # Pillow's modes have 16 bits for grey only; the raw mode tells what the file holds.
    return picture.format in ("PNG", "TIFF") and any(
        ";16" in str(tile.args) for tile in picture.tile
    )


def _read_sixteen_bit(path: Path, picture: PIL.Image.Image) -> Image:
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    known = ("gray16be", "gray16le", "rgb48be", "rgb48le", "rgba64be", "rgba64le")
    name = frame.format.name
    array: NDArray[Any] = frame.to_ndarray(format=name if name in known else "rgba64le")
    array = _upright(array, picture)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    profile = None if name.startswith(("gray", "ya")) else picture.info.get("icc_profile")
    return Image(np.ascontiguousarray(array[..., :3]), alpha, profile)


def _upright(array: NDArray[Any], picture: PIL.Image.Image) -> NDArray[Any]:
    """Undo the EXIF orientation (EXIF 2.3, tag 0x0112)."""
    orientation = picture.getexif().get(0x0112, 1)
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _read_eight_bit(picture: PIL.Image.Image) -> Image:
    if picture.mode in ("F", "I"):
        raise UserError(
            f"{picture.filename}: has {'floating-point' if picture.mode == 'F' else '32-bit'}"  # type: ignore[attr-defined]
            " pixels without a known range; convert it to 8 or 16 bits"
        )
    profile = picture.info.get("icc_profile")
    upright = PIL.ImageOps.exif_transpose(picture)
    if upright.mode in ("CMYK", "L", "1", "LAB") and profile:
        upright, profile = _to_srgb(upright, profile), None
    elif upright.mode not in ("RGB", "RGBA", "RGBX", "P", "PA"):
        profile = None
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright).astype(np.uint32) + 128) // 257
        upright = PIL.Image.fromarray(grey.astype(np.uint8))
    if upright.has_transparency_data:
        array = np.asarray(upright.convert("RGBA"))
        return Image(array[..., :3].copy(), array[..., 3].copy(), profile)
    return Image(np.array(upright.convert("RGB")), None, profile)


def _to_srgb(picture: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    try:
        source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = PIL.ImageCms.createProfile("sRGB")
        converted = PIL.ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (PIL.ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a damaged profile: the plain conversion is what other programs show
    return converted if converted is not None else picture


def _on_white(image: Image) -> Image:
    assert image.alpha is not None
    top = float(np.iinfo(image.pixels.dtype).max)
    share = image.alpha[..., None] / top
    mixed = image.pixels * share + top * (1 - share)
    return Image(mixed.round().astype(image.pixels.dtype), None, image.icc_profile)


def _write_eight_bit(path: Path, image: Image, format_name: str) -> None:
    pixels, alpha = image.pixels, image.alpha
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=-1)
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    options = dict(_SAVE_OPTIONS.get(format_name, {}))
    if image.icc_profile and format_name not in ("PPM", "TGA", "BMP", "GIF"):
        options["icc_profile"] = image.icc_profile
    # Into memory first: what fails there is the format's fault, what fails after is the disk's.
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
    path.write_bytes(encoded.getvalue())


def _write_sixteen_bit(path: Path, image: Image, format_name: str) -> None:
    import av

    pixels: Any = image.pixels
    layout = "rgb48"
    if image.alpha is not None:
        pixels, layout = np.concatenate([pixels, image.alpha[..., None]], axis=-1), "rgba64"
    layout += "be" if format_name == "PNG" else "le"
    try:
        with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream(format_name.lower(), rate=1)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = pixels.shape[:2]
            stream.pix_fmt = layout
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise from_os_error(OSError(error.errno, error.strerror), path, "writing it") from error
    if image.icc_profile and format_name == "PNG":
        _insert_profile(path, image.icc_profile)
    elif image.icc_profile:
        logger.warning("%s: a 16-bit TIFF is written without its colour profile; use .png", path)


def _insert_profile(path: Path, profile: bytes) -> None:
    """Add an iCCP chunk after the header (PNG specification, section 11.3.2.3)."""
    content = path.read_bytes()
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header = 8 + 25  # signature, IHDR
    path.write_bytes(content[:header] + chunk + content[header:])


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
