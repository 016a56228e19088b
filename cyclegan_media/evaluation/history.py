"""How good a training was at each of its kept checkpoints, and what it logged."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cyclegan_media.errors import UserError
from cyclegan_media.evaluation.charts import measure_chart
from cyclegan_media.evaluation.report import Part
from cyclegan_media.evaluation.tables import Measure, Table, known, plain
from cyclegan_media.page.fragments import figure, row, themed_image
from cyclegan_media.page.plots import curves_png
from cyclegan_media.training.checkpoint import (
    best_checkpoint,
    list_checkpoints,
    score_of,
    steps_of,
)

Scores = Mapping[str, Mapping[str, float]]
"""Values by direction and measure."""


def check_run(run: Path) -> list[Path]:
    """The kept checkpoints of a training, oldest first.

    Raises:
        UserError: the folder holds no training, or one that has no checkpoint yet.
    """
    if not (run / "recipe.yaml").is_file():
        raise UserError(f"{run}: is no folder of a training; --run takes what train made by --out")
    checkpoints = list_checkpoints(run / "checkpoints")
    if not checkpoints:
        raise UserError(f"{run}: this training has no checkpoint yet; wait for its first")
    return checkpoints


def published(run: Path) -> Path:
    """The model of a training: ``model/``; while it lasts, that of the best checkpoint so far.

    Raises:
        UserError: see :func:`check_run`.
    """
    checkpoints = check_run(run)
    if (run / "model" / "config.json").exists():
        return run
    return (best_checkpoint(run / "checkpoints") or checkpoints[-1]) / "model"


def trace(run: Path, score: Callable[[Path], Scores]) -> dict[str, Any]:
    """What a training logged, and what ``score`` says of the model of each kept checkpoint.

    Returns:
        Plain data: ``checkpoints``, with ``step``, ``validation_score`` and ``directions``; the
        step that is ``best`` by the validation score, whose model is that of the training; and
        the rows of ``validation.csv``.
    """
    best = best_checkpoint(run / "checkpoints")
    return {
        "run": str(run),
        "best": None if best is None else steps_of(best),
        "checkpoints": [
            {
                "step": steps_of(checkpoint),
                "validation_score": score_of(checkpoint),
                "directions": {
                    way: plain(values) for way, values in score(checkpoint / "model").items()
                },
            }
            for checkpoint in check_run(run)
        ],
        "validation": _rows(run / "validation.csv"),
    }


def part_of(
    traces: Mapping[str, dict[str, Any]], measures: Sequence[Measure], tables: Mapping[str, Table]
) -> Part:
    """A section of charts: measures over the steps, then what each training logged itself."""
    html = [
        '<p class="note">A point is a checkpoint that was kept: the last ones, and the best by the'
        " validation score, whose model is the training's.</p>"
    ]
    for way, table in tables.items():
        charts = []
        for measure in measures:
            curves = {name: _curve(found, way, measure) for name, found in traces.items()}
            curves = {name: points for name, points in curves.items() if points}
            levels = {
                name: values[measure.key] * measure.factor
                for name, values in table.rows.items()
                if name not in table.models and known(values.get(measure.key))
            }
            if curves:
                chart = measure_chart(
                    curves, levels, measure.heading, f"{measure.label} over the steps"
                )
                charts.append(figure(chart, measure.label, f"{measure.better} is better"))
        if charts:
            html += [f"<h3>{escape(table.title)}</h3>", row("chart", charts)]
    for name, found in traces.items():
        for file, heading in (("validation.csv", "Validation"), ("metrics.csv", "Losses")):
            charts = _logged(Path(found["run"]) / file)
            if charts:
                html += [f"<h3>{heading} of {escape(name)}</h3>", row("chart", charts)]
    return Part("training", "Over training", html)


def _curve(found: dict[str, Any], way: str, measure: Measure) -> list[tuple[float, float]]:
    points = []
    for checkpoint in found["checkpoints"]:
        value = measure.shown(checkpoint["directions"].get(way, {}))
        if value is not None:
            points.append((checkpoint["step"], value))
    return points


def _logged(path: Path) -> list[str]:
    if not _rows(path):  # a training that does not validate, or has only begun
        return []
    light, dark = curves_png(path), curves_png(path, dark=True)
    return [
        figure(themed_image(light[name], dark[name], f"{name} over the steps"), name, "")
        for name in light
    ]


def _rows(path: Path) -> list[dict[str, float | None]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{key: _number(cell) for key, cell in row.items()} for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path}: is damaged, no table of numbers; {error}") from error


def _number(cell: str) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None
