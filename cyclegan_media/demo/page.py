"""One self-contained HTML page that shows what a training achieved, to look at and to listen to.

Clips, recordings and charts are inside the page; it asks the network for nothing, and its
Content-Security-Policy says so to the browser. Every verdict on it is computed from the numbers.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Literal

from cyclegan_media.demo.fragments import (
    clip,
    definitions,
    duration,
    figure,
    measures_table,
    recording,
    row,
    themed_image,
)
from cyclegan_media.demo.plots import curves_png
from cyclegan_media.files import atomic_file


@dataclass(frozen=True)
class Measure:
    """One number that tells a translation from its unconverted input, both against the truth."""

    name: str
    unconverted: float
    converted: float
    margin: float
    """The gain from which on we call it clear, decided before the numbers were seen; > 0."""
    unit: str = ""
    higher_is_better: bool = True
    note: str = ""
    """What is measured, on how many held-out examples."""
    trivial: float | None = None
    """The same for a method without networks, for comparison; it decides nothing."""

    @property
    def gain(self) -> float:
        """How much closer to the truth the translation is; below 0: farther away."""
        change = self.converted - self.unconverted
        return change if self.higher_is_better else -change

    @property
    def verdict(self) -> Literal["clear gain", "small gain", "no gain", "not a number"]:
        if not math.isfinite(self.gain):
            return "not a number"
        if self.gain <= 0:
            return "no gain"
        return "clear gain" if self.gain >= self.margin else "small gain"


@dataclass(frozen=True)
class Exhibit:
    """One held-out example: files of the same kind, shown side by side."""

    title: str
    before: Path
    after: Path
    cycle: Path | None = None
    truth: Path | None = None
    note: str = ""


@dataclass(frozen=True)
class PictureSection:
    """Clips (MP4 with H.264), the numbers, and how the model was trained."""

    heading: str
    introduction: str
    exhibits: Sequence[Exhibit]
    measures: Sequence[Measure]
    settings: Mapping[str, object] = field(default_factory=dict)
    curves: Path | None = None
    """The training's ``metrics.csv``."""


@dataclass(frozen=True)
class VoiceSection(PictureSection):
    """The same with recordings (WAV, FLAC, …); each is shown with its spectrogram."""


@dataclass(frozen=True)
class RunFacts:
    """Where and when the page was made."""

    date: str
    machine: str
    seconds: float | None = None
    """Wall-clock time of the whole run."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Anything else worth stating: versions, seed, command."""
    data: str = "All data on this page is synthetic: made by a program, of no person or place."

    @classmethod
    def here(cls, seconds: float | None = None, **facts: object) -> RunFacts:
        """This machine, now."""
        import torch

        device = f"{torch.get_num_threads()} CPU threads"
        if torch.cuda.is_available():
            device = f"{torch.cuda.get_device_name()}, {device}"
        machine = f"{platform.system()} {platform.machine()}, {device}"
        facts = {"Python": platform.python_version(), "PyTorch": torch.__version__, **facts}
        return cls(f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", machine, seconds, facts)


def build_page(
    path: str | Path,
    title: str,
    picture: PictureSection | None,
    voice: VoiceSection | None,
    run: RunFacts,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the page to ``path``; a section that is ``None`` is left out.

    Raises:
        UserError: a file is missing, or stored in a way that browsers do not play.
    """
    sections = [(name, part) for name, part in (("picture", picture), ("voice", voice)) if part]
    body = "".join(_section(name, part) for name, part in sections)
    links = " · ".join(f'<a href="#{name}">{escape(part.heading)}</a>' for name, part in sections)
    about = {"Date": run.date, "Machine": run.machine}
    if run.seconds is not None:
        about["Time for everything"] = duration(run.seconds)
    page = f"""<!DOCTYPE html>
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
<p>{escape(run.data)}</p>
<nav aria-label="Sections">{links} · <a href="#run">This run</a></nav>
</header>
<main>
{body}
<section id="run" aria-labelledby="run-heading">
<h2 id="run-heading">This run</h2>
{definitions({**about, **run.facts})}
</section>
</main>
<footer>Everything shown is inside this one file; it loads nothing from elsewhere.</footer>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""
    with atomic_file(path, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(path)


def overall(measures: Sequence[Measure]) -> tuple[str, str]:
    """One sentence on all measures together, and its kind: ``good``, ``fair`` or ``bad``."""
    clear = [measure for measure in measures if measure.verdict == "clear gain"]
    rest = [measure for measure in measures if measure.verdict != "clear gain"]
    if not measures:
        return "Nothing was measured.", "bad"
    if not rest:
        every = "the one measure" if len(clear) == 1 else f"all {len(clear)} measures"
        return f"Beats the unconverted input by a clear margin on {every}.", "good"
    shortfall = "; ".join(f"{measure.name}: {measure.verdict}" for measure in rest)
    kind = "fair" if clear and all(measure.verdict == "small gain" for measure in rest) else "bad"
    return (
        f"A clear gain over the unconverted input on {len(clear)} of {len(measures)} measures "
        f"({shortfall}).",
        kind,
    )


def _section(name: str, part: PictureSection) -> str:
    sentence, kind = overall(part.measures)
    show, shape = (recording, "audio") if isinstance(part, VoiceSection) else (clip, "video")
    html = [
        f'<section id="{name}" aria-labelledby="{name}-heading">',
        f'<h2 id="{name}-heading">{escape(part.heading)}</h2>',
        f"<p>{escape(part.introduction)}</p>",
        f'<p class="verdict {kind}">{escape(sentence)}</p>',
        *(_exhibit(exhibit, show, shape) for exhibit in part.exhibits),
    ]
    if part.measures:
        html += ["<h3>Against the truth</h3>", measures_table(part.measures)]
    if part.curves is not None:
        html += ["<h3>Losses during training</h3>", _curves(part.curves)]
    if part.settings:
        html += ["<h3>Settings</h3>", definitions(part.settings)]
    return "\n".join([*html, "</section>"])


def _exhibit(exhibit: Exhibit, show: Callable[[Path, str], str], kind: str) -> str:
    sides = [
        ("Before", "the input", exhibit.before),
        ("After", "translated by the model", exhibit.after),
        ("Cycle", "and translated back: should be the input again", exhibit.cycle),
        ("Truth", "the right answer, never seen in training", exhibit.truth),
    ]
    shown = [
        figure(show(Path(file), f"{exhibit.title}, {label.lower()}: {meaning}"), label, meaning)
        for label, meaning, file in sides
        if file is not None
    ]
    note = f'<p class="note">{escape(exhibit.note)}</p>' if exhibit.note else ""
    return f"<h3>{escape(exhibit.title)}</h3>{note}\n" + row(kind, shown)


def _curves(metrics: Path) -> str:
    light, dark = curves_png(metrics), curves_png(metrics, dark=True)
    charts = [
        figure(themed_image(light[term], dark[term], f"{term} over the steps"), term, "")
        for term in light
    ]
    return row("chart", charts)


def _asset(name: str) -> str:
    return (files("cyclegan_media.demo") / name).read_text(encoding="utf-8")
