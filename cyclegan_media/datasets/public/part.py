"""A file that has come in part, and what tells whether the rest belongs to it."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """What the server said of the file, to know it again."""

    url: str
    etag: str | None = None
    modified: str | None = None
    size: int | None = None

    @property
    def validator(self) -> str | None:
        """For If-Range, which takes a strong one only."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified


class Part:
    """The file as far as it is here."""

    def __init__(self, target: Path, url: str) -> None:
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self.said = Said(url)
        with suppress(OSError, ValueError, TypeError):
            said = Said(**json.loads(self._note.read_text(encoding="utf-8")))
            if said.url == url:
                self.said = said
        if self.said.validator is None and self.path.exists():
            self.remove()  # nothing tells whether it is of the same file

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        return self.path.exists() and self.size == self.said.size

    def begin(self, said: Said) -> None:
        """Start anew with a file of which the server says this."""
        self.remove()
        self.said = said
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._note.write_text(json.dumps(asdict(said)), encoding="utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.said = Said(self.said.url)

    def finish(self, target: Path) -> None:
        with open(self.path, "rb") as written:
            os.fsync(written.fileno())
        os.replace(self.path, target)
        self._note.unlink(missing_ok=True)


def said_of(url: str, headers: Message) -> Said:
    """What the headers of an answer with the whole file say of it."""
    length = headers.get("Content-Length", "").strip()
    size = int(length) if re.fullmatch(r"\d{1,18}", length) else None
    return Said(url, headers.get("ETag"), headers.get("Last-Modified"), size)
