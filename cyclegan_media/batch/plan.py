"""From what was asked for to the files that will be written, all checked before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cyclegan_media.batch import remote
from cyclegan_media.batch.inputs import Entry
from cyclegan_media.batch.outputs import check_inside, check_relative
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.media.kinds import kind_of
from cyclegan_media.translate.folder import (
    TRANSLATED,
    Job,
    check_kind,
    check_target_kind,
    output_name,
)

if TYPE_CHECKING:
    from cyclegan_media.backbones.registry import Modality

_AT_ONCE = 16
"""Remote inputs that are looked at in parallel."""


@dataclass(frozen=True)
class ModelInfo:
    """What the parent knows of a model, which a worker has opened."""

    modality: Modality
    directions: tuple[str, ...]
    fingerprint: str
    """Of all its files' contents."""
    gpus: int = 0
    """That the worker sees, if it computes on them."""


@dataclass(frozen=True)
class Destination:
    """Where outputs go: a local folder, or a URL that stands for one."""

    folder: Path | None
    url: str | None = None

    def address(self, name: str) -> str:
        """The path or URL of an output."""
        return str(self.folder / name) if self.folder else f"{self.url}/{name}"


@dataclass(frozen=True)
class Planned:
    """One output, and all that it depends on."""

    target: str
    """Relative to the destination, with ``/`` between its parts."""
    source: str
    model: str
    settings: str
    """:class:`FileSettings` as JSON."""
    identity: str
    """JSON of what the content of the output depends on, besides the source."""
    where: str
    source_bytes: int | None
    source_stamp: str
    """Changes when the source does: its size and time, or what a server says of its version."""


def make_plan(
    entries: Sequence[Entry],
    models: Mapping[str, ModelInfo],
    destination: Destination,
    precision: str,
    runtime: str = "torch",
) -> list[Planned]:
    """Check every file against its model, the destination and the other files.

    Raises:
        UserError: a source is missing or of a kind that its model does not translate, a model lacks
            the direction, two outputs are the same file, or one lies outside the destination, is a
            source itself, or has the suffix of another kind.
    """
    named = [(entry, _target(entry, models[entry.model])) for entry in entries]
    jobs = [(entry, target) for entry, target in named if target is not None]
    if not jobs:
        raise UserError(f"{entries[0].where}: nothing there is of a kind that the model translates")
    stamps = _stamps([entry for entry, _ in jobs])
    read = {os.path.realpath(entry.source) for entry, _ in jobs if not remote.is_url(entry.source)}
    taken: dict[str, str] = {}
    planned = []
    for (entry, target), (size, stamp) in zip(jobs, stamps, strict=True):
        model = models[entry.model]
        _check_model(entry, model)
        if runtime == "onnx" and isinstance(entry.settings.tile, int):
            raise UserError(
                f"{entry.where}: tile: ONNX Runtime computes pictures as a whole; leave it out"
            )
        key = _key(destination, target, entry.where)
        if key in taken:
            raise UserError(f"{entry.where}: output {target!r} is also that of {taken[key]}")
        if key in read:
            raise UserError(f"{entry.where}: output {target!r} would replace an input")
        taken[key] = entry.where
        identity = {
            "model": model.fingerprint,
            "precision": "fp32" if precision == "auto" else precision,
            "source": _same_everywhere(entry.source),
            **({} if runtime == "torch" else {"runtime": runtime}),
            **entry.settings.result,
        }
        planned.append(
            Planned(
                target,
                entry.source,
                entry.model,
                entry.settings.model_dump_json(exclude_defaults=True),
                json.dumps(identity, sort_keys=True),
                entry.where,
                size,
                stamp,
            )
        )
    return planned


def _target(entry: Entry, model: ModelInfo) -> str | None:
    """The output's path in the destination; ``None`` for what a folder holds by the way."""
    file = remote.name_of(entry.source)
    if entry.found and kind_of(file) not in TRANSLATED[model.modality]:
        return None
    try:
        check_kind(file, model.modality)
        name = entry.output
        if name is None:
            inside = PurePosixPath(entry.name)
            name = str(inside.with_name(output_name(file, model.modality)))
        name = check_relative(name, entry.where)
        check_target_kind(Job(file, Path(name)), model.modality)
    except UserError as error:
        if str(error).startswith(entry.where):
            raise
        raise UserError(f"{entry.where}: {error}") from error
    return name


def _same_everywhere(source: str) -> str:
    return source if remote.is_url(source) else os.path.abspath(source)  # noqa: PTH100


def _check_model(entry: Entry, model: ModelInfo) -> None:
    if entry.settings.direction not in model.directions:
        known = " and ".join(model.directions)
        raise UserError(
            f"{entry.where}: {entry.model} has no generator for the direction"
            f" {entry.settings.direction}, only for {known}"
        )


def _key(destination: Destination, target: str, where: str) -> str:
    if destination.folder is None:
        return destination.address(target)
    path = check_inside(destination.folder, target, where)
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


def _stamps(entries: Iterable[Entry]) -> list[tuple[int | None, str]]:
    """Size and stamp of every source."""
    entries = list(entries)

    def look(entry: Entry) -> tuple[int | None, str]:
        try:
            if remote.is_url(entry.source):
                return remote.stamp(entry.source)
            # What is in it, its worker finds out: it may be damaged or empty.
            state = Path(entry.source).stat()
        except UserError as error:
            if str(error).startswith(entry.where):
                raise
            raise UserError(f"{entry.where}: input {error}") from error
        except OSError as error:
            raise from_os_error(error, entry.source, "looking at it") from error
        return state.st_size, f"{state.st_size}-{state.st_mtime_ns}"

    if not any(remote.is_url(entry.source) for entry in entries):
        return [look(entry) for entry in entries]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(look, entries))
