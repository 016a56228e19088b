"""A training's figures, pictures and sounds for Weights & Biases, where the user asks for it.

What is logged is written to ``wandb/`` in the run's folder first and sent from there by a process
of wandb's own, so that no step waits for a network. Where there is none, or nobody is logged in,
it stays there: ``wandb sync`` sends it later. What fails is a warning, and the training goes on.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_file

logger = logging.getLogger("cyclegan_media")

_PATIENCE = 30
"""Seconds that a server has to answer at the beginning, and to take what is left at the end."""
_NAME = "run.json"
"""In the folder ``wandb``: what the run is called there, for when it is resumed."""


@dataclass(frozen=True)
class Wandb:
    """Where at Weights & Biases a training is to be seen."""

    project: str
    name: str | None = None
    """Of the run in the project; ``None`` for that of the run's folder."""


def check_wandb() -> None:
    """Check that the package is there, before any work.

    Raises:
        UserError: it is not.
    """
    try:
        from wandb import init  # noqa: F401  (a folder of that name is no package)
    except ImportError as error:
        raise UserError(
            "--wandb: the package wandb is not installed; pip install 'cyclegan-media[wandb]'"
        ) from error


class WandbBoard:
    """One run at Weights & Biases; a resumed training goes on with the same.

    Args:
        run: the folder of the training.
        config: what is stated of the run: its recipe.
    """

    def __init__(self, run: Path, where: Wandb, config: Mapping[str, Any]) -> None:
        self._run: Any = None
        with self._attempt("cannot begin"):
            self._run = _begin(run, where, dict(config))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values by their names in full, with ``/`` between a group and a name."""
        self._log(step, lambda wandb: values)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """``pixels``: uint8 ``(height, width, 3)``."""
        self._log(step, lambda wandb: {name: wandb.Image(pixels)})

    def sound(self, step: int, name: str, samples: np.ndarray, sample_rate: int) -> None:
        """``samples``: float ``(samples,)`` in −1…1."""
        self._log(step, lambda wandb: {name: wandb.Audio(samples, sample_rate=sample_rate)})

    def close(self) -> None:
        """Send what is left, for so long as that may take."""
        if self._run is not None:
            with self._attempt("cannot end"):
                self._run.finish()

    def _log(self, step: int, values: Callable[[Any], Mapping[str, Any]]) -> None:
        if self._run is None:
            return
        with self._attempt("cannot log"):
            import wandb

            # Not as wandb's own step, which never falls, as that of a resumed training may.
            self._run.log({"step": step, **values(wandb)})

    @contextmanager
    def _attempt(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a service that the training does not need
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            logger.warning("Weights & Biases %s; the training goes on without: %s", what, reason)
            self._run = None


def _begin(run: Path, where: Wandb, config: dict[str, Any]) -> Any:
    import wandb

    folder = run / "wandb"
    folder.mkdir(exist_ok=True)
    name = where.name or run.resolve().name
    number = _known(folder, where.project)

    def begin(mode: Any, resume: Any = None) -> Any:
        return wandb.init(
            project=where.project,
            id=number,
            name=name,
            dir=run,
            config=config,
            reinit="create_new",  # what the caller logs elsewhere stays apart
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_save_requirements=False,
                init_timeout=_PATIENCE,
                finish_timeout=_PATIENCE,
            ),
            mode=mode,
            resume=resume,
        )

    with _environment(folder):
        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if mode == "online" and wandb.apis.InternalApi().api_key is None:
            _stays(folder, "nobody is logged in (wandb login)")
            mode = "offline"
        try:
            made = begin(mode, None if mode == "offline" else "allow")
        except wandb.errors.CommError as error:
            _stays(folder, " ".join(str(error).split())[:300])
            wandb.teardown()  # else the run's id counts as in use
            made = begin("offline")
    made.define_metric("*", step_metric="step")
    with atomic_file(folder / _NAME, overwrite=True) as partial:
        begun = {"project": where.project, "id": number}
        partial.write_text(json.dumps(begun, indent=2) + "\n", encoding="utf-8")
    return made


def _stays(folder: Path, why: str) -> None:
    logger.warning(
        "Weights & Biases: %s; what is logged stays in %s, to be sent by wandb sync", why, folder
    )


def _known(folder: Path, project: str) -> str:
    """The run's id in this project, or a new one."""
    try:
        begun = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        if begun["project"] == project:
            return str(begun["id"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return secrets.token_hex(4)


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Let wandb's processes write nothing elsewhere, and nothing to the terminal."""
    wanted = {
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
