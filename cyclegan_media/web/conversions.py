"""Conversions in their turn: a few worker processes, and tickets for what waits for one."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cyclegan_media.batch import machine
from cyclegan_media.batch.process import WorkerProcess
from cyclegan_media.batch.settings import MAX_DOWNLOAD, FileSettings
from cyclegan_media.batch.task import Task
from cyclegan_media.errors import UserError
from cyclegan_media.files import PARTIAL_MARK
from cyclegan_media.media.limits import MAX_HOURS_VARIABLE
from cyclegan_media.web.settings import WebSettings

State = Literal["waiting", "running", "done", "failed", "cancelled"]
_MODULE = "cyclegan_media.web.worker"
_TICK = 0.1
"""Seconds between two looks at whether a conversion is still wanted."""
_LOOK_SECONDS = 60.0


@dataclass(eq=False)
class Ticket:
    """One conversion, from its request to its end."""

    task: Task
    state: State = "waiting"
    begun: float | None = None
    """By :func:`time.monotonic`, when a worker took it."""
    frames: int = 0
    total: int | None = None
    """Frames of the video; ``None`` where it does not say, or it is none."""
    reason: str = ""
    """Why it failed, for its user."""
    notes: tuple[str, ...] = ()
    _wanted: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        self._wanted.set()

    @property
    def ended(self) -> bool:
        return self.state not in ("waiting", "running")

    @property
    def wanted(self) -> bool:
        return self._wanted.is_set()

    @property
    def output(self) -> Path:
        """What it makes, once it is done."""
        return Path(self.task.folder or "", self.task.name)

    def cancel(self) -> None:
        """Give up on it; its worker stops within moments."""
        self._wanted.clear()


class Conversions:
    """The workers of a server.

    Args:
        scratch: a folder for what workers need to write aside.
    """

    def __init__(self, settings: WebSettings, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._looker = _Asked(self._environment(1))
        self._number = 0
        self._runners = [
            threading.Thread(target=self._run, daemon=True) for _ in range(settings.workers)
        ]
        for runner in self._runners:
            runner.start()

    def submit(
        self,
        source: Path,
        target: Path,
        model: str,
        settings: FileSettings,
        voice: tuple[str, str] | None = None,
    ) -> Ticket:
        """Have a file translated when its turn comes.

        Args:
            voice: of a clip: the model that converts its voice, too, and the direction.

        Raises:
            UserError: too many wait already.
        """
        with self._changed:
            waiting = sum(ticket.wanted for ticket in self._waiting)
            if waiting >= self._settings.max_waiting:
                raise UserError(f"{waiting} conversions are waiting already; try again later")
            self._number += 1
            ticket = Ticket(
                Task(
                    number=self._number,
                    source=str(source),
                    name=target.name,
                    folder=str(target.parent),
                    url=None,
                    scratch=str(self._scratch),
                    model=model,
                    settings=settings.model_dump_json(),
                    device=self._settings.device,
                    precision=self._settings.precision,
                    threads=machine.threads(self._settings.workers),
                    overwrite=False,
                    max_download=MAX_DOWNLOAD,
                    voice=None if voice is None else voice[0],
                    voice_direction=None if voice is None else voice[1],
                )
            )
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def before(self, ticket: Ticket) -> int:
        """How many wait before it."""
        with self._changed:
            ahead = [other for other in self._waiting if other.wanted or other is ticket]
            return ahead.index(ticket) if ticket in ahead else 0

    def look(self, path: Path, folder: Path) -> dict[str, Any]:
        """What a file is: the fields of :class:`cyclegan_media.web.look.Look`.

        Raises:
            UserError: it cannot be read, or is too long.
        """
        request = {
            "look": str(path),
            "folder": str(folder),
            "max_seconds": self._settings.max_seconds,
        }
        answer = self._looker.ask(request, _LOOK_SECONDS)
        if "refused" in answer:
            raise UserError(answer["refused"].replace(f"{path}: ", f"{path.name}: "))
        return answer

    def close(self) -> None:
        """Stop all work."""
        with self._changed:
            self._closed = True
            for ticket in self._waiting:
                ticket.cancel()
            self._changed.notify_all()
        for runner in self._runners:
            runner.join()
        self._looker.close()

    def _environment(self, workers: int) -> dict[str, str]:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(machine.threads(workers))
        hours = self._settings.max_seconds / 3600
        # Of what does not say how long it is, the worker finds out when it reads it.
        environment.setdefault(MAX_HOURS_VARIABLE, f"{hours:.6g}")
        return environment

    def _run(self) -> None:
        process: WorkerProcess | None = None
        events: queue.Queue[tuple[WorkerProcess, dict[str, Any] | None]] = queue.Queue()
        while (ticket := self._next()) is not None:
            if process is None:
                process = WorkerProcess(_MODULE, self._environment(self._settings.workers), events)
            ticket.begun, ticket.state = time.monotonic(), "running"
            process.send({"translate": asdict(ticket.task)})
            end = self._follow(ticket, process, events)
            if not end.goes_on:
                process.kill()
                how = process.end()
                process = None
                _remove_unfinished(ticket.output)
                end = replace(end, reason=end.reason or f"{ticket.output.name}: {how}")
            # Whoever waits for it acts on its state, so that comes last.
            ticket.reason, ticket.notes = end.reason, end.notes
            ticket.state = end.state
        if process is not None:
            process.end()

    def _next(self) -> Ticket | None:
        with self._changed:
            while True:
                while self._waiting and not self._closed:
                    ticket = self._waiting.popleft()
                    if ticket.wanted:
                        return ticket
                    ticket.state = "cancelled"
                if self._closed:
                    for ticket in self._waiting:
                        ticket.state = "cancelled"
                    return None
                self._changed.wait(_TICK)

    def _follow(
        self,
        ticket: Ticket,
        process: WorkerProcess,
        events: queue.Queue[tuple[WorkerProcess, dict[str, Any] | None]],
    ) -> _End:
        """Wait for a conversion's end."""
        assert ticket.begun is not None
        while True:
            if not ticket.wanted or self._closed:
                return _End("cancelled", "cancelled", goes_on=False)
            if time.monotonic() - ticket.begun > self._settings.timeout:
                reason = f"was not done after {self._settings.timeout:g} seconds"
                return _End("failed", reason, goes_on=False)
            try:
                of, answer = events.get(timeout=_TICK)
            except queue.Empty:
                continue
            if of is not process:
                continue  # the last words of one that was ended
            if answer is None:
                return _End("failed", goes_on=False)
            if "frames" in answer:
                ticket.frames, ticket.total = answer["frames"], answer["total"]
            elif "ended" in answer:
                ended = answer["ended"]
                state: State = "done" if ended["kind"] == "done" else "failed"
                return _End(state, ended["reason"], tuple(ended["notes"]))


