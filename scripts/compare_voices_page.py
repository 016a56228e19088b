"""The page of `compare_voices.py`: how it was made, tables, curves over the training."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cyclegan_media.evaluation.tables import Measure, Table, known
from cyclegan_media.evaluation.voice import DIRECTIONS, MEASURES, RESERVED, VoiceEvaluation
from cyclegan_media.files import atomic_file

CURVES = ("mcd", "log_f0_rmse", "gv_distance")
FIGURE = "voices.webp"


def write_page(
    args: argparse.Namespace,
    evaluation: VoiceEvaluation,
    traces: Mapping[str, dict[str, Any]],
    lengths: Mapping[str, Any],
    notes: str,
) -> None:
    """Write ``voices.md`` and its figure into ``args.out``."""
    args.out.mkdir(parents=True, exist_ok=True)
    tables = evaluation.tables()
    with atomic_file(args.out / FIGURE, overwrite=True) as partial:
        _draw(partial, traces, tables)
    lines = _lines(args, evaluation, traces, lengths, notes, tables)
    with atomic_file(args.out / "voices.md", overwrite=True) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(
    args: argparse.Namespace,
    evaluation: VoiceEvaluation,
    traces: Mapping[str, dict[str, Any]],
    lengths: Mapping[str, Any],
    notes: str,
    tables: Mapping[str, Table],
) -> Iterator[str]:
    names = evaluation.names
    yield "# Voices compared"
    yield ""
    yield (
        "The voice systems on one pair of speakers, each with the same processor time, beside what "
        "they have to beat. The networks are slim: this tells what a machine without a GPU gives "
        "in half an hour, not how the published models do after days."
    )
    yield ""
    hidden = ("--page-only", "--work", "--data-a", "--data-b", "--notes", "--out")
    yield "    python scripts/compare_voices.py " + shlex.join(
        [
            *("--data-a", names["a"], "--data-b", names["b"], "--out", "docs/results"),
            *_without(sys.argv[1:], hidden),
        ]
    )
    yield ""
    yield (
        f"{_processor()}, one core, {args.precision}; Python {platform.python_version()}, torch "
        f"{version('torch')}; {time.strftime('%Y-%m-%d')}. One seed. Speaker A is {names['a']}, "
        f"speaker B {names['b']}; every second sentence of A and the others of B are learned from, "
        f"so none is in both. Measured on {len(evaluation.voices.held_out['a'])} sentences that no "
        "training saw; the checkpoint of a model is the best by the training's own validation, "
        "which needs no sentence in both voices."
    )
    yield ""
    yield "| system | recipe | steps | processor time a step | best checkpoint |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for name, length in lengths.items():
        recipe = Path(traces[name]["run"]).parent.name
        yield (
            f"| {name} | `{recipe}` | {length.steps} | {length.step_seconds:.2f} s | "
            f"{traces[name]['best']} |"
        )
    yield ""
    if notes:
        yield notes.strip()
        yield ""
    for table in tables.values():
        yield f"## {table.title}"
        yield ""
        yield from _markdown(table)
        yield ""
    yield (
        "MCD and log-F0 RMSE are measured along the alignment with the target's own sentence. GV "
        "is the mean |ln| of the ratio of global variances; MS the distance of modulation spectra. "
        "P(target) and similarity (0: like recordings of the source, 1: of the target) are by a "
        "verifier of the two speakers. Lower is better but for these two."
    )
    yield ""
    yield "## Over the training"
    yield ""
    yield f"![Three measures over the steps, in both directions]({FIGURE})"
    yield ""
    yield "Dashed: the unconverted voice; dotted: matched means and variances."


def _markdown(table: Table) -> Iterator[str]:
    shown = table.shown()
    yield "| method | " + " | ".join(measure.heading for measure in shown) + " |"
    yield "| --- |" + " ---: |" * len(shown)
    for name, row in table.rows.items():
        cells = [_cell(measure, row) for measure in shown]
        label = name if name in RESERVED else f"**{name}**"
        yield f"| {label} | " + " | ".join(cells) + " |"


def _cell(measure: Measure, row: Mapping[str, float]) -> str:
    value = measure.shown(row)
    return f"{value:.2f}" if value is not None and known(value) else ""


def _draw(path: Path, traces: Mapping[str, dict[str, Any]], tables: Mapping[str, Table]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    grid = figure.subplots(2, len(CURVES), sharex=False)
    measures = {measure.key: measure for measure in MEASURES}
    for row, way in zip(grid, DIRECTIONS, strict=True):
        for axes, key in zip(row, CURVES, strict=True):
            for name, found in traces.items():
                points = [
                    (100 * point["step"] / found["checkpoints"][-1]["step"], value)
                    for point in found["checkpoints"]
                    if known(value := point["directions"].get(way, {}).get(key))
                ]
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
            for name, dash in zip(RESERVED[:2], ("--", ":"), strict=True):
                axes.axhline(tables[way].rows[name][key], color="grey", linestyle=dash, lw=1)
            axes.set_title(f"{tables[way].title}: {measures[key].heading}", fontsize=9)
            axes.set_xlabel("% of the training", fontsize=8)
            axes.tick_params(labelsize=8)
    grid[0][0].legend(fontsize=8)
    figure.savefig(path, format="webp", dpi=110, facecolor="white")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"{platform.machine()}, {os.cpu_count()} cores"


def _without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """A command line without some options and their values."""
    kept, skipping = [], False
    for word in words:
        if word.startswith("--"):
            skipping = word.split("=")[0] in options
        if not skipping:
            kept.append(word)
    return kept
