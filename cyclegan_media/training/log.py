"""What a training leaves to look at: ``metrics.csv``, ``validation.csv``, and boards.

TensorBoard is written where it is installed, Weights & Biases (:mod:`.wandb_log`) where asked for.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cyclegan_media.files import atomic_file
from cyclegan_media.training.wandb_log import Wandb, WandbBoard

logger = logging.getLogger("cyclegan_media")


class Table:
    """A CSV file with a row per logged step. New columns may appear; the file is then rewritten.

    Args:
        path: appended to where it exists, after dropping the rows beyond ``steps``, which a
            resumed run will make again.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self._columns: list[str] = ["step"]
        rows: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                # The last line of a killed run may be cut short, and then lacks columns.
                rows = [row for row in reader if None not in row and None not in row.values()]
                rows = [r for r in rows if r["step"].isdigit() and int(r["step"]) <= steps]
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with (
            atomic_file(self.path, overwrite=True) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        new = [name for name in values if name not in self._columns]
        if new:
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._rewrite(rows)
        row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)


class Board(Protocol):
    """Where figures, pictures and sounds of a run can be looked at; none of it may be needed."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None: ...

    def sound(self, step: int, name: str, samples: np.ndarray, sample_rate: int) -> None: ...

    def close(self) -> None: ...


class Log:
    """Scalars and previews of one run. Only the process of rank 0 has one.

    Args:
        run: the folder of the training.
        steps: after which it goes on; what was logged of later ones is dropped.
        wandb: where at Weights & Biases it is to be seen, too.
        config: what is said of the run there.
    """

    def __init__(
        self,
        run: Path,
        steps: int,
        wandb: Wandb | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._metrics = Table(run / "metrics.csv", steps)
        self._validation = Table(run / "validation.csv", steps)
        board = _tensorboard(run / "tensorboard", steps)
        self._boards: list[Board] = [] if board is None else [board]
        if wandb is not None:
            self._boards.append(WandbBoard(run, wandb, config or {}))

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        self._metrics.add(step, values)
        self._scalars("loss", step, values)

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        self._validation.add(step, values)
        self._scalars("validation", step, values)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """``pixels``: uint8 ``(height, width, 3)``."""
        for board in self._boards:
            board.picture(step, name, pixels)

    def sound(self, step: int, name: str, samples: np.ndarray, sample_rate: int) -> None:
        """``samples``: float ``(samples,)`` in −1…1."""
        for board in self._boards:
            board.sound(step, name, samples, sample_rate)

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for board in self._boards:
            board.scalars(step, {f"{group}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        for board in self._boards:
            board.close()


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def sound(self, step: int, name: str, samples: np.ndarray, sample_rate: int) -> None:
        self._writer.add_audio(name, samples[None], step, sample_rate=sample_rate)

    def close(self) -> None:
        self._writer.close()


def _tensorboard(folder: Path, steps: int) -> _TensorBoard | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("no TensorBoard log: install cyclegan-media[tensorboard] to have one")
        return None
    return _TensorBoard(SummaryWriter(str(folder), purge_step=steps + 1 if steps else None))


class Meter:
    """Means of the losses since the last reading, summed on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The means, in order of first appearance; starts anew."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


def summary(means: Mapping[str, float]) -> str:
    """The losses for a progress bar: domains and directions summed."""
    groups: dict[str, float] = {}
    for name, value in means.items():
        group = name.rpartition("_")[0] or name
        groups[group] = groups.get(group, 0.0) + value
    names = {"adversarial": "adv", "identity": "id", "discriminator": "D"}
    return " ".join(f"{names.get(name, name)}={value:.3f}" for name, value in groups.items())
