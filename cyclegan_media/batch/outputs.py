"""Where outputs may go: inside the folder of the batch, whatever a manifest says."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from cyclegan_media.errors import UserError
from cyclegan_media.files import PARTIAL_MARK

STATE_PREFIX = ".cyclegan-media-batch"
"""Names in the folder of outputs that begin so are the batch's own."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_relative(name: str, where: str) -> str:
    """The same path in its plain form, with ``/`` between its parts.

    Raises:
        UserError: it is empty, absolute, climbs out by ``..``, has control characters, or a name
            that the batch uses itself; ``where`` begins the sentence.
    """
    shown = repr(name[:200])
    if not name.strip() or _CONTROL.search(name) or not is_text(name):
        raise UserError(f"{where}: output {shown}: is no file name")
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "://" in name:
        raise UserError(
            f"{where}: output {shown}: is absolute; name it relative to the folder of outputs"
        )
    parts = PurePosixPath(name).parts
    if ".." in parts or ".." in PureWindowsPath(name).parts:
        raise UserError(f"{where}: output {shown}: climbs out of the folder of outputs by '..'")
    if any(part.startswith(STATE_PREFIX) or PARTIAL_MARK in part for part in parts):
        raise UserError(f"{where}: output {shown}: is a name that batches use themselves")
    if any(len(part.encode()) > 200 for part in parts):
        raise UserError(f"{where}: output {shown}: is too long; a name has 200 bytes at most")
    return str(PurePosixPath(*parts))


def is_text(name: str) -> bool:
    """Whether ``name`` can be written as UTF-8; bytes of file names that are none cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_inside(folder: Path, name: str, where: str) -> Path:
    """The path of output ``name`` in ``folder``, whose symbolic links are followed to see.

    Raises:
        UserError: a link leads out of ``folder``, or the output is itself a link.
    """
    path = folder / name
    root = os.path.realpath(folder)
    parent = os.path.realpath(path.parent)
    if os.path.commonpath([root, parent]) != root:
        raise UserError(
            f"{where}: output {name!r}: a symbolic link in {folder} leads out of that folder"
        )
    if path.is_symlink():
        raise UserError(f"{where}: output {name!r}: {path} is a symbolic link; remove it")
    return path


def remove_partials(path: Path) -> int:
    """Remove what a killed process left of its work on the output ``path``; how many files."""
    pattern = re.compile(
        rf"\.{re.escape(path.stem)}{re.escape(PARTIAL_MARK)}[0-9a-f]{{8}}{re.escape(path.suffix)}"
    )
    removed = 0
    try:
        for file in path.parent.iterdir():
            if pattern.fullmatch(file.name):
                file.unlink(missing_ok=True)
                removed += 1
    except OSError:  # the folder is gone, or nothing in it can be changed
        pass
    return removed
