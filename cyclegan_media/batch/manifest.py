"""Manifests: a row per file, in CSV with a header or as one JSON object per line.

Columns: ``input``, ``output``, ``model``, ``direction``, ``options`` (a JSON object such as
``{"crf": 18}``). Only ``input`` is needed. Paths of inputs and models are relative to the manifest,
outputs to the folder of the batch. Whoever wrote a manifest can name what is read, but nothing
outside that folder is written, and no code is named.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_media.batch import remote
from cyclegan_media.batch.outputs import check_relative, is_text
from cyclegan_media.batch.settings import BatchOptions, FileSettings
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.media.kinds import check_input

MANIFESTS = (".csv", ".jsonl")
COLUMNS = ("input", "output", "model", "direction", "options")
MAX_LINE = 65_536
"""Characters of a row."""
_NOT_IN_ROWS = ("direction", "detector_model", "vocoder")
"""Settings that the column ``options`` cannot hold."""


@dataclass(frozen=True)
class Row:
    """One row, checked by itself."""

    source: str
    output: str | None
    model: str
    settings: FileSettings
    where: str


def read_manifest(path: Path, options: BatchOptions) -> list[Row]:
    """The rows of a manifest.

    Raises:
        UserError: names the file and the line of the first mistake; or there are no rows, more
            than ``options.max_rows``, or more than ``options.max_manifest_bytes`` bytes.
    """
    text = _text(path, options.max_manifest_bytes)
    read = _csv if path.suffix.lower() == ".csv" else _jsonl
    rows: list[Row] = []
    for line, values in read(path, text):
        rows.append(_row(path, f"{path}: line {line}", values, options))
        if len(rows) > options.max_rows:
            raise UserError(
                f"{path}: line {line}: has more than {options.max_rows} rows; split it, or raise"
                " the limit with --max-rows"
            )
    if not rows:
        raise UserError(f"{path}: has no rows")
    return rows


def _text(path: Path, most: int) -> str:
    check_input(path)
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    if len(content) > most:
        raise UserError(
            f"{path}: is larger than {most} bytes; split it, or raise the limit with"
            " --max-manifest-bytes"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: is no UTF-8 text; save it as such") from error


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            where = f"{path}: line {line}"
            line, here = reader.line_num + 1, line
            if not any(cell.strip() for cell in cells):
                continue
            if sum(map(len, cells)) > MAX_LINE:
                raise UserError(f"{where}: is longer than {MAX_LINE} characters")
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_columns(where, header)
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{where}: has {len(cells)} cells, but the header names {len(header)}"
                )
            yield here, {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    except csv.Error as error:
        raise UserError(f"{path}: line {line}: is no CSV: {error}") from error


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            raise UserError(f"{where}: is longer than {MAX_LINE} characters")
        values = _json(line, where)
        if not isinstance(values, dict):
            raise UserError(f'{where}: is no JSON object, such as {{"input": "a.mp4"}}')
        _check_columns(where, list(values))
        yield number, {name: value for name, value in values.items() if value is not None}


def _json(text: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"{where}: names {name[:80]!r} twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise UserError(f"{where}: is no JSON: {reason}") from error


def _check_columns(where: str, names: list[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise UserError(
                f"{where}: unknown column {name[:80]!r}; known are {', '.join(COLUMNS)}"
            )
        if names.count(name) > 1:
            raise UserError(f"{where}: the column {name!r} comes twice")
    if "input" not in names:
        raise UserError(f"{where}: lacks the column 'input'")


def _row(path: Path, where: str, values: dict[str, Any], options: BatchOptions) -> Row:
    for name in ("input", "output", "model", "direction"):
        if not isinstance(value := values.get(name, ""), str) or not is_text(value):
            raise UserError(f"{where}: {name}: is no text")
    source = values.get("input", "")
    if not source.strip() or "\0" in source:
        raise UserError(f"{where}: input: is no file name")
    if remote.is_url(source):
        remote.check_url(source, where)
    else:
        source = str(path.parent / source)
        # These, unlike the methods of Path, answer for whatever text.
        if not os.path.isfile(source):  # noqa: PTH113
            what = "is a folder" if os.path.isdir(source) else "there is no such file"  # noqa: PTH112
            raise UserError(f"{where}: input {source[:1000]}: {what}")
    output = values.get("output")
    model = str(path.parent / values["model"]) if "model" in values else options.model
    if model is None:
        raise UserError(f"{where}: names no model, and neither does -m")
    return Row(
        source,
        None if output is None else check_relative(output, where),
        model,
        _settings(values, where, options),
        where,
    )


def _settings(values: dict[str, Any], where: str, options: BatchOptions) -> FileSettings:
    given = values.get("options", {})
    if isinstance(given, str):
        given = _json(given, f"{where}: options")
    if not isinstance(given, dict):
        raise UserError(f'{where}: options: is no JSON object, such as {{"crf": 18}}')
    for name in _NOT_IN_ROWS:
        if name in given:
            raise UserError(f"{where}: options: {name} cannot stand there")
    if "direction" in values:
        given = {**given, "direction": values["direction"]}
    return options.settings.with_options(given, where)
