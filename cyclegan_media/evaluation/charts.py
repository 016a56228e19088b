"""Charts of a report, each for light and dark pages."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.page.fragments import themed_image
from cyclegan_media.page.plots import chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (
    ("#2a6fbb", "#c8681a", "#2f8f5b", "#9a4fb0", "#b03a48", "#6b6f1d"),
    ("#7fb2ee", "#f0a45d", "#7fd6a4", "#d39be6", "#f2a0a4", "#d3d67f"),
)
_DASHES = ("--", ":", "-.", (0, (1, 3)), (0, (5, 5)))

Point = tuple[float, float]


def f0_chart(
    contours: Mapping[str, NDArray[np.floating[Any]]], frame_seconds: float, description: str
) -> str:
    """F0 contours in Hz (0: unvoiced) over time, on a logarithmic axis; an image element."""
    return themed_image(
        _f0_png(contours, frame_seconds, False), _f0_png(contours, frame_seconds, True), description
    )


def measure_chart(
    curves: Mapping[str, Sequence[Point]],
    levels: Mapping[str, float],
    label: str,
    description: str,
) -> str:
    """A measure over the steps of trainings, beside the ``levels`` of what does not train."""
    return themed_image(
        _measure_png(curves, levels, label, False),
        _measure_png(curves, levels, label, True),
        description,
    )


def _f0_png(
    contours: Mapping[str, NDArray[np.floating[Any]]], frame_seconds: float, dark: bool
) -> bytes:
    with chart(dark, (8.0, 2.2)) as (axes, saved):
        for (name, f0), colour in zip(
            contours.items(), itertools.cycle(_COLOURS[dark]), strict=False
        ):
            voiced = np.where(f0 > 0, f0, np.nan)
            axes.plot(np.arange(len(f0)) * frame_seconds, voiced, color=colour, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_minor_formatter("{x:.0f}")
        axes.tick_params(which="minor", labelsize=7, colors=axes.xaxis.label.get_color())
        axes.set_xlabel("seconds")
        axes.set_ylabel("F0 in Hz")
        _legend(axes, "outside right upper", 1)
    return saved.getvalue()


def _measure_png(
    curves: Mapping[str, Sequence[Point]], levels: Mapping[str, float], label: str, dark: bool
) -> bytes:
    with chart(dark, (4.4, 3.2)) as (axes, saved):
        ink = axes.xaxis.label.get_color()
        for (name, points), colour in zip(
            curves.items(), itertools.cycle(_COLOURS[dark]), strict=False
        ):
            steps, values = np.array(points).T
            axes.plot(steps, values, color=colour, marker="o", markersize=3, label=name)
        for (name, value), dash in zip(levels.items(), itertools.cycle(_DASHES), strict=False):
            axes.axhline(value, color=ink, linestyle=dash, linewidth=0.9, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        _legend(axes, "outside lower center", 2)
    return saved.getvalue()


def _legend(
    axes: Axes, place: Literal["outside right upper", "outside lower center"], columns: int
) -> None:
    """Beside the chart, where it hides no curve."""
    axes.figure.legend(loc=place, ncols=columns, frameon=False, fontsize=7, labelcolor="linecolor")
