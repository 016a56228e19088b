"""Pieces of the page's HTML. All text of files and models is escaped here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from cyclegan_media.media.kinds import kind_of
from cyclegan_media.web.conversions import Ticket
from cyclegan_media.web.models import Offer

CSS = """
.medium { margin: 0; }
.medium img, .medium video {
  display: block; width: 100%; max-height: 70vh; object-fit: contain; margin: 0 auto;
}
.medium audio { display: block; width: 100%; }
.medium figcaption, .soft, .empty {
  color: color-mix(in srgb, var(--body-text-color) 75%, transparent); font-size: .9rem;
}
.empty {
  border: 1px dashed var(--border-color-primary); border-radius: .5rem; padding: 2rem 1rem;
  text-align: center;
}
.state progress { width: 100%; height: .7rem; accent-color: var(--color-accent); }
.state .wrong { color: var(--error-text-color, #b42318); font-weight: 600; }
.recipes {
  display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
}
.recipes article {
  border: 1px solid var(--border-color-primary); border-radius: .6rem; padding: .8rem 1rem;
}
.recipes h3 { margin: 0 0 .2rem; font-size: 1.05rem; }
.recipes p { margin: .35rem 0; font-size: .92rem; }
.recipes code, .run code { font-size: .82rem; overflow-wrap: anywhere; }
.run .charts, .run .pictures {
  display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
}
.run img { max-width: 100%; }
.run figure { margin: 0; }
"""


_TAKES = {"image": "pictures, clips", "voice": "voices"}


def url(path: str | Path) -> str:
    """Where the page's server gives a file of a session's folder."""
    return "gradio_api/file=" + quote(str(path))


def medium(path: str | Path, name: str, caption: str) -> str:
    """A picture, or a player of a clip or recording.

    Args:
        path: a file in a session's folder that browsers show.
        name: what it is, for those who cannot see it.
    """
    source, label = escape(url(path)), escape(name)
    kind = kind_of(path)
    if kind == "image":
        shown = f'<img src="{source}" alt="{label}">'
    elif kind == "video":
        shown = (
            f'<video controls loop playsinline preload="metadata" src="{source}"'
            f' aria-label="{label}"></video>'
        )
    else:
        shown = f'<audio controls preload="metadata" src="{source}" aria-label="{label}"></audio>'
    return f'<figure class="medium">{shown}<figcaption>{escape(caption)}</figcaption></figure>'


def empty(text: str) -> str:
    """A place where a medium will be."""
    return f'<div class="empty">{escape(text)}</div>'


def told(text: str) -> str:
    """The line of state with a plain message."""
    return f'<div class="state" role="status">{escape(text)}</div>' if text else ""


def wrong(text: str) -> str:
    """The line of state with what went wrong."""
    return f'<div class="state" role="alert"><span class="wrong">{escape(text)}</span></div>'


def progress(ticket: Ticket, before: int) -> str:
    """How far a conversion is.

    Args:
        before: how many wait for their turn before it.
    """
    bar = "<progress></progress>"
    seconds = time.monotonic() - (ticket.begun or time.monotonic())
    if ticket.state == "waiting":
        turn = "next" if before == 0 else f"after {before} other{'s' if before > 1 else ''}"
        text = f"waiting: its turn is {turn}"
    elif not ticket.frames:
        text = f"converting, {seconds:.0f} s"
    elif ticket.total is None:
        text = f"converting: {ticket.frames} frames, {seconds:.0f} s"
    else:
        done = min(ticket.frames / max(ticket.total, 1), 1.0)
        left = seconds * (1 - done) / max(done, 1e-3)
        text = (
            f"converting: {ticket.frames} of {ticket.total} frames, {seconds:.0f} s,"
            f" {left:.0f} s left"
        )
        bar = f'<progress max="1" value="{done:.4f}"></progress>'
    return f'<div class="state" role="status">{text}{bar}</div>'


def described(offer: Offer) -> str:
    """What a model is."""
    takes = (
        "translates pictures and clips"
        if offer.modality == "image"
        else "converts voices, in recordings or the sound of clips"
    )
    return f'<p class="soft">{escape(offer.name)} {takes}. {escape(offer.summary)}</p>'


def recipe_cards(recipes: Iterable[Mapping[str, str]]) -> str:
    """Recipes as cards; each has ``name``, ``modality``, ``paper``, ``description``,
    ``data_wanted`` and ``cost``."""
    cards = []
    for recipe in recipes:
        command = f"cyclegan-media train {recipe['name']} --data-a A --data-b B --out runs/NAME"
        lines = [
            f"<h3>{escape(recipe['name'])}</h3>",
            f'<p class="soft">{_TAKES[recipe["modality"]]}</p>',
            f"<p>{escape(recipe['description'])}</p>",
        ]
        for label, key in (("Data", "data_wanted"), ("Cost", "cost"), ("Paper", "paper")):
            if recipe[key]:
                lines.append(f"<p><b>{label}:</b> {escape(recipe[key])}</p>")
        lines.append(f"<p><code>{escape(command)}</code></p>")
        cards.append(f"<article>{''.join(lines)}</article>")
    return f'<div class="recipes">{"".join(cards)}</div>'
