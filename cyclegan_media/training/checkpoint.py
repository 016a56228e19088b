"""Checkpoints: complete or absent, exact, and free of anything executable.

    checkpoints/step-00002000/
        model/          a model folder, ready for translation
        training.pt     networks, optimisers, moving average (tensors and plain data)
        rank-0.pt       this process's history buffers and random states

Each is written under a temporary name and renamed. Reading uses ``weights_only=True``.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.files import PARTIAL_MARK, atomic_file

_NAME = re.compile(r"step-(\d{8})")
FORMAT = 1


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
    """Complete checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    if folder.is_dir():
        for path in folder.iterdir():
            if PARTIAL_MARK in path.name:
                shutil.rmtree(path, ignore_errors=True)


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Keep the last ``keep`` checkpoints and the one after ``best`` steps."""
    for path in list_checkpoints(folder)[:-keep]:
        if steps_of(path) != best:
            # Renamed first: a removal that is interrupted leaves no half checkpoint behind.
            doomed = path.with_name(f".{path.name}{PARTIAL_MARK}old")
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain data."""
    try:
        torch.save({"format": FORMAT, **state}, path)
    except RuntimeError as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise from_os_error(OSError(28, str(error)), path, "writing the checkpoint") from error


def read_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Raises:
        UserError: missing, damaged, of another version, or holding anything but tensors and
            plain data.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing; this checkpoint cannot be resumed") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: is damaged or not a training state: {reason}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: is not a training state of this version of the toolkit")
    return state


def read_best(run: Path) -> tuple[int, float] | None:
    """Steps and score of the best checkpoint so far, if any was scored."""
    try:
        content = json.loads((run / "best.json").read_text())
        return int(content["steps"]), float(content["score"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_best(run: Path, steps: int, score: float) -> None:
    """Remember the best checkpoint."""
    with atomic_file(run / "best.json", overwrite=True) as partial:
        partial.write_text(json.dumps({"steps": steps, "score": score}) + "\n")
