"""The folder of one training run: begun, gone on with, finished.

recipe.yaml       what was trained, complete with its defaults
metrics.csv       a row per logged step, a column per summand of the objective
validation.csv    figures on held-out files
tensorboard/      the same, for TensorBoard
wandb/            the same, for Weights & Biases, where asked for
previews/         step-…/ with pictures and sounds
checkpoints/      step-…/
model/            at the end: the model folder of the best checkpoint
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.files import atomic_directory, atomic_file
from cyclegan_media.recipe import Recipe, dump_recipe, load_recipe
from cyclegan_media.training.checkpoint import best_checkpoint, list_checkpoints, sweep

_FREE = {
    *("name", "paper", "description", "data_wanted", "cost", "domains"),
    *(f"trainer.{key}" for key in ("steps", "decay_steps", "epochs", "decay_epochs")),
    *(f"trainer.{key}" for key in ("keep", "workers", "divergence_limit")),
    *(f"trainer.{kind}_every" for kind in ("log", "preview", "validate", "checkpoint")),
    "data.cache_megabytes",
}
"""What may change when a run is resumed: its length and what is told of it."""


def prepare_run(run: Path, recipe: Recipe, resume: bool, fabric: Fabric) -> Path | None:
    """Check and make the run's folder.

    Returns:
        The checkpoint to go on from; ``None`` to begin with the first step, which a resumed run
        does that was stopped before its first checkpoint.

    Raises:
        UserError: the folder holds a training and ``resume`` is false, or the other way round,
            or the training it holds is of another recipe; or it cannot be written.
    """
    begun = (run / "recipe.yaml").exists()
    if resume and not begun:
        raise UserError(f"{run}: holds no training to resume; leave out --resume")
    if begun and not resume:
        raise UserError(
            f"{run}: holds a training already; pass --resume to go on, or choose another --out"
        )
    if resume:
        _check_same_recipe(run, recipe)
    fabric.barrier()  # no process writes before all have looked
    if fabric.is_global_zero:
        try:
            for folder in (run, run / "checkpoints", run / "previews"):
                folder.mkdir(parents=True, exist_ok=True)
                sweep(folder)
        except OSError as error:
            raise from_os_error(error, run, "making the run's folder") from error
        with atomic_file(run / "recipe.yaml", overwrite=True) as partial:
            partial.write_text(dump_recipe(recipe), encoding="utf-8")
    fabric.barrier()
    checkpoints = list_checkpoints(run / "checkpoints")
    return checkpoints[-1] if checkpoints else None


def _check_same_recipe(run: Path, recipe: Recipe) -> None:
    before = load_recipe(run / "recipe.yaml").model_dump(mode="json")
    now = recipe.model_dump(mode="json")
    for key, old, new in _differences(before, now):
        if key not in _FREE:
            raise UserError(
                f"{run}: was started with {key}: {old}, but this recipe has {new}; resume it with"
                " the recipe it was started with, or choose another --out"
            )


def _differences(
    before: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """The path of each key whose value differs, with both values (``None``: not there)."""
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def publish_model(run: Path) -> Path:
    """Copy the model of the best checkpoint (without scores: of the last) to ``run/model``.

    Returns:
        The checkpoint that was chosen.
    """
    checkpoints = run / "checkpoints"
    chosen = best_checkpoint(checkpoints) or list_checkpoints(checkpoints)[-1]
    with atomic_directory(run / "model", overwrite=True) as partial:
        shutil.copytree(chosen / "model", partial, dirs_exist_ok=True)
    return chosen
