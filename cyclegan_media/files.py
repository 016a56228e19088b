"""Outputs that are either complete or absent.

Every file or folder this package makes is written beside its final name and renamed when it is
complete, so a file that exists is complete (POSIX ``rename`` within one folder is atomic).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclegan_media.errors import UserError, from_os_error

PARTIAL_MARK = ".partial-"
"""Part of the name of everything unfinished; a sweep may delete names that contain it."""


def cache_folder() -> Path:
    """Where prepared data is kept: ``$CYCLEGAN_MEDIA_CACHE``, else the user's cache folder."""
    named = os.environ.get("CYCLEGAN_MEDIA_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cyclegan_media"


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check, before any work, that ``path`` can be written; create its parent folder.

    Raises:
        UserError: it exists and ``overwrite`` is false, it is a folder where a file should go,
            or its folder cannot be made or written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the output file itself")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; pass --overwrite to replace it")
    _writable_parent(path)
    return path


def check_output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Like :func:`check_output` for a folder; an empty one may be there already.

    Raises:
        UserError: it holds something and ``overwrite`` is false, it is a file, or its parent
            folder cannot be made or written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file where a folder should go; choose another name")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise UserError(f"{path}: exists already; pass --overwrite to replace it")
    _writable_parent(path)
    return path


def _writable_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, path.parent, "making the output folder") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path.parent}: the output folder is not writable; choose another")


def _partial_name(path: Path) -> Path:
    # The suffix stays last, since libraries choose the format by it.
    return path.with_name(f".{path.stem}{PARTIAL_MARK}{secrets.token_hex(4)}{path.suffix}")


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    On any exception, ``KeyboardInterrupt`` included, the temporary file is removed and an
    existing file at ``path`` is untouched.

    Raises:
        UserError: see :func:`check_output`.
        RunError: the disk is full.
    """
    path = check_output(path, overwrite=overwrite)
    partial = _partial_name(path)
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        if path.exists() and not overwrite:
            raise UserError(f"{path}: appeared meanwhile; pass --overwrite to replace it")
        os.replace(partial, path)
    except OSError as error:
        raise from_os_error(error, path, "writing it") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Like :func:`atomic_file` for a folder of files.

    An existing folder is replaced only with ``overwrite``; it is moved aside first, since a
    folder that is not empty cannot be renamed over, and put back if the rename fails. Where
    ``path`` is a link, the link is replaced, and what it leads to stays as it is.
    """
    path = check_output_folder(path, overwrite=overwrite)
    partial = _partial_name(path)
    aside = _partial_name(path)
    try:
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
        if path.exists() or path.is_symlink():
            os.replace(path, aside)
        try:
            os.replace(partial, path)
        except OSError:
            if aside.exists() or aside.is_symlink():
                os.replace(aside, path)
            raise
    except OSError as error:
        raise from_os_error(error, path, "writing it") from error
    finally:
        remove_folder(partial)
        remove_folder(aside)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, as far as that can be done; of a link, the link."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
