"""A worker process: requests as JSON lines from its parent, answers as JSON lines to it.

It dies with its parent, however that dies: by the kernel's word on Linux, and everywhere because
the pipe of requests ends.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cyclegan_media.batch.task import Task, Told, Work
from cyclegan_media.errors import CycleganMediaError, UserError

_PER_SECOND = 4
"""Messages of progress at most."""
_PR_SET_PDEATHSIG = 1


Say = Callable[[dict[str, Any]], None]
"""Sends an answer to the parent."""


def main(parent: int) -> None:
    """Work until the parent has gone.

    Args:
        parent: its process id.
    """

    def begin() -> Callable[[dict[str, Any], Say], None]:
        import cyclegan_media.translate.translator  # noqa: F401  (loads torch)

        work = Work()
        return lambda request, say: _answer(work, request, say)

    serve(parent, begin)


def serve(parent: int, begin: Callable[[], Callable[[dict[str, Any], Say], None]]) -> None:
    """Answer one request after another until the parent has gone.

    Args:
        parent: its process id.
        begin: loads what is needed, and returns what answers a request.
    """
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")  # libraries' advice to programmers
    logger = logging.getLogger("cyclegan_media")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    answer = begin()
    say({"ready": True})
    while True:
        answer(json.loads(requests.get()), say)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)


def _listen(requests: queue.SimpleQueue[str]) -> None:
    """Take requests, also while a file is translated; when there can be no more, stop at once."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _answer(work: Work, request: dict[str, Any], say: Say) -> None:
    if "open" in request:
        try:
            where = (request[key] for key in ("open", "device", "precision", "runtime"))
            info = work.open(*where)
            say({"opened": info})
        except CycleganMediaError as error:
            say({"refused": str(error), "user": isinstance(error, UserError)})
        return
    say({"begun": True})
    outcome = work.translate(
        Task(**request["translate"]), seldom(lambda frames, total: say({"frames": frames}))
    )
    say({"ended": asdict(outcome)})


def seldom(told: Told) -> Told:
    """Pass on what is told, a few times a second at most."""
    last = 0.0

    def tell(frames: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > 1 / _PER_SECOND:
            last = time.monotonic()
            told(frames, total)

    return tell
