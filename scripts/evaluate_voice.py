"""Measure voice models against what they have to beat, in both directions.

    python scripts/evaluate_voice.py --data-a vcc2016/SF1 --data-b vcc2016/TM1 --model runs/vc/model

Held-out sentences of both speakers are paired by file name. Prints one table for each direction;
lower is closer in all columns but the last two.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media import list_media
from cyclegan_media.metrics import voice_table
from cyclegan_media.metrics.voice import METRIC_ANALYSIS
from cyclegan_media.metrics.voice_table import Direction, Method, MethodScores, Recording, Voices
from cyclegan_media.pretrained import PretrainedModel, load_model
from cyclegan_media.translate.voice import convert_voice

COLUMNS: dict[str, Callable[[MethodScores], float]] = {
    "MCD dB": lambda row: row.distances.mcd,
    "log-F0 RMSE": lambda row: row.distances.log_f0_rmse,
    "GV distance": lambda row: row.distances.gv_distance,
    "MS distance dB": lambda row: row.distances.ms_distance,
    "P(target)": lambda row: row.probability,
    "similarity": lambda row: row.similarity,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-a", type=Path, required=True, help="recordings of speaker A")
    parser.add_argument("--data-b", type=Path, required=True, help="recordings of speaker B")
    parser.add_argument(
        "--held-out",
        default="2*",
        metavar="GLOB",
        help="names of the sentences to measure on; all others train the baselines and the"
        " verifier (default: 2*, as in the Voice Conversion Challenge 2016)",
    )
    parser.add_argument(
        "--model", type=Path, action="append", default=[], metavar="DIR", help="may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    try:
        # A model that cannot be read is told before minutes of analysis.
        models = {str(folder): load_model(folder) for folder in args.model}
        voices = read(args.data_a, args.data_b, args.held_out)
        verifier = voice_table.train_verifier(voices)
        tables = {
            direction: dict(rows(voices, direction, methods, models, verifier))
            for direction, methods in voice_table.baselines(voices).items()
        }
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    names = {"a": args.data_a.resolve().name, "b": args.data_b.resolve().name}
    if args.json:
        print(json.dumps(as_json(tables, names, voices, verifier.equal_error), indent=2))
    else:
        for direction, table in tables.items():
            print("\n".join(as_lines(f"{names[direction[0]]} → {names[direction[2]]}", table)))
        count = len(voices.held_out["a"])
        print(f"{count} sentences; the verifier's equal error rate: {verifier.equal_error:.1%}")
    return 0


def read(data_a: Path, data_b: Path, held_out: str) -> Voices:
    files = []
    for folder in (data_a, data_b):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of recordings")
        listed = list_media(folder, "audio")
        files.append([path for path in listed if not path.match(held_out)])
        files.append([path for path in listed if path.match(held_out)])
    train_a, held_out_a, train_b, held_out_b = files
    with tqdm(desc="analysing", unit="recording", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            if total != bar.total:  # first those that train, then those held out
                bar.reset(total)
            bar.update(done - bar.n)

        return voice_table.read_voices(train_a, train_b, held_out_a, held_out_b, progress=progress)


def rows(
    voices: Voices,
    direction: Direction,
    methods: dict[str, Method],
    models: dict[str, PretrainedModel],
    verifier: voice_table.SpeakerVerifier,
) -> list[tuple[str, MethodScores]]:
    methods = dict(methods)
    for name, model in models.items():
        if direction in model.generators:
            methods[name] = by_model(model, direction)
    table = [
        (name, voice_table.score_method(method, voices, direction, verifier))
        for name, method in tqdm(methods.items(), desc=direction, unit="method", leave=False)
    ]
    return [*table, (voice_table.COPY, voice_table.score_copies(voices, direction, verifier))]


def by_model(model: PretrainedModel, direction: Direction) -> Method:
    def method(item: Recording) -> Any:
        return convert_voice(model, item.samples, METRIC_ANALYSIS.sample_rate, direction)[0]

    return method


def as_lines(title: str, table: dict[str, MethodScores]) -> list[str]:
    width = max(map(len, [title, *table]))
    lines = [f"{title:<{width}}  " + "  ".join(COLUMNS)]
    for name, row in table.items():
        cells = [f"{value(row):>{len(column)}.2f}" for column, value in COLUMNS.items()]
        lines.append(f"{name:<{width}}  " + "  ".join(cells))
    return [*lines, ""]


def as_json(
    tables: dict[Direction, dict[str, MethodScores]],
    names: dict[str, str],
    voices: Voices,
    equal_error: float,
) -> dict[str, Any]:
    return {
        "a": names["a"],
        "b": names["b"],
        "sentences": [item.name for item in voices.held_out["a"]],
        "analysis": METRIC_ANALYSIS.model_dump(),
        "verifier_equal_error": equal_error,
        "directions": {
            direction: {name: _finite(asdict(row)) for name, row in table.items()}
            for direction, table in tables.items()
        },
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """One level, and null for what is unknown: JSON has no word for not-a-number."""
    flat = {**row.pop("distances"), **row}
    return {key: value if math.isfinite(value) else None for key, value in flat.items()}


if __name__ == "__main__":
    sys.exit(main())
