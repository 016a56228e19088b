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
from pathlib import Path
from typing import Literal

from cyclegan_media.files import atomic_file
from cyclegan_media.page.document import document, section
from cyclegan_media.page.fragments import (
    clip,
    definitions,
    duration,
    figure,
    number,
    recording,
    row,
    themed_image,
)
from cyclegan_media.page.plots import curves_png

_TONE = {"clear gain": "good", "small gain": "fair", "no gain": "bad", "not a number": "bad"}


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

    @property
    def remark(self) -> str:
        """The verdict, and with it where the trivial method comes closer to the truth."""
        if self.trivial is None or self.trivial == self.converted:
            return self.verdict
        closer = (self.trivial > self.converted) == self.higher_is_better
        return f"{self.verdict}; the trivial method is closer" if closer else self.verdict


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
    about = {"Date": run.date, "Machine": run.machine}
    if run.seconds is not None:
        about["Time for everything"] = duration(run.seconds)
    body = [_section(name, part) for name, part in sections]
    body.append(section("run", "This run", [definitions({**about, **run.facts})]))
    links = {**{name: part.heading for name, part in sections}, "run": "This run"}
    page = document(title, run.data, links, "\n".join(body))
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
    return section(name, part.heading, html)


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


def measures_table(measures: Sequence[Measure]) -> str:
    """Every measure with its gain and its verdict."""
    with_trivial = any(measure.trivial is not None for measure in measures)
    lines = "\n".join(_measure(measure, with_trivial) for measure in measures)
    columns = ["Unconverted", *(["Trivial method"] if with_trivial else []), "Translated"]
    heads = "".join(
        f'<th scope="col" class="number">{name}</th>' for name in [*columns, "Gain", "Margin"]
    )
    return f"""<div class="scroll"><table class="measures">
<caption>Held-out examples. A gain is what brings the result closer to the truth, whichever \
way the measure points; from the margin on it is called clear.</caption>
<thead><tr><th scope="col">Measure</th>{heads}<th scope="col">Verdict</th></tr></thead>
<tbody>
{lines}
</tbody></table></div>"""


def _measure(m: Measure, with_trivial: bool) -> str:
    better = "higher is better" if m.higher_is_better else "lower is better"
    note = ", ".join(filter(None, [better, m.note]))
    cells = [
        ("Unconverted", number(m.unconverted)),
        *([("Trivial method", number(m.trivial))] if with_trivial else []),
        ("Translated", number(m.converted)),
        ("Gain", number(m.gain, sign=True)),
        ("Margin", number(m.margin)),
    ]
    unit = f" ({m.unit})" if m.unit else ""
    return (
        f'<tr><th scope="row">{escape(m.name + unit)}<small>{escape(note)}</small></th>'
        + "".join(f'<td class="number" data-label="{k}">{v}</td>' for k, v in cells)
        + f'<td class="{_TONE[m.verdict]}-text">{m.remark}</td></tr>'
    )