@dataclass(frozen=True)
class _End:
    """How a conversion ended."""

    state: State
    reason: str = ""
    """Empty where its worker died."""
    notes: tuple[str, ...] = ()
    goes_on: bool = True
    """Whether the worker can do the next."""


def _remove_unfinished(output: Path) -> None:
    """Remove what a worker that was killed had begun to write."""
    for path in output.parent.glob(f".*{PARTIAL_MARK}*"):
        if path.name.startswith(f".{output.stem}{PARTIAL_MARK}"):
            path.unlink(missing_ok=True)


class _Asked:
    """A process that answers one question at a time, and is begun anew when it died over one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._events: queue.Queue[tuple[WorkerProcess, dict[str, Any] | None]] = queue.Queue()
        self._process: WorkerProcess | None = None
        self._turn = threading.Lock()

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        with self._turn:
            self._process = self._process or WorkerProcess(_MODULE, self._environment, self._events)
            self._process.send(request)
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                try:
                    of, answer = self._events.get(timeout=left)
                except queue.Empty:
                    break
                if of is self._process and answer is None:
                    self._process.end()
                    self._process = None
                    return {"refused": "this file cannot be read: reading it ended the reader"}
                if of is self._process and answer is not None and "ended" in answer:
                    found: dict[str, Any] = answer["ended"]
                    return found
            self._process.kill()
            self._process.end()
            self._process = None
            return {"refused": f"this file cannot be read within {seconds:g} seconds"}

    def close(self) -> None:
        with self._turn:
            if self._process is not None:
                self._process.end()
                self._process = None
