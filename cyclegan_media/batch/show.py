"""What a batch shows while it runs: a bar on a terminal, else a line per file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

from tqdm import tqdm

from cyclegan_media.batch.task import Outcome, Task

Mode = Literal["bar", "lines", "errors", "nothing"]

_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} files [{elapsed}<{remaining}{postfix}]"


class Show:
    """Tells on stderr of what happens; a context manager around the work.

    Args:
        mode: ``bar`` redraws one line, with the files done and failed, frames per second and the
            time left; ``lines`` prints one for each file; ``errors`` only what fails.
    """

    def __init__(self, mode: Mode = "nothing") -> None:
        self._mode = mode
        self._start: float | None = None
        self._total = self._ended = self._bad = 0
        self._bar: tqdm[Any] | None = None

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return 0.0 if self._start is None else time.monotonic() - self._start

    def opening(self, files: int) -> None:
        """The models are being opened."""
        if self._mode in ("bar", "lines"):
            self._say(f"{files} {'file' if files == 1 else 'files'} found; opening the model")

    def begin(self, counts: Mapping[Any, int], workers: int) -> None:
        """The plan is made, and some of it may be done already."""
        self._start = time.monotonic()
        self._total = sum(counts.values())
        self._ended = counts["done"] + counts["failed"] + counts["set aside"]
        self._bad = counts["failed"] + counts["set aside"]
        if self._mode in ("bar", "lines"):
            before = f", {self._ended} of them before" if self._ended else ""
            self._say(f"{self._total} to do{before}; files at a time: {workers}")

    def __enter__(self) -> Show:
        if self._mode == "bar":
            self._bar = tqdm(
                total=self._total, initial=self._ended, bar_format=_FORMAT, dynamic_ncols=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def tick(self, frames: int) -> None:
        """Some time has passed.

        Args:
            frames: translated since the beginning.
        """
        if self._bar is not None:
            rate = frames / max(self.seconds, 1e-3)
            bad = f", {self._bad} failed" if self._bad else ""
            self._bar.set_postfix_str(f"{rate:.1f} frames/s{bad}", refresh=True)

    def done(self, task: Task, outcome: Outcome) -> None:
        """A file is done."""
        self._count()
        if self._mode == "lines":
            frames = "" if outcome.frames is None else f"{outcome.frames} frames, "
            self._say(f"{self._place} {task.name}: {frames}{outcome.seconds:.1f} s")
        if self._mode != "nothing":
            for note in outcome.notes:
                self._say(f"warning: {note}")

    def failed(self, task: Task, outcome: Outcome) -> None:
        """A file failed, or was set aside."""
        self._bad += 1
        self._count()
        if self._mode != "nothing":
            self._say(f"{self._place} error: {naming(task.source, outcome.reason)}")

    def crashed(self, task: Task, outcome: Outcome) -> None:
        """A worker died over a file, which will be tried once more."""
        if self._mode != "nothing":
            self._say(f"warning: {task.source}: {outcome.reason}; it is tried once more at the end")

    def interrupted(self, running: int) -> None:
        """The user wants to stop."""
        if self._mode != "nothing":
            files = "the file" if running == 1 else f"the {running} files"
            self._say(f"finishing {files} being translated; Ctrl-C again stops now")

    @property
    def _place(self) -> str:
        return f"[{self._ended}/{self._total}]"

    def _count(self) -> None:
        self._ended += 1
        if self._bar is not None:
            self._bar.update()

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)


def naming(source: str, reason: str) -> str:
    """The reason with the file's name before it, unless it is there already."""
    return reason if source in reason else f"{source}: {reason}"
