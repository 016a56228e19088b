"""A training while it lasts: what it logged so far, and the last that it let see and hear."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path

import PIL.Image

from cyclegan_media.errors import UserError
from cyclegan_media.media.kinds import list_media
from cyclegan_media.page.fragments import embed, themed_image
from cyclegan_media.page.plots import curves_png
from cyclegan_media.web.models import short_names
from cyclegan_media.web.sessions import Session
from cyclegan_media.web.views import medium

_SIDE = 640
"""Pixels of a preview, at most."""
_MOST = 12
"""Previews of a step that are shown."""


def find_runs(places: Iterable[Path]) -> dict[str, Path]:
    """The trainings in ``places``, each such a folder or a folder of such, by name; last changed
    first.

    Raises:
        UserError: a place does not exist.
    """
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            raise UserError(
                f"{place}: there is no such folder; name that of a training, or of many"
            )
        inner = [place] if (place / "recipe.yaml").is_file() else sorted(place.iterdir())
        found += [folder for folder in inner if (folder / "recipe.yaml").is_file()]
    found.sort(key=lambda folder: -_changed(folder))
    resolved = {folder.resolve(): folder for folder in found}
    names = short_names({path: path.name for path in resolved})
    return {names[path]: folder for path, folder in resolved.items()}


def _changed(run: Path) -> float:
    """When a training logged last."""
    times = [(run / name).stat().st_mtime for name in _LOGS if (run / name).exists()]
    return max(times, default=(run / "recipe.yaml").stat().st_mtime)


_LOGS = ("metrics.csv", "validation.csv")


def mark(run: Path) -> str:
    """Changes when there is something new to show."""
    return f"{run} {_changed(run)} {_last_previews(run)}"


def _last_previews(run: Path) -> Path | None:
    folders = [path for path in (run / "previews").glob("step-*") if path.is_dir()]
    return max(folders, key=lambda path: path.name, default=None)


def show_run(run: Path, session: Session) -> str:
    """A training as HTML: its losses, its validation, and its last previews.

    Args:
        session: whose folder sounds are copied to.
    """
    parts: list[str] = []
    for name, heading in zip(_LOGS, ("Losses", "Validation"), strict=True):
        charts = _charts(run / name)
        if charts:
            parts.append(f'<h3>{heading}</h3><div class="charts">{charts}</div>')
    previews = _last_previews(run)
    if previews is not None:
        parts.append(f"<h3>Previews: {escape(previews.name)}</h3>")
        parts.append(
            f'<div class="pictures">{_pictures(previews)}{_sounds(previews, session)}</div>'
        )
    if not parts:
        parts.append("<p>It has logged nothing yet.</p>")
    return f'<div class="run">{"".join(parts)}</div>'


def _charts(log: Path) -> str:
    try:
        light, dark = curves_png(log), curves_png(log, dark=True)
    except UserError:
        return ""  # none yet, or a line of it is being written
    return "".join(
        f"<figure>{themed_image(light[term], dark.get(term, light[term]), term)}"
        f"<figcaption>{escape(term)}</figcaption></figure>"
        for term in light
    )


def _pictures(folder: Path) -> str:
    shown = []
    for path in list_media(folder, "image")[:_MOST]:
        stored = io.BytesIO()
        with PIL.Image.open(path) as picture:
            picture.thumbnail((_SIDE, _SIDE))
            picture.convert("RGB").save(stored, "JPEG", quality=88)
        source = embed(stored.getvalue(), "image/jpeg")
        name = escape(path.stem)
        shown.append(
            f'<figure><img src="{source}" alt="{name}"><figcaption>{name}</figcaption></figure>'
        )
    return "".join(shown)


def _sounds(folder: Path, session: Session) -> str:
    sounds = list_media(folder, "audio")[:_MOST]
    if not sounds:
        return ""
    place = session.new_folder()
    return "".join(
        medium(shutil.copy(path, place / path.name), path.stem, path.stem) for path in sounds
    )
