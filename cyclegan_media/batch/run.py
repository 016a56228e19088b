"""A batch from beginning to end: plan, hand out, keep the list, report."""

from __future__ import annotations

import shutil
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cyclegan_media.batch import remote
from cyclegan_media.batch.inputs import find_entries
from cyclegan_media.batch.lock import only_one
from cyclegan_media.batch.outputs import STATE_PREFIX, check_inside, remove_partials
from cyclegan_media.batch.plan import Destination, ModelInfo, make_plan
from cyclegan_media.batch.report import Totals, write_reports
from cyclegan_media.batch.settings import BatchOptions
from cyclegan_media.batch.show import Show
from cyclegan_media.batch.task import Outcome, Task
from cyclegan_media.batch.worklist import WorkList
from cyclegan_media.errors import RunError, UserError, from_os_error

WORK_LIST = f"{STATE_PREFIX}.sqlite"
LOCK = f"{STATE_PREFIX}.lock"
SCRATCH = f"{STATE_PREFIX}.scratch"
_TICK = 0.25
"""Seconds between two looks at clocks and the progress shown."""


class Engine(Protocol):
    """Where files are translated."""

    @property
    def free(self) -> int:
        """Files that could be given out now."""

    @property
    def frames(self) -> int:
        """Frames translated since the start."""

    @property
    def threads(self) -> int:
        """That each file is translated with: the order of sums, and so their last bit, depends on
        them, and must not on what is left to do."""

    def describe(self, models: Sequence[str]) -> dict[str, ModelInfo]: ...

    def submit(self, task: Task, *, alone: bool = False) -> None: ...

    def wait(self, seconds: float) -> list[Outcome]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Result:
    """How a batch ended."""

    totals: Totals
    folder: Path
    """Of work list and reports."""
    stopped: bool
    """Whether it was interrupted before all was done."""


def run_batch(
    jobs: Sequence[str], output: str, options: BatchOptions, show: Show | None = None
) -> Result:
    """Translate all of ``jobs`` into the folder or URL ``output``, or what is left of them.

    See :func:`cyclegan_media.batch.inputs.find_entries` for what a job can be.

    Args:
        show: is told of what happens.

    Raises:
        UserError: something is wrong before any work: see :func:`find_entries`,
            :func:`make_plan` and :meth:`WorkList.merge`; or another batch writes there now.
        RunError: workers cannot be started, or the disk is full.
        KeyboardInterrupt: interrupted twice. What was done is kept.
    """
    show = show or Show()
    destination, state = _places(output, options)
    entries = find_entries(jobs, destination.folder, options)
    _make(destination.folder, state)
    with only_one(state / LOCK), closing(_engine(options)) as engine:
        scratch = state / SCRATCH
        _remove(scratch)  # of a batch that was killed
        show.opening(len(entries))
        models = engine.describe(list(dict.fromkeys(entry.model for entry in entries)))
        plan = make_plan(entries, models, destination, options.precision, options.runtime)
        with WorkList(state / WORK_LIST) as work:
            if destination.folder is not None:
                for target in work.running():
                    remove_partials(check_inside(destination.folder, target, str(work.path)))
            work.merge(
                plan,
                _existing(destination),
                overwrite=options.overwrite,
                restart=options.restart,
                retry=options.retry,
            )
            batch = _Batch(work, engine, destination, scratch, options, show)
            try:
                batch.run()
            finally:
                engine.close()
                batch.put_back()
                _remove(scratch)
                totals = write_reports(state, work, output, batch.seconds)
            return Result(totals, state, batch.stopped)


def _places(output: str, options: BatchOptions) -> tuple[Destination, Path]:
    """Where outputs go, and the local folder of work list and report."""
    if not remote.is_url(output) or remote.local_path(output) is not None:
        folder = remote.local_path(output) or Path(output)
        destination = Destination(folder.absolute())
    else:
        remote.check_url(output, output)
        if output.startswith("http"):
            raise UserError(f"{output}: is a URL that nothing can be written to")
        if options.state is None:
            raise UserError(
                f"{output}: is not on this machine; name a local folder for work list and report"
                " with --state"
            )
        destination = Destination(None, output.rstrip("/"))
    state = (options.state or destination.folder or Path()).absolute()
    return destination, state


def _make(*folders: Path | None) -> None:
    for folder in filter(None, folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, folder, "making the folder of outputs") from error


def _remove(scratch: Path) -> None:
    if scratch.is_symlink():
        scratch.unlink()
    shutil.rmtree(scratch, ignore_errors=True)


