"""Pictures → arrays: upright, RGB, 8 or 16 bits, with their transparency and colour profile."""

from __future__ import annotations

import io
import os
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageFile
import PIL.ImageOps
from numpy.typing import NDArray

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import limits
from cyclegan_media.media.image_tags import ImageTags, read_tags
from cyclegan_media.media.kinds import check_input

Pixels = NDArray[np.uint8 | np.uint16]

_FORMATS = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "TGA"]
"""What Pillow may take a file for, whatever its name says. It knows more, among them EPS, which it
has Ghostscript run as the program that it is."""
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
    tags: ImageTags | None = None
    """What else the file says."""


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
    limit = limits.max_megapixels() if max_megapixels is None else max_megapixels
    try:
        with open_picture(path) as picture:
            _check_header(path, picture, limit)
            read = _read_sixteen_bit if is_sixteen_bit(picture) else _read_eight_bit
            return replace(read(path, picture), tags=read_tags(picture))
    except UserError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise UserError(f"{path}: is not a picture of a format that can be read") from error
    except MemoryError as error:
        raise RunError(f"{path}: not enough memory for a picture of this size") from error
    except Exception as error:
        # Damaged files meet the decoders in many ways: OSError, SyntaxError, struct.error, …
        raise UserError(f"{path}: is damaged or cut short ({_first_line(error)})") from error


def _check_header(path: Path, picture: PIL.Image.Image, limit: float) -> None:
    """Refuse, before decoding, what is too large or more than one picture."""
    width, height = picture.size
    if width * height > limit * 1e6:
        raise UserError(
            f"{path}: {width} × {height} pixels are more than the limit of {limit:g} megapixels;"
            f" raise it by the environment variable {limits.MAX_MEGAPIXELS_VARIABLE}"
        )
    count = getattr(picture, "n_frames", 1)
    # A camera's MPO is a JPEG with further views of the same moment behind it.
    if count > 1 and picture.format != "MPO":
        raise UserError(
            f"{path}: holds {count} pictures (an animation or pages), and only single pictures are"
            " read; convert it to a video, or to one file per picture"
        )


def open_picture(path: Path) -> PIL.ImageFile.ImageFile:
    """Read a picture's header, without Pillow's own limit on its size.

    That limit is a global of the process and cannot be raised per file; ours replaces it.
    """
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            return PIL.Image.open(path, formats=_FORMATS)
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = before


def is_sixteen_bit(picture: PIL.ImageFile.ImageFile) -> bool:
    """Whether the file holds 16 bits a channel that :func:`read_image` keeps.

    Pillow's modes have 16 bits for grey only; its raw mode tells what is in the file.
    """
    return picture.format in ("PNG", "TIFF") and any(
        ";16" in str(tile.args) for tile in picture.tile
    )


def _read_sixteen_bit(path: Path, picture: PIL.Image.Image) -> Image:
    import av

    # Not by its name, which FFmpeg would read patterns and addresses into.
    with (
        open(path, "rb") as file,
        av.open(file, "r", format=f"{str(picture.format).lower()}_pipe") as container,
    ):
        stream = container.streams.video[0]
        # The decoder counts the pixels of its buffers, whose sides it rounds up.
        most = (picture.width + 128) * (picture.height + 128)
        stream.codec_context.options = {"max_pixels": str(most)}
        frame = next(container.decode(stream))
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


def _read_eight_bit(path: Path, picture: PIL.Image.Image) -> Image:
    if picture.mode in ("F", "I"):
        raise UserError(
            f"{path}: has {'floating-point' if picture.mode == 'F' else '32-bit'}"
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


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
