"""What is evaluated: models of one kind, and the files they are measured on."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.device import Device
from cyclegan_media.errors import UserError
from cyclegan_media.export import Runtime, open_model
from cyclegan_media.media.kinds import natural_order
from cyclegan_media.recipe import load_recipe
from cyclegan_media.translate import Translator
from cyclegan_media.translate.precision import Precision

logger = logging.getLogger("cyclegan_media")

StrPath = str | os.PathLike[str]


def choose_files(
    data_a: StrPath, data_b: StrPath, kinds: tuple[str, ...], held_out: str | None
) -> Files:
    """The files of both domains, parted into those to learn from and those to measure on.

    Args:
        held_out: a glob of the names to measure on; ``None`` holds out what a training does
            (:func:`cyclegan_media.datasets.discover.find_files`).

    Raises:
        UserError: a folder is missing or empty, or a domain has no file to measure on, or none to
            learn from.
    """
    files = find_files(data_a, data_b, kinds)
    if held_out is not None:
        parted = [
            _part([*train, *out], held_out)
            for train, out in (
                (files.train_a, files.held_out_a),
                (files.train_b, files.held_out_b),
            )
        ]
        files = Files(parted[0][0], parted[1][0], parted[0][1], parted[1][1])
    for folder, found, rest in (
        (data_a, files.held_out_a, files.train_a),
        (data_b, files.held_out_b, files.train_b),
    ):
        if not rest:
            raise UserError(
                f"{folder}: every file is like {held_out}; leave some to learn from, which the"
                " methods that models are compared with do"
            )
        if not found:
            raise UserError(
                f"{folder}: no file is {'like ' + held_out if held_out else 'held out'}; name some"
                " by --held-out, as in --held-out '2*', or move them to a folder test beside train"
            )
    return files


def warn_where_all_was_learned(folders: Sequence[StrPath], files: Files) -> None:
    """Warn of trainings that held nothing out, where a tenth of a folder is taken for unseen."""
    if files.held_out_a[0].parent != files.train_a[0].parent:  # a folder of test files
        return
    for folder in folders:
        recipe = Path(folder) / "recipe.yaml"
        if recipe.is_file() and load_recipe(recipe).data.hold_out == 0:
            logger.warning(
                "%s: learned from all files of its folders (data.hold_out is 0); if these are they,"
                " name others by --held-out",
                folder,
            )


def _part(files: list[Path], glob: str) -> tuple[list[Path], list[Path]]:
    """Those that are not like ``glob``, and those that are."""
    ordered = sorted(files, key=natural_order)
    out = [path for path in ordered if fnmatch(path.name, glob)]
    return [path for path in ordered if path not in out], out


def load_models(
    folders: Sequence[StrPath],
    taken: Collection[str] = (),
    *,
    runs: Mapping[str, StrPath] | None = None,
    runtime: Runtime = "torch",
    device: Device = "auto",
    precision: Precision = "auto",
) -> dict[str, Translator]:
    """Models by the name of their row, which is the folder's where that is unambiguous.

    Args:
        folders: of models or of trainings.
        taken: names of other rows.
        runs: further folders, by the name of their row.
        runtime: what runs them; see :func:`cyclegan_media.export.open_model`.

    Raises:
        UserError: none, a folder that cannot be read, or models of pictures beside models of
            voices.
    """
    runs = runs or {}
    wanted = [*folders, *runs.values()]
    if not wanted:
        raise UserError("no model to evaluate: name one by --model, or a training by --run")
    models = [open_model(folder, runtime, device=device, precision=precision) for folder in wanted]
    for folder, model in zip(wanted, models, strict=True):
        if model.modality != models[0].modality:
            raise UserError(
                f"{folder}: is a model of {model.modality}s and {wanted[0]} one of"
                f" {models[0].modality}s; a report has models of one kind"
            )
    names = [*(model.name for model in models[: len(folders)]), *runs]
    result: dict[str, Translator] = {}
    for folder, name, model in zip(wanted, names, models, strict=True):
        unclear = names.count(name) > 1 or name in taken
        row = str(Path(folder).resolve()) if unclear else name
        if row in result:
            raise UserError(f"{folder}: is given twice")
        result[row] = model
    return result


def describe_models(models: dict[str, Translator]) -> dict[str, dict[str, Any]]:
    """What each model says of itself, as plain data."""
    keys = ("domains", "recipe", "steps", "origin", "ema", "toolkit_version")
    return {
        name: {key: model.config.model_dump(mode="json")[key] for key in keys}
        | {"generators": {way: net["name"] for way, net in model.config.generators.items()}}
        for name, model in models.items()
    }
