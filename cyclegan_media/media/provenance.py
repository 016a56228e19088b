"""What a file says of its own making: that it is synthetic, and by which model.

Each model that made a part of a file leaves one record: a line of text in the file's comment, or
an item of its XMP packet (ISO 16684-1) beside IPTC's Digital Source Type. Lines and items of
files that were made from such files stay, so a file tells the whole way that it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import av

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary of how media come about; see :attr:`Provenance.source_type`."""
SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]

_LINE = "Synthetic media made with cyclegan-media: "
_FOUND = re.compile(re.escape(_LINE) + r"(\{.*\})")
_KEYS = {"source": "from", "target": "to"}
"""Names of fields that differ in files."""


@dataclass(frozen=True)
class Provenance:
    """What one model did to a file."""

    version: str
    """Of this toolkit."""
    model: str
    """Its name, no path."""
    medium: str
    """``picture``, ``video`` or ``voice``: what it translated."""
    direction: str
    """``a2b`` or ``b2a``."""
    source: str
    """The domain that it translated from, as the model calls it."""
    target: str
    """The domain that it translated to."""
    recipe: str | None = None
    """What it was trained by."""
    source_type: SourceType = "trainedAlgorithmicMedia"
    """IPTC's term: all of the medium went through the model, or
    (``compositeWithTrainedAlgorithmicMedia``) parts of it, such as faces."""

    @property
    def source_type_uri(self) -> str:
        """The term in full, as IPTC and C2PA write it."""
        return SOURCE_TYPES + self.source_type

    def to_line(self) -> str:
        """One line of text, in ASCII, for people and programs."""
        content = {_KEYS.get(key, key): value for key, value in asdict(self).items()}
        content["source_type"] = self.source_type_uri
        given = {key: value for key, value in content.items() if value is not None}
        return _LINE + json.dumps(given, separators=(",", ":"))

    def describe(self) -> str:
        """A few words on it, for people."""
        recipe = f", recipe {self.recipe}" if self.recipe else ""
        return (
            f"{self.medium} by cyclegan-media {self.version}, model {self.model}{recipe},"
            f" {self.source} to {self.target}"
        )


def records_in(text: str) -> list[Provenance]:
    """The records that a text holds among other lines, in the order they were written."""
    found = (_parsed(match) for match in _FOUND.findall(text))
    return [record for record in found if record is not None]


def without_records(text: str) -> str:
    """What else a text says."""
    return _FOUND.sub("", text).strip()


def _parsed(text: str) -> Provenance | None:
    """A record; ``None`` for what only looks like one."""
    try:
        content: dict[str, Any] = json.loads(text)
        content["source_type"] = str(content["source_type"]).removeprefix(SOURCE_TYPES)
        given = {
            field.name: content.get(_KEYS.get(field.name, field.name))
            for field in fields(Provenance)
        }
        if not all(isinstance(value, str | None) for value in given.values()):
            return None
        return Provenance(**{key: value for key, value in given.items() if value is not None})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def comment_of(records: Iterable[Provenance]) -> str:
    """The records as lines."""
    return "\n".join(record.to_line() for record in records)


def comment_with(records: Iterable[Provenance], before: str) -> str:
    """A comment with the records added to what ``before`` says."""
    return "\n".join(filter(None, (before, comment_of(records))))


def comment_tags(records: Sequence[Provenance]) -> dict[str, str]:
    """The records as tags of a recording or a video, to be added to those that it has."""
    return {"comment": comment_of(records)} if records else {}


def container_records(container: av.container.InputContainer) -> list[Provenance]:
    """The records in an open recording or video."""
    # Ogg has its comments in the streams; other formats have their own names for a comment.
    holders = [container.metadata, *(stream.metadata for stream in container.streams)]
    found = [record for tags in holders for text in tags.values() for record in records_in(text)]
    return list(dict.fromkeys(found))
