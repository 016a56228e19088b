"""A worker process on this machine: a fresh interpreter that is asked and answers in JSON lines."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any

_MAX_LINE = 1 << 20
PATIENCE = 5.0
"""Seconds that an idle worker has to end by itself."""


class WorkerProcess:
    """One process, and the threads that take its words.

    Args:
        module: its function ``main(parent)`` is what the process runs; see
            :func:`cyclegan_media.batch.worker.serve`.
        environment: of the process.
        events: gets ``(this, answer)`` for each answer, and ``(this, None)`` when it has ended.
    """

    def __init__(
        self,
        module: str,
        environment: dict[str, str],
        events: queue.Queue[tuple[Any, dict[str, Any] | None]],
    ) -> None:
        self._events = events
        self._words: deque[str] = deque(maxlen=20)
        # The worker imports what its parent would, wherever it was started.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from {module} import main;"
            f" main({os.getpid()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # A group of its own: Ctrl-C in the terminal goes to the parent alone.
            process_group=0 if os.name == "posix" else None,
        )
        self._threads = [
            threading.Thread(target=run, daemon=True) for run in (self._hear, self._overhear)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Give it a request. That it has died is heard from the other pipe."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers, suppress(ValueError):
            while line := answers.readline(_MAX_LINE):
                self._events.put((self, json.loads(line)))
        self._events.put((self, None))

    def _overhear(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as words:
            while line := words.readline(4096):
                self._words.append(line.decode(errors="replace").strip())

    def ask_to_end(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def kill(self) -> None:
        """Kill it and what it may have started."""
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def end(self) -> str:
        """Wait until it has ended, by force if need be; how it did, in words."""
        self.ask_to_end()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        code = self._process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)
        return _in_words(code, next((word for word in reversed(self._words) if word), ""))


def _in_words(code: int, last_word: str) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        how = f"its process was killed by {name}"
        if name == "SIGKILL":
            how += ", as the system does when memory runs out"
    else:
        how = f"its process ended with code {code}"
    return f"{how} ({last_word[:300]})" if last_word else how
