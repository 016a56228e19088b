"""A report: a page of HTML to read, and the same numbers as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan_media.errors import UserError
from cyclegan_media.evaluation.tables import Table
from cyclegan_media.files import atomic_file, check_output
from cyclegan_media.page.document import document, section

_SUFFIXES = (".html", ".htm")


class Part(NamedTuple):
    """A section of the page."""

    name: str
    """Its ``id``."""
    heading: str
    html: list[str]


@dataclass(frozen=True)
class Report:
    """All that was found."""

    title: str
    introduction: str
    parts: Sequence[Part]
    tables: Sequence[Table]
    data: dict[str, Any]
    """Plain data, finite or ``None``."""


def json_path(page: Path) -> Path:
    """Where the numbers of a page go: beside it, with the suffix ``.json``."""
    return page.with_suffix(".json")


def check_report(page: Path, *, overwrite: bool) -> None:
    """Check, before minutes of work, that a report can be written.

    Raises:
        UserError: its name does not end in ``.html``, or either file exists and ``overwrite`` is
            false, or cannot be written.
    """
    if page.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{page}: a report is a page; give it a name that ends in .html")
    for path in (page, json_path(page)):
        check_output(path, overwrite=overwrite)


def write_report(report: Report, page: Path, *, overwrite: bool) -> None:
    """Write the page and its numbers; either is complete, or what it was before.

    Raises:
        UserError: see :func:`check_report`.
        RunError: the disk is full.
    """
    check_report(page, overwrite=overwrite)
    links = {part.name: part.heading for part in report.parts}
    body = "\n".join(section(*part) for part in report.parts)
    html = document(report.title, report.introduction, links, body)
    with (
        atomic_file(page, overwrite=overwrite) as page_partial,
        atomic_file(json_path(page), overwrite=overwrite) as json_partial,
    ):
        page_partial.write_text(html, encoding="utf-8")
        json_partial.write_text(dump(report.data) + "\n", encoding="utf-8")


def dump(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
