"""The frame of a page: one file that asks the network for nothing, and says so to the browser."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files


def document(title: str, introduction: str, links: Mapping[str, str], body: str) -> str:
    """A complete page in the look of this toolkit, light or dark as the reader's system is.

    Its Content-Security-Policy lets it load nothing from elsewhere.

    Args:
        title, introduction: plain text.
        links: headings by the ``id`` of the section that they lead to.
        body: HTML, sections in their order.
    """
    contents = " · ".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in links.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(introduction)}</p>
<nav aria-label="Sections">{contents}</nav>
</header>
<main>
{body}
</main>
<footer>Everything shown is inside this one file; it loads nothing from elsewhere.</footer>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def section(name: str, heading: str, parts: list[str]) -> str:
    """A section of HTML ``parts`` under a heading of plain text; ``name`` is its ``id``."""
    return "\n".join(
        [
            f'<section id="{name}" aria-labelledby="{name}-heading">',
            f'<h2 id="{name}-heading">{escape(heading)}</h2>',
            *parts,
            "</section>",
        ]
    )


def _asset(name: str) -> str:
    return (files("cyclegan_media.page") / name).read_text(encoding="utf-8")
