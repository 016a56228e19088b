"""Checkpoints: complete or absent, exact, and free of anything executable.

    checkpoints/step-00002000/
        model/          a model folder, ready for translation
        training.pt     networks, optimisers, moving average (tensors and plain data)
        rank-0.pt       this process's history buffers and random states
        score.json      the validation score after this step, where there was a validation

The folder is written under a temporary name and renamed. Reading uses ``weights_only=True``.
"""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from cyclegan_media.backbones import spec_of
from cyclegan_media.datasets.discover import Files
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.files import PARTIAL_MARK, atomic_directory, remove_folder
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.pretrained.torch_file import load_torch_file
from cyclegan_media.recipe import Recipe
from cyclegan_media.training.processes import gather
from cyclegan_media.training.state import TrainingState, capture_common, capture_own, restore
from cyclegan_media.training.tasks import Task

logger = logging.getLogger("cyclegan_media")

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})")


def checkpoint_name(steps: int) -> str:
    """The folder's name for a checkpoint after ``steps`` steps."""
    return f"step-{steps:08d}"


def steps_of(checkpoint: Path) -> int:
    """The inverse of :func:`checkpoint_name`."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint}: is not named like a checkpoint")
    return int(match.group(1))


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a run's ``checkpoints/``, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), key=steps_of)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the lowest score, the earliest of equals; ``None`` if none has one.

    Scores lie in the checkpoints themselves, and the best is never removed, so a killed run
    cannot disagree with what is on disk.
    """
    scores = {path: score_of(path) for path in list_checkpoints(folder)}
    scored = {path: score for path, score in scores.items() if score is not None}
    return min(scored, key=scored.__getitem__, default=None)


def score_of(checkpoint: Path | None) -> float | None:
    """The validation score of a checkpoint, lower is better; ``None`` where there is none."""
    if checkpoint is None:
        return None
    try:
        return float(json.loads((checkpoint / "score.json").read_text())["score"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def save_checkpoint(
    folder: Path,
    state: TrainingState,
    recipe: Recipe,
    files: Files,
    task: Task,
    fabric: Fabric,
    score: float | None,
) -> None:
    """Add a checkpoint of ``state`` to ``folder`` and remove those no longer kept.

    Every process takes part; the one of rank 0 writes.

    Raises:
        RunError: a weight is not finite (nothing is written then), or the disk is full.
    """
    # Every process's state reaches the one that writes, so that the folder is renamed once.
    ranks = gather(capture_own(state, fabric.device), fabric)
    if fabric.is_global_zero:
        common = capture_common(state, fabric)
        _check_networks(common["networks"], state.steps)
        with atomic_directory(folder / checkpoint_name(state.steps), overwrite=True) as partial:
            write_state(
                partial / "training.pt",
                {**common, "files": files.fingerprint(), "processes": fabric.world_size},
            )
            for rank, own in enumerate(ranks):
                write_state(partial / f"rank-{rank}.pt", own)
            save_model(partial / "model", trained_model(state, recipe, task))
            if score is not None and math.isfinite(score):
                (partial / "score.json").write_text(json.dumps({"score": score}) + "\n")
        prune(folder, recipe.trainer.keep)
    fabric.barrier()


def _check_networks(networks: dict[str, dict[str, torch.Tensor]], steps: int) -> None:
    for name, weights in networks.items():
        for key, tensor in weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise RunError(
                    f"the training diverged in step {steps - 1}: the weights {key!r} of the network"
                    f" {name!r} are not finite; the checkpoints before it are kept; try lower"
                    " learning rates or fp32"
                )


def trained_model(state: TrainingState, recipe: Recipe, task: Task) -> PretrainedModel:
    """What a translation needs of ``state``."""
    generators = state.generators()
    others = {k: network for k, network in state.kept().items() if network.role != "generator"}
    return PretrainedModel(
        config=ModelConfig(
            modality=recipe.modality,
            domains={"a": recipe.domains[0], "b": recipe.domains[1]},
            generators={name: spec_of(network) for name, network in generators.items()},
            recipe=recipe.name,
            paper=recipe.paper or None,
            steps=state.steps,
            origin="trained",
            ema=state.average is not None,
            analysis=task.analysis(),
        ),
        generators=generators,
        statistics=task.statistics(),
        networks=others,
    )


def load_checkpoint(path: Path, state: TrainingState, files: Files, fabric: Fabric) -> None:
    """Make ``state`` and the random states what they were when ``path`` was written.

    Raises:
        UserError: the checkpoint is damaged, of another number of processes, or of other
            networks.
    """
    content = read_state(path / "training.pt")
    if content.get("processes") != fabric.world_size:
        raise UserError(
            f"{path}: was made by {content.get('processes')} processes, this run has"
            f" {fabric.world_size}; start as many"
        )
    if content.get("files") != files.fingerprint() and fabric.is_global_zero:
        logger.warning("the training files differ from those that this run was started with")
    own = read_state(path / f"rank-{fabric.global_rank}.pt")
    try:
        restore(state, content, own, fabric)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: does not fit this recipe's networks: {reason}") from error


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written in ``folder`` itself."""
    if folder.is_dir():
        for path in folder.iterdir():
            if PARTIAL_MARK in path.name:
                if path.is_dir():
                    remove_folder(path)
                else:
                    path.unlink(missing_ok=True)


def prune(folder: Path, keep: int) -> None:
    """Keep the last ``keep`` checkpoints and the best one."""
    best = best_checkpoint(folder)
    for path in list_checkpoints(folder)[:-keep]:
        if path != best:
            # Renamed first: a removal that is interrupted leaves no half checkpoint behind.
            doomed = path.with_name(f".{path.name}{PARTIAL_MARK}old")
            path.rename(doomed)
            remove_folder(doomed)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain data.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    try:
        with open(path, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        # torch's zip writer hides what the file said behind a message about positions.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def read_state(path: Path) -> dict[str, Any]:
    """Read what :func:`write_state` wrote, onto the CPU.

    Raises:
        UserError: missing, damaged, of another version, or holding anything but tensors and
            plain data.
    """
    try:
        state = load_torch_file(path, checksums=True)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing; this checkpoint cannot be resumed") from error
    except Exception as error:
        # Damaged files meet the reader in many ways: as EOFError, RuntimeError, KeyError, …
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: is damaged or not a training state: {reason}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: is not a training state of this version of the toolkit")
    return state
