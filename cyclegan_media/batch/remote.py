"""Files elsewhere, by fsspec: fetched before a file is translated, sent when it is complete.

Local paths never need fsspec; the extra ``remote`` installs it.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.files import PARTIAL_MARK
from cyclegan_media.media.kinds import kind_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SCHEMES = ("file", "http", "https", "s3", "gs")
_OBJECT_STORES = ("s3", "gs")
"""Where an object appears when it is complete, and a rename would copy it."""
_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Whether ``text`` is a URL rather than a path."""
    return "://" in text or "::" in text


def check_url(url: str, where: str) -> None:
    """Refuse URLs of other kinds: fsspec can chain them, run commands and open archives.

    Raises:
        UserError: ``where`` begins the sentence.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or "::" in url:
        raise UserError(
            f"{where}: {url[:200]!r}: is a URL of a kind that is not read; it can be one of"
            f" {', '.join(SCHEMES)}"
        )
    if not urlsplit(url).path.strip("/") and scheme not in _OBJECT_STORES:
        raise UserError(f"{where}: {url[:200]!r}: names no file")


def local_path(url: str) -> Path | None:
    """The path of a ``file://`` URL; ``None`` for others."""
    if not url.startswith("file://"):
        return None
    return Path(url.removeprefix("file://"))


def name_of(source: str) -> Path:
    """A path or URL as a path that ends in the same name; for looking at the name alone."""
    if not is_url(source):
        return Path(source)
    path = urlsplit(source).path if source.startswith("http") else source.partition("://")[2]
    return Path(unquote(path) if source.startswith("http") else path)


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path in it.

    Raises:
        UserError: fsspec, or what it needs for this kind, is not installed.
    """
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{url}: reading it needs packages that are not installed; pip install"
            " 'cyclegan-media[remote]'"
        ) from error
    return system, path


def find(url: str) -> Iterator[tuple[str, str, bool]]:
    """The media that a URL of a file, a folder or a glob stands for, with their names.

    Raises:
        UserError: there are none, or it cannot be listed.
    """
    check_url(url, url)
    system, path = filesystem(url)
    try:
        if glob.has_magic(url):
            parts = PurePosixPath(path).parts
            base = str(PurePosixPath(*parts[: [glob.has_magic(p) for p in parts].index(True)]))
            paths = system.glob(path)
        elif url.endswith("/") or (not url.startswith("http") and system.isdir(path)):
            base, paths = path.rstrip("/"), system.find(path)
        else:
            yield url, name_of(url).name, False
            return
    except Exception as error:
        raise failure(url, "listing it", error) from error
    media = sorted(p for p in map(str, paths) if kind_of(p) is not None)
    if not media:
        raise UserError(f"{url}: holds no picture, video or recording")
    for file in media:
        name = os.path.relpath(file, base)
        if not any(part.startswith(".") for part in PurePosixPath(name).parts):
            yield str(system.unstrip_protocol(file)), name, True


def stamp(url: str) -> tuple[int | None, str]:
    """The size of a file in bytes, and a text that changes when the file does.

    Raises:
        UserError: it is not there, or cannot be reached.
    """
    system, path = filesystem(url)
    try:
        info = system.info(path)
    except Exception as error:
        raise failure(url, "looking at it", error) from error
    size = info.get("size")
    marks = [info.get(name) for name in ("ETag", "etag", "LastModified", "mtime", "updated")]
    return size, "-".join(str(mark) for mark in (size, *marks) if mark is not None)


def fetch(url: str, path: Path, most: int) -> None:
    """Copy a file to the local ``path``, and no more than ``most`` bytes.

    Raises:
        UserError: it is larger, not there, or cannot be reached.
        RunError: the disk is full.
    """
    system, remote = filesystem(url)
    size = 0
    try:
        with system.open(remote, "rb") as source, open(path, "wb") as target:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > most:
                    raise UserError(
                        f"{url}: is larger than {most} bytes; raise the limit with --max-download"
                    )
                target.write(block)
    except CycleganMediaError:
        raise
    except Exception as error:
        raise failure(url, "fetching it", error) from error


def send(path: Path, url: str, *, overwrite: bool) -> None:
    """Copy the local file ``path`` to ``url``, which is complete or absent.

    Raises:
        UserError: it exists and ``overwrite`` is false, or cannot be written.
    """
    system, target = filesystem(url)
    try:
        if not overwrite and system.exists(target):
            raise UserError(f"{url}: appeared meanwhile; pass --overwrite to replace it")
        if url.startswith(tuple(f"{scheme}://" for scheme in _OBJECT_STORES)):
            system.put_file(str(path), target)
            return
        folder, _, name = target.rpartition("/")
        system.makedirs(folder, exist_ok=True)
        partial = f"{folder}/.{name}{PARTIAL_MARK}{secrets.token_hex(4)}"
        try:
            system.put_file(str(path), partial)
            system.mv(partial, target)
        finally:
            if system.exists(partial):
                system.rm_file(partial)
    except CycleganMediaError:
        raise
    except Exception as error:
        raise failure(url, "writing it", error) from error


def existing(url: str) -> set[str]:
    """Names of all files below the folder ``url``, relative to it."""
    system, path = filesystem(url)
    base = path.rstrip("/")
    try:
        return {os.path.relpath(str(file), base) for file in system.find(path)}
    except FileNotFoundError:
        return set()
    except Exception as error:
        raise failure(url, "listing it", error) from error


def failure(url: str, doing: str, error: Exception) -> CycleganMediaError:
    """What libraries raise in many ways, as one sentence."""
    reason: Any = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return UserError(f"{url}: there is no such file")
    if isinstance(error, PermissionError):
        return UserError(f"{url}: cannot go on {doing}: permission denied")
    return RunError(f"{url}: cannot go on {doing}: {reason[:300]}")
