"""Archives that tests make, and what is expected of one that is refused."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from cyclegan_media.datasets.public import Limits, unpack
from cyclegan_media.errors import UserError

Entries = dict[str, bytes]

GOOD: Entries = {
    "set/trainA/1.jpg": b"first",
    "set/trainA/2.jpg": b"second",
    "set/trainB/1.jpg": os.urandom(300_000),
    "set/README": b"",
}


def make_zip(path: Path, entries: Entries) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def make_tar(path: Path, entries: Entries, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, data in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def files_in(folder: Path) -> Entries:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, says: str, limits: Limits | None = None) -> None:
    """It is refused in one line that names it, and leaves nothing, nor anything beside it."""
    before = files_in(archive.parent)
    with pytest.raises(UserError, match=says) as caught:
        unpack(archive, archive.parent / "out", limits)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_in(archive.parent) == before
    assert {path.name for path in archive.parent.iterdir()} == {
        name.partition("/")[0] for name in before
    }


def make_any(folder: Path, kind: str, entries: Entries) -> Path:
    path = folder / f"a.{kind}"
    if kind == "zip":
        return make_zip(path, entries)
    return make_tar(path, entries, f"w:{kind.partition('.')[2]}")


KINDS = ["zip", "tar", "tar.gz", "tar.bz2"]
