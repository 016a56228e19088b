"""Worker processes on this machine: each a fresh interpreter that translates file after file."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cyclegan_media.batch import machine
from cyclegan_media.batch.plan import ModelInfo
from cyclegan_media.batch.process import WorkerProcess
from cyclegan_media.batch.settings import BatchOptions
from cyclegan_media.batch.task import Outcome, Task
from cyclegan_media.errors import RunError, UserError

_MAX_FALSE_STARTS = 3
"""Workers in a row that die before they can be asked anything."""


class LocalEngine:
    """See :class:`cyclegan_media.batch.run.Engine`."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: dict[int, _Worker] = {}
        self._false_starts = 0
        self._gpus = 0
        self._frames = 0
        self.places = options.workers or machine.auto_workers()

    @property
    def threads(self) -> int:
        return machine.threads(self.places)

    @property
    def free(self) -> int:
        return self.places - sum(worker.task is not None for worker in self._workers.values())

    @property
    def frames(self) -> int:
        """Frames translated since the start, those of files that are not yet complete included."""
        return self._frames + sum(worker.frames for worker in self._workers.values())

    def describe(self, models: Sequence[str]) -> dict[str, ModelInfo]:
        """Have a worker open every model; see :meth:`cyclegan_media.batch.task.Work.open`.

        Raises:
            UserError: one is no model.
            RunError: the worker died over one.
        """
        worker = self._idle() if models else None
        found = {}
        for model in models:
            assert worker is not None
            options = self._options
            worker.send(
                {
                    "open": model,
                    "device": options.device,
                    "precision": options.precision,
                    "runtime": options.runtime,
                }
            )
            answer: dict[str, Any] | None = {"ready": True}
            while answer is not None and "ready" in answer:
                _, answer = self._events.get()
            if answer is None:
                self._workers.clear()
                raise RunError(f"{model}: cannot be opened: {worker.end()}")
            worker.ready = True
            if "refused" in answer:
                raise (UserError if answer["user"] else RunError)(answer["refused"])
            info = answer["opened"]
            found[model] = ModelInfo(**{**info, "directions": tuple(info["directions"])})
        self._gpus = max((info.gpus for info in found.values()), default=0)
        if self._options.workers is None:
            self.places = machine.auto_workers(self._gpus)
        return found

    def submit(self, task: Task, *, alone: bool = False) -> None:
        """Give a file to a worker; ``alone``, to a fresh one that ends after it."""
        if alone:
            self._end_idle()
        worker = self._idle()
        worker.task, worker.last = task, alone
        worker.given = time.monotonic()
        worker.send({"translate": asdict(task)})

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, after at most so many seconds.

        Raises:
            RunError: workers cannot be started.
        """
        outcomes = []
        with suppress(queue.Empty):
            outcomes += self._take(*self._events.get(timeout=seconds))
            while True:
                outcomes += self._take(*self._events.get_nowait())
        return outcomes + self._late()

    def close(self) -> None:
        """End all workers: those that are idle by themselves, the others at once."""
        for worker in self._workers.values():
            if worker.task is not None:
                worker.kill()
        self._end_idle()
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _idle(self) -> _Worker:
        for worker in self._workers.values():
            if worker.task is None:
                return worker
        index = next(k for k in range(self.places + 1) if k not in self._workers)
        worker = self._workers[index] = _Worker(index, self._environment(index), self._events)
        return worker

    def _environment(self, index: int) -> dict[str, str]:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(self.threads)
        if self._gpus > 1:
            visible = environment.get("CUDA_VISIBLE_DEVICES", "")
            names = visible.split(",") if visible else [str(k) for k in range(self._gpus)]
            environment["CUDA_VISIBLE_DEVICES"] = names[index % self._gpus]
        return environment

    def _end_idle(self) -> None:
        idle = [worker for worker in self._workers.values() if worker.task is None]
        for worker in idle:
            worker.ask_to_end()
        for worker in idle:
            worker.end()
            del self._workers[worker.index]

    def _take(self, worker: _Worker, message: dict[str, Any] | None) -> list[Outcome]:
        if self._workers.get(worker.index) is not worker:
            return []  # the last words of one that was ended
        if message is None:
            return self._died(worker)
        if "ready" in message:
            worker.ready, self._false_starts = True, 0
        elif "begun" in message:
            worker.begun = time.monotonic()
        elif "frames" in message:
            worker.frames = message["frames"]
        elif "ended" in message:
            ended = message["ended"]
            outcome = Outcome(**{**ended, "notes": tuple(ended["notes"])})
            self._frames += outcome.frames or 0
            worker.task, worker.begun, worker.frames = None, None, 0
            if worker.last:
                self._end_idle()
            return [outcome]
        return []

    def _died(self, worker: _Worker) -> list[Outcome]:
        del self._workers[worker.index]
        how = worker.end()
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _MAX_FALSE_STARTS:
                raise RunError(f"worker processes cannot be started: {how}")
        if worker.task is None:
            return []
        number = worker.task.number
        if not worker.ready:
            return [Outcome(number, "not begun")]
        return [Outcome(number, "crashed", time.monotonic() - worker.given, reason=how)]

    def _late(self) -> list[Outcome]:
        """Kill the workers whose files have had their time."""
        limit = self._options.timeout
        late = []
        for worker in list(self._workers.values()):
            if limit is None or worker.begun is None or worker.task is None:
                continue
            seconds = time.monotonic() - worker.begun
            if seconds > limit:
                worker.kill()
                worker.end()
                del self._workers[worker.index]
                reason = f"was not done after {limit:g} seconds (--timeout)"
                late.append(Outcome(worker.task.number, "late", seconds, reason=reason))
        return late


class _Worker(WorkerProcess):
    """A worker, and what it is at."""

    def __init__(
        self,
        index: int,
        environment: dict[str, str],
        events: queue.Queue[tuple[_Worker, dict[str, Any] | None]],
    ) -> None:
        super().__init__("cyclegan_media.batch.worker", environment, events)
        self.index = index
        self.task: Task | None = None
        self.ready = self.last = False
        self.given = 0.0
        self.begun: float | None = None
        self.frames = 0
