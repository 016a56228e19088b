"""What an archive may write: every entry is judged before, and lands in one fresh folder."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from cyclegan_media.errors import UserError

CHUNK = 1 << 20
"""Bytes that are read at once; no header of an honest tar is longer, either."""


@dataclass(frozen=True)
class Limits:
    """What an archive may become."""

    max_bytes: int = 20_000_000_000
    """Unpacked, in all."""
    max_files: int = 200_000
    """Entries, folders included."""
    max_ratio: float = 200.0
    """Unpacked bytes for each byte of the archive. Pictures and recordings hardly shrink."""


class Writer:
    """Writes what it admits into one fresh folder, where there is nothing to follow or replace."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, only: Container[str]) -> None:
        self.archive, self.folder = archive, folder
        self.written = 0
        self._limits, self._only = limits, only
        self._size = max(1, archive.stat().st_size) if archive.is_file() else 1
        self._files = self._bytes = 0
        self._entry: str | None = None

    @property
    def place(self) -> str:
        """The present entry, for messages."""
        return "" if self._entry is None else f"its entry {self._entry!r} "

    def refuse(self, reason: str) -> NoReturn:
        raise UserError(f"{self.archive}: {self.place}{reason}; nothing was unpacked")

    def damaged(self, error: Exception) -> UserError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return UserError(
            f"{self.archive}: {self.place}is damaged or cannot be read ({reason}); download the"
            " archive again"
        )

    def expect(self, files: int, size: int) -> None:
        """Check what a table of contents announces, before anything is written."""
        self._check_files(files)
        self.check_bytes(size)
        free = shutil.disk_usage(self.folder).free
        if size > free:
            self.refuse(f"needs {_bytes(size)}, but the disk has {_bytes(free)} left")

    def admit(self, name: str, size: int) -> tuple[str, ...]:
        """Take the next entry, of ``size`` bytes; its path as parts."""
        self._entry = name
        parts = safe_parts(name)
        if isinstance(parts, str):
            self.refuse(parts)
        if size < 0:
            self.refuse("has a negative size")
        self._files, self._bytes = self._files + 1, self._bytes + size
        self._check_files(self._files)
        self.check_bytes(self._bytes)
        return tuple(parts)

    def wants(self, parts: tuple[str, ...]) -> bool:
        """Whether the file is one of those that were asked for."""
        if "__MACOSX" in parts:  # what macOS adds, beside the folder that was meant
            return False
        return not self._only or any(part in self._only for part in parts)

    def make_folder(self, parts: tuple[str, ...]) -> None:
        """Make a folder, unless it stands already."""
        if parts and self.wants(parts):
            self._make(self.folder.joinpath(*parts))

    def write(self, parts: tuple[str, ...], source: IO[bytes], size: int) -> None:
        """Write a file of exactly ``size`` bytes."""
        if not parts:
            self.refuse("has no name")
        path = self.folder.joinpath(*parts)
        self._make(path.parent)
        left = size
        try:
            with open(path, "xb") as file:
                while left and (chunk := source.read(min(CHUNK, left))):
                    file.write(chunk)
                    left -= len(chunk)
        except FileExistsError:
            self.refuse("occurs twice, or differs from another only in what this disk ignores")
        if left or source.read(1):
            raise tarfile.ReadError("it is not as long as it says")
        self.written += 1

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            self.refuse("is both a file and a folder")

    def _check_files(self, files: int) -> None:
        if files > self._limits.max_files:
            self._entry = None
            self.refuse(
                f"holds more than {self._limits.max_files} entries; raise --max-files if that is"
                " right"
            )

    def check_stream(self, place: int) -> None:
        """Check how far an unpacked tar was read, which has headers and padding beside files."""
        self.check_bytes(place - 8 * tarfile.BLOCKSIZE * (self._files + 1) - 2 * CHUNK)

    def check_bytes(self, size: int) -> None:
        """Check the number of bytes so far against the limits."""
        if size > self._limits.max_bytes:
            self.refuse(
                f"unpacks to more than {_bytes(self._limits.max_bytes)}; raise --max-unpacked if"
                " that is right"
            )
        # A few kilobytes of one colour or of silence may shrink to nothing.
        if size > max(self._limits.max_ratio * self._size, CHUNK):
            self.refuse(
                f"unpacks to more than {self._limits.max_ratio:g} times its size, as no set of"
                " pictures or recordings does; raise --max-ratio if that is right"
            )


_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def safe_parts(name: str) -> tuple[str, ...] | str:
    """The parts of an entry's path, empty for the folder itself; or what is wrong with it."""
    if _CONTROL.search(name):
        return "has control characters in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        return "leaves the folder by '..'"
    try:
        if any(len(part.encode("utf-8")) > 255 for part in parts):
            return "has a name that is too long"
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return parts


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
