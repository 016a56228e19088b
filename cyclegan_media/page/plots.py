"""The pictures of a page that are drawn, not filmed: spectrograms and loss curves as PNG bytes.

Each comes for a light or a dark page; the background is transparent.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 70
"""Decibels from the loudest to the darkest colour of a spectrogram."""
_BESIDE_TERMS = {"step", "seconds", "epoch"}


def spectrogram_png(
    samples: NDArray[np.floating[Any]], sample_rate: int, *, dark: bool = False
) -> bytes:
    """Power in dB over time (s) and frequency (kHz) of mono ``samples`` (n,), −1…1.

    Hann windows of 32 ms, four to a window length; the scale starts at the loudest point.

    Raises:
        UserError: the samples are not one channel or fewer than one window.
    """
    samples = np.asarray(samples, np.float64).squeeze()
    window = round(0.032 * sample_rate)
    if samples.ndim != 1 or len(samples) < window:
        raise UserError(
            f"samples of shape {samples.shape}: a spectrogram needs one channel of at least 32 ms"
        )
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[:: max(window // 4, 1)]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T ** 2
    level = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 10 ** (-LEVELS / 10)))
    with chart(dark, (3.4, 1.8)) as (axes, saved):
        axes.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-LEVELS,
            vmax=0,
            extent=(0, len(samples) / sample_rate, 0, sample_rate / 2000),
        )
        axes.set_xlabel("seconds")
        axes.set_ylabel("kHz")
        axes.locator_params("x", nbins=5)
    return saved.getvalue()


def curves_png(metrics: str | Path, *, dark: bool = False) -> dict[str, bytes]:
    """One small chart per term of the ``metrics.csv`` that a training wrote.

    Columns are ``step`` and one per term; the two directions of a term (``cycle_a`` and
    ``cycle_b``, ``identity_a2b`` and ``identity_b2a``) share a chart. A faint line is the value
    as logged, the strong one its running mean. Empty cells are steps that did not log the term.

    Returns:
        PNG bytes by term, in the file's order: ``{"adversarial": …, "cycle": …}``.

    Raises:
        UserError: the file is missing, or is no such table.
    """
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in _read(Path(metrics)):
        for name, (step, value) in row.items():
            stem = re.sub(r"_(a2b|b2a|a|b)$", "", name)
            groups.setdefault(stem, {}).setdefault(name, []).append((step, value))
    charts = {}
    for stem, lines in groups.items():
        with chart(dark, (4.4, 2.5)) as (axes, saved):
            for number, (name, points) in enumerate(lines.items()):
                steps, values = np.array(points).T
                colour = (("#2a6fbb", "#c8681a"), ("#7fb2ee", "#f0a45d"))[dark][number % 2]
                if len(values) >= 20:
                    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                axes.plot(steps, _running_mean(values), color=colour, linewidth=1.6, label=name)
            axes.set_xlabel("step")
            axes.margins(x=0.01)
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
            axes.legend(frameon=False, fontsize=9, labelcolor="linecolor")
        charts[stem] = saved.getvalue()
    return charts


def _read(path: Path) -> list[dict[str, tuple[float, float]]]:
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as the log of a training: {error}") from error
    if not rows or "step" not in rows[0]:
        raise UserError(f"{path}: is no log of a training; its table needs a column 'step'")
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            step = float(row["step"])
            values = {
                name: (step, float(cell))
                for name, cell in row.items()
                if name not in _BESIDE_TERMS and not name.startswith("learning_rate") and cell
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: line {number} holds something other than numbers") from error
        found.append({k: v for k, v in values.items() if math.isfinite(v[1])})
    return found


def _running_mean(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    if len(values) < 20:
        return values
    half = max(len(values) // 50, 2)
    kernel = np.ones(2 * half + 1)
    weight = np.convolve(np.ones(len(values)), kernel, "same")  # fewer neighbours at the ends
    return np.convolve(values, kernel, "same") / weight


@contextmanager
def chart(dark: bool, inches: tuple[float, float]) -> Iterator[tuple[Axes, io.BytesIO]]:
    """Open a small chart; when the block ends well, its PNG is in the buffer."""
    from matplotlib.figure import Figure  # slow to import; no pyplot, so no display is asked for

    ink, saved = "#c3c8d0" if dark else "#454b54", io.BytesIO()
    chart = Figure(figsize=inches, layout="constrained")
    axes = chart.add_subplot()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=ink, labelsize=9)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for side, spine in axes.spines.items():
        spine.set_color(ink)
        spine.set_visible(side in ("left", "bottom"))
    yield axes, saved
    full = io.BytesIO()
    chart.savefig(full, format="png", dpi=120, transparent=True)
    # 256 colours are plenty here and make a third of the bytes.
    Image.open(full).quantize(256, method=Image.Quantize.FASTOCTREE).save(saved, "PNG")
