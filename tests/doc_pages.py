"""The pages of the documentation, and the code that stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FENCE = re.compile(r"^(`{3,})(\w*) *(.*?)\n(.*?)^\1 *$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    language: str
    title: str
    """The file that it is, where it is one (``title="NAME"`` behind the language)."""
    text: str
    line: int
    """Where it begins in the page."""
    mark: str
    """What the HTML comment in the line before it says, if there is one."""


def fenced(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    for found in FENCE.finditer(page):
        language, rest, text = found[2], found[3], found[4]
        title = re.search(r'title="([^"]*)"', rest)
        before = page[: found.start()].rstrip("\n").rpartition("\n")[2]
        mark = re.fullmatch(r"<!-- (.*) -->", before)
        line = page.count("\n", 0, found.start()) + 1
        yield Block(language, title[1] if title else "", text, line, mark[1] if mark else "")


def listings(page: str) -> Iterator[str]:
    """What a page shows to be typed: fenced blocks but for outputs, and indented ones."""
    for block in fenced(page):
        if block.language in ("", "sh", "console", "dockerfile"):
            yield block.text
    for found in re.finditer(r"(?:^ {4}.*\n(?:\n(?= {4}))*)+", FENCE.sub("", page), re.MULTILINE):
        yield re.sub("^ {4}", "", found[0], flags=re.MULTILINE)


def command_lines(page: str, program: str) -> Iterator[str]:
    """The lines of a page that run ``program``, what continues behind a backslash joined."""
    for listing in listings(page):
        for line in listing.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line.startswith(f"{program} "):
                yield line


def inline(page: str) -> Iterator[str]:
    """Code in the running text, with the line breaks in it taken for blanks."""
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", page)):
        yield " ".join(found[1].split())
