"""The same work on a Ray cluster: a Ray task per file, which Ray places where there is room.

Ray keeps the processes, and with them the models they have loaded; what a crash or a time-out means
for a file is decided as for local workers. All machines must have this package, and see the same
paths, or be given URLs.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cyclegan_media.batch import remote
from cyclegan_media.batch.plan import ModelInfo
from cyclegan_media.batch.settings import BatchOptions
from cyclegan_media.batch.task import Outcome, Task, Work
from cyclegan_media.errors import CycleganMediaError, RunError, UserError

_PATIENCE = 10.0
"""Seconds that Ray has to kill a task."""

_work = Work()
"""Of each process of Ray."""


class RayEngine:
    """See :class:`cyclegan_media.batch.run.Engine`.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, options: BatchOptions) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError(
                "--engine ray: Ray is not installed; pip install 'cyclegan-media[ray]'"
            ) from error
        self._ray, self._options = ray, options
        self._running: dict[Any, tuple[Task, float]] = {}
        self.frames = 0
        self.threads = 1  # as many as cores are asked for
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _start(ray, options.ray_address)
        has = ray.cluster_resources()
        on_gpus = (
            options.runtime == "torch"
            and options.device in ("auto", "cuda")
            and has.get("GPU", 0) > 0
        )
        self._needs = {"num_cpus": 1, "num_gpus": int(on_gpus)}
        self._places = options.workers or max(1, int(has.get("GPU" if on_gpus else "CPU", 1)))

    @property
    def free(self) -> int:
        return self._places - len(self._running)

    def describe(self, models: Sequence[str]) -> dict[str, ModelInfo]:
        """Have a process open every model; see :meth:`cyclegan_media.batch.task.Work.open`.

        Raises:
            UserError: one is no model.
            RunError: the process died over one.
        """
        found = {}
        for model in models:
            place = str(Path(model).absolute())
            options = self._options
            where = (place, options.device, options.precision, options.runtime)
            ref = self._remote(_open).remote(*where)
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                raise RunError(f"{model}: cannot be opened: {_in_words(error)}") from error
            if "refused" in answer:
                raise (UserError if answer["user"] else RunError)(answer["refused"])
            found[model] = ModelInfo(**answer)
        return found

    def submit(self, task: Task, *, alone: bool = False) -> None:
        """Give a file to Ray; ``alone``, to a process that has done nothing else."""
        # Ray starts another process for another environment, and ends it when it is not used.
        apart = {"env_vars": {"CYCLEGAN_MEDIA_APART": f"{task.number}"}} if alone else None
        # Its processes work in folders of their own.
        source = task.source if remote.is_url(task.source) else str(Path(task.source).absolute())
        there = replace(task, source=source, model=str(Path(task.model).absolute()))
        ref = self._remote(_translate, runtime_env=apart).remote(asdict(there))
        self._running[ref] = task, time.monotonic()

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, after at most so many seconds."""
        if not self._running:
            time.sleep(seconds)
            return []
        refs = list(self._running)
        ready, _ = self._ray.wait(refs, timeout=seconds)
        ready += self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        return [self._ended(ref) for ref in dict.fromkeys(ready)] + self._late()

    def close(self) -> None:
        """Kill what is running, and leave the cluster."""
        for ref in list(self._running):
            self._kill(ref)
        self._running.clear()
        if self._is_ours and self._ray.is_initialized():
            self._ray.shutdown()

    def _remote(self, function: Any, **options: Any) -> Any:
        # Which files are tried again is the work list's to say, not Ray's.
        return self._ray.remote(function).options(**self._needs, max_retries=0, **options)

    def _ended(self, ref: Any) -> Outcome:
        task, start = self._running.pop(ref)
        try:
            outcome = Outcome(**self._ray.get(ref))
        except self._ray.exceptions.RayError as error:
            spent = time.monotonic() - start
            return Outcome(task.number, "crashed", spent, reason=_in_words(error))
        self.frames += outcome.frames or 0
        return outcome

    def _late(self) -> list[Outcome]:
        limit = self._options.timeout
        late = []
        for ref, (task, start) in list(self._running.items()):
            seconds = time.monotonic() - start
            if limit is not None and seconds > limit:
                del self._running[ref]
                self._kill(ref)
                reason = f"was not done after {limit:g} seconds (--timeout)"
                late.append(Outcome(task.number, "late", seconds, reason=reason))
        return late

    def _kill(self, ref: Any) -> None:
        self._ray.cancel(ref, force=True)
        self._ray.wait([ref], timeout=_PATIENCE)


def _start(ray: Any, address: str | None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    local = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"--engine ray: no cluster can be used: {reason}") from error
    finally:
        # Ray has a way of its own to end by a signal.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _open(model: str, device: str, precision: str, runtime: str) -> dict[str, Any]:
    """In a process of Ray."""
    try:
        return _work.open(model, device, precision, runtime)
    except CycleganMediaError as error:
        return {"refused": str(error), "user": isinstance(error, UserError)}


def _translate(fields: dict[str, Any]) -> dict[str, Any]:
    """In a process of Ray; local copies are made where that runs."""
    with tempfile.TemporaryDirectory(prefix="cyclegan-media-batch-") as scratch:
        task = replace(Task(**fields), scratch=scratch)
        return asdict(_work.translate(task, lambda frames, total: None))


def _in_words(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"its process in Ray died: {type(error).__name__}: {' '.join(lines[:1])[:300]}"
