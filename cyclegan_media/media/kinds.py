"""What kind of medium a file is, judged by its name, and which media a folder holds."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.files import PARTIAL_MARK

Kind = Literal["image", "video", "audio"]

_IMAGE = "png jpg jpeg jpe jfif webp avif tif tiff bmp gif jp2 ppm pgm tga"
_VIDEO = "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts wmv flv ogv 3gp mxf"
_AUDIO = "wav flac ogg oga mp3 m4a aac opus aif aiff au caf w64 wma mka"

SUFFIXES: dict[Kind, frozenset[str]] = {
    "image": frozenset(f".{name}" for name in _IMAGE.split()),
    "video": frozenset(f".{name}" for name in _VIDEO.split()),
    "audio": frozenset(f".{name}" for name in _AUDIO.split()),
}
"""File name suffixes of each kind, in lower case."""


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """The kind that the suffix of ``path`` promises; ``None`` for anything else.

    The file need not exist. An audio-only ``.mp4`` counts as a video until it is opened.
    """
    suffix = Path(path).suffix.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def list_media(folder: str | os.PathLike[str], kind: Kind | str) -> list[Path]:
    """The files of one kind that lie in ``folder`` itself, in natural order (2 before 10).

    Hidden files and unfinished outputs are left out.

    Raises:
        UserError: the folder is missing or cannot be read.
    """
    folder = Path(folder)
    try:
        files = [path for path in folder.iterdir() if _is_media(path, kind)]
    except OSError as error:
        raise from_os_error(error, folder, "listing it") from error
    return sorted(files, key=natural_order)


def _is_media(path: Path, kind: str) -> bool:
    hidden = path.name.startswith(".") or PARTIAL_MARK in path.name
    return not hidden and kind_of(path) == kind and path.is_file()


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A sorting key by which ``frame2.png`` comes before ``frame10.png``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name.lower())
    key = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return key, path.name


def check_input(path: str | os.PathLike[str]) -> Path:
    """Check that ``path`` is a file with something in it, before a library reports it its way.

    Raises:
        UserError: missing, a folder, a pipe, empty, or not readable.
    """
    path = Path(path)
    try:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            raise UserError(f"{path}: is a folder where a file is needed")
        if not stat.S_ISREG(state.st_mode):
            raise UserError(f"{path}: is a pipe or device where a file is needed")
        if state.st_size == 0:
            raise UserError(f"{path}: is empty (0 bytes); copy it again")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    return path
