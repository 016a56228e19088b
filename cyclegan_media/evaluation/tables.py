"""Tables of methods by measures: as text, as HTML and as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from cyclegan_media.page.fragments import number

Row = Mapping[str, float]
"""Values by the key of their measure; ``nan`` where there is none."""


@dataclass(frozen=True)
class Measure:
    """A column."""

    key: str
    """Its name in JSON."""
    label: str
    better: Literal["lower", "higher"]
    unit: str = ""
    factor: int = 1
    """By which small values are multiplied for people; not in JSON."""

    @property
    def heading(self) -> str:
        """Label, factor and unit."""
        factor = "" if self.factor == 1 else f" × {self.factor}"
        return f"{self.label}{factor} {self.unit}".strip()

    def shown(self, row: Row) -> float | None:
        """The value of a row, as people are shown it."""
        value = row.get(self.key)
        return None if value is None else value * self.factor


@dataclass(frozen=True)
class Table:
    """Methods, one a row, in one direction of translation."""

    title: str
    measures: Sequence[Measure]
    rows: Mapping[str, Row]
    models: Sequence[str] = ()
    """Which rows are models, not what they are compared with."""

    def shown(self) -> list[Measure]:
        """The measures that any row has a value of."""
        return [
            measure
            for measure in self.measures
            if any(known(row.get(measure.key)) for row in self.rows.values())
        ]

    def lines(self) -> list[str]:
        """For a terminal."""
        width = max(map(len, [self.title, *self.rows]))
        shown = self.shown()
        lines = [f"{self.title:<{width}}  " + "  ".join(measure.heading for measure in shown)]
        for name, row in self.rows.items():
            cells = [f"{_cell(measure.shown(row)):>{len(measure.heading)}}" for measure in shown]
            lines.append(f"{name:<{width}}  " + "  ".join(cells))
        return lines

    def html(self, caption: str | None = None) -> str:
        """Under its title, or a ``caption`` instead; every column says which way is better."""
        shown = self.shown()
        heads = "".join(
            f'<th scope="col" class="number">{escape(measure.heading)}'
            f"<small>{measure.better} is better</small></th>"
            for measure in shown
        )
        lines = []
        for name, row in self.rows.items():
            note = "" if name in self.models else "<small>for comparison</small>"
            cells = "".join(
                f'<td class="number" data-label="{escape(measure.heading)}">'
                f"{number(measure.shown(row))}</td>"
                for measure in shown
            )
            lines.append(f'<tr><th scope="row">{escape(name)}{note}</th>{cells}</tr>')
        body = "\n".join(lines)
        return (
            '<div class="scroll"><table class="measures">'
            f"<caption>{escape(caption or self.title)}</caption>"
            f'<thead><tr><th scope="col">Method</th>{heads}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )


def known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def plain(row: Row) -> dict[str, float | None]:
    """A row for JSON, which has no word for not-a-number: null is unknown."""
    return {key: float(value) if known(value) else None for key, value in row.items()}


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` places of ``count``, evenly spaced."""
    some = min(count, most)
    return [k * count // some for k in range(some)]


def _cell(value: float | None) -> str:
    return number(value).replace("−", "-")
