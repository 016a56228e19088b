"""MkDocs hook: the page of commands is what their parsers say of themselves."""

from __future__ import annotations

import argparse
import os
from typing import Any

MARK = "<!-- help of every command -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help texts where a page has the mark."""
    return markdown.replace(MARK, help_texts()) if MARK in markdown else markdown


def help_texts() -> str:
    """A section with the help of each subcommand, as 80 columns show it."""
    from cyclegan_media.cli import build_parser

    os.environ["COLUMNS"] = "80"
    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    sections = [("cyclegan-media", parser), *commands.choices.items()]
    return "\n".join(
        f"## {name}\n\n```text\n{command.format_help().rstrip()}\n```\n"
        for name, command in sections
    )
