"""Arrays → pictures, in the format of the file name's suffix."""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_file
from cyclegan_media.media.image import Image
from cyclegan_media.media.image_tags import XMP_KEYWORD, ImageTags, xmp_with
from cyclegan_media.media.provenance import Provenance, comment_with

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
_WITHOUT_TAGS = ("BMP", "PPM", "TGA")
_WITH_COMMENT = ("GIF", "JPEG2000")
_MOST_BYTES = {"JPEG": 65_500}
"""Of EXIF and of an XMP packet: a JPEG holds each in one segment."""
_XMP_TAG, _PROFILE_TAG = 700, 34675


def write_image(
    path: str | os.PathLike[str],
    image: Image,
    overwrite: bool = False,
    *,
    provenance: Sequence[Provenance] = (),
) -> Path:
    """Write a picture in the format of the path's suffix; the file is complete or absent.

    16 bits are kept in PNG and TIFF and rounded to 8 elsewhere. A format without transparency
    gets the picture on white, with a message. Tags go with the picture where the format has them.

    Args:
        provenance: what is to be said of its making; in formats without tags a message says that
            it is not.

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
    tags = _tags_to_write(path, image.tags or ImageTags(), format_name, provenance)
    with atomic_file(path, overwrite=overwrite) as partial:
        # Into memory first, so that what fails there is known to be no fault of the disk.
        if sixteen and format_name in ("PNG", "TIFF"):
            encoded = _encode_sixteen_bit(path, image, format_name, tags)
        else:
            encoded = _encode_eight_bit(path, image, format_name, tags)
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


def _encode_eight_bit(path: Path, image: Image, format_name: str, tags: ImageTags) -> bytes:
    pixels, alpha = image.pixels, image.alpha
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=-1)
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    options = dict(_SAVE_OPTIONS.get(format_name, {}))
    if image.icc_profile and format_name not in ("PPM", "TGA", "BMP", "GIF"):
        options["icc_profile"] = image.icc_profile
    options |= _tag_options(tags, format_name)
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
    if format_name == "TIFF":
        return _with_directory(encoded.getvalue(), None, tags)
    return encoded.getvalue()


def _encode_sixteen_bit(path: Path, image: Image, format_name: str, tags: ImageTags) -> bytes:
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
    if format_name == "PNG":
        return _with_chunks(encoded.getvalue(), image.icc_profile, tags)
    return _with_directory(encoded.getvalue(), image.icc_profile, tags)


def _with_chunks(png: bytes, profile: bytes | None, tags: ImageTags) -> bytes:
    """Add profile and tags after the header (PNG specification, sections 11.3.2 to 11.3.4)."""
    bodies = []
    if profile:
        bodies.append(b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile))
    if tags.exif:
        bodies.append(b"eXIf" + tags.exif.removeprefix(b"Exif\0\0"))
    for keyword, text in _png_texts(tags).items():
        # Neither compressed nor in a stated language.
        bodies.append(b"iTXt" + keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode())
    chunks = [
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in bodies
    ]
    header = 8 + 25  # signature, IHDR
    return png[:header] + b"".join(chunks) + png[header:]


def _with_directory(tiff: bytes, profile: bytes | None, tags: ImageTags) -> bytes:
    """Add profile and tags to a little-endian TIFF: a second directory replaces its only one.

    TIFF 6.0, section 2; the tags' numbers are of the XMP specification, part 3, and of ICC.1,
    annex B. Pillow itself cannot write EXIF's directories beside compressed pixels.
    """
    (place,) = struct.unpack_from("<I", tiff, 4)
    entries = _entries(tiff, place)
    body = tiff + b"\0" * (len(tiff) % 2)
    if tags.exif:
        exif = PIL.Image.Exif()
        exif.load(tags.exif)
        exif.endian = "<"
        block = exif.tobytes(offset=len(body))[6 + 8 :]  # without its own two headers
        entries |= _entries(block, 0)
        body += block + b"\0" * (len(block) % 2)
    for number, kind, content in ((_XMP_TAG, 1, tags.xmp), (_PROFILE_TAG, 7, profile)):
        if content:
            entries[number] = struct.pack("<HHII", number, kind, len(content), len(body))
            body += content + b"\0" * (len(content) % 2)
    count = struct.pack("<H", len(entries))
    directory = count + b"".join(entries[number] for number in sorted(entries)) + b"\0" * 4
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


def _entries(content: bytes, place: int) -> dict[int, bytes]:
    """The entries of a directory, by the numbers of their tags."""
    (count,) = struct.unpack_from("<H", content, place)
    entries = [content[place + 2 + 12 * k :][:12] for k in range(count)]
    return {struct.unpack_from("<H", entry)[0]: entry for entry in entries}


def _tags_to_write(
    path: Path, tags: ImageTags, format_name: str, provenance: Sequence[Provenance]
) -> ImageTags:
    """The tags of a file of this format, what is to be said of its making among them."""
    if format_name in _WITHOUT_TAGS:
        if provenance:
            logger.warning(
                "%s: this format has no place to say that the picture is synthetic; .png has", path
            )
        return ImageTags()
    if format_name in _WITH_COMMENT:
        return ImageTags(comment=comment_with(provenance, tags.comment))
    exif, xmp = tags.exif, xmp_with(provenance, tags.xmp)
    most = _MOST_BYTES.get(format_name, 2**31)
    if xmp and len(xmp) > most:
        logger.warning("%s: the source's XMP is too long for this format; it is left out", path)
        xmp = xmp_with(provenance)
    if exif and len(exif) > most:
        logger.warning("%s: the source's EXIF is too long for this format; it is left out", path)
        exif = None
    return ImageTags(exif, xmp, tags.texts if format_name == "PNG" else {})


def _tag_options(tags: ImageTags, format_name: str) -> dict[str, Any]:
    """Pillow's options for them."""
    if format_name in _WITH_COMMENT:
        return {"comment": tags.comment.encode()} if tags.comment else {}
    if format_name == "TIFF":  # see _with_directory
        return {}
    options: dict[str, Any] = {"exif": tags.exif} if tags.exif else {}
    if format_name == "PNG":
        info = PIL.PngImagePlugin.PngInfo()
        for keyword, text in _png_texts(tags).items():
            info.add_itxt(keyword, text)
        options["pnginfo"] = info
    elif tags.xmp:
        options["xmp"] = tags.xmp
    return options


def _png_texts(tags: ImageTags) -> dict[str, str]:
    xmp = {XMP_KEYWORD: tags.xmp.decode(errors="replace")} if tags.xmp else {}
    return {**tags.texts, **xmp}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