def _existing(destination: Destination) -> Any:
    """A function that tells whether an output is there."""
    if destination.folder is not None:
        folder = destination.folder
        return lambda name: (folder / name).exists()
    assert destination.url is not None
    return remote.existing(destination.url).__contains__


def _engine(options: BatchOptions) -> Engine:
    if options.engine == "ray":
        from cyclegan_media.batch.ray_engine import RayEngine

        return RayEngine(options)
    from cyclegan_media.batch.local import LocalEngine

    return LocalEngine(options)


class _Batch:
    """The files to do, and those being done."""

    def __init__(
        self,
        work: WorkList,
        engine: Engine,
        destination: Destination,
        scratch: Path,
        options: BatchOptions,
        show: Show,
    ) -> None:
        self._work, self._engine, self._destination = work, engine, destination
        self._scratch, self._options, self._show = scratch, options, show
        self._running: dict[int, Task] = {}
        plain, apart = work.pending()
        self._plain, self._apart = deque(plain), deque(apart)
        self._interrupts = 0
        self._disk_full: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether something is left to do."""
        return bool(self._plain or self._apart or self._running)

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return self._show.seconds

    def run(self) -> None:
        """Do all files, or those that are running when the user interrupts.

        Raises:
            RunError: the disk is full.
        """
        self._show.begin(self._work.counts(), self._engine.free)
        with self._show, self._interruptible():
            while self._running or (self.stopped and not self._is_ending()):
                self._hand_out()
                for outcome in self._engine.wait(_TICK):
                    self._ended(outcome)
                self._show.tick(self._engine.frames)
        if self._disk_full is not None:
            raise RunError(
                f"{self._disk_full}; what was done is kept: make room, and run the same command"
                " again"
            )

    def put_back(self) -> None:
        """What was being done is pending again, and nothing of it stays."""
        for number, task in self._running.items():
            self._clean(task)
            self._work.again(number)
            self._plain.append(number)
        self._running.clear()

    def _is_ending(self) -> bool:
        return self._interrupts > 0 or self._disk_full is not None

    def _hand_out(self) -> None:
        while not self._is_ending() and self._plain and self._engine.free:
            self._submit(self._plain.popleft())
        if not self._is_ending() and self._apart and not self._plain and not self._running:
            # Its last worker died over it: now it shares the memory with nobody.
            self._submit(self._apart.popleft(), alone=True)

    def _submit(self, number: int, alone: bool = False) -> None:
        row = self._work.start(number)
        folder = self._destination.folder
        task = self._running[number] = Task(
            number,
            row.source,
            row.target,
            None if folder is None else str(folder),
            self._destination.url,
            str(self._scratch),
            row.model,
            row.settings,
            self._options.device,
            self._options.precision,
            threads=self._engine.threads,
            overwrite=self._options.overwrite or row.attempts > 1,
            max_download=self._options.max_download,
            runtime=self._options.runtime,
        )
        self._engine.submit(task, alone=alone)

    def _ended(self, outcome: Outcome) -> None:
        task = self._running.pop(outcome.number)
        number, work = outcome.number, self._work
        if outcome.kind == "done":
            work.done(number, outcome.seconds, outcome.frames, outcome.notes)
            self._show.done(task, outcome)
            return
        self._clean(task)
        if outcome.kind == "not begun":
            work.again(number)
            self._plain.append(number)
        elif outcome.disk_full:
            self._disk_full = outcome.reason
            work.again(number)
            self._plain.append(number)
        elif outcome.kind == "crashed" and work.row(number).crashes == 0:
            work.again(number, crashed=outcome.reason)
            self._apart.append(number)
            self._show.crashed(task, outcome)
        elif outcome.kind == "failed":
            work.failed(number, "failed", outcome.seconds, outcome.reason, outcome.trace)
            self._show.failed(task, outcome)
        else:
            work.failed(number, "set aside", outcome.seconds, outcome.reason)
            self._show.failed(task, outcome)

    def _clean(self, task: Task) -> None:
        """Remove what a killed worker left; one that failed has removed it itself."""
        if task.folder is not None:
            remove_partials(Path(task.folder) / task.name)
        for file in self._scratch.glob(f"{task.number}-*"):
            file.unlink(missing_ok=True)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C finish the running files, and the second one stop now."""

        def on_signal(number: int, frame: object) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
            self._show.interrupted(len(self._running))

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
