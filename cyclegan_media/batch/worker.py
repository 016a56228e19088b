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
from dataclasses import asdict
from typing import IO, Any

from cyclegan_media.batch.task import Task, Work
from cyclegan_media.errors import CycleganMediaError, UserError

_PER_SECOND = 4
"""Messages of progress at most."""
_PR_SET_PDEATHSIG = 1


def main(parent: int) -> None:
    """Work until the parent has gone.

    Args:
        parent: its process id.
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
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    import cyclegan_media.translate.translator  # noqa: F401  (loads torch)

    work = Work()
    _say(answers, {"ready": True})
    while True:
        _answer(work, json.loads(requests.get()), answers)


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


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _answer(work: Work, request: dict[str, Any], answers: IO[str]) -> None:
    if "open" in request:
        try:
            info = work.open(request["open"], request["device"], request["precision"])
            _say(answers, {"opened": info})
        except CycleganMediaError as error:
            _say(answers, {"refused": str(error), "user": isinstance(error, UserError)})
        return
    last = 0.0

    def told(frames: int) -> None:
        nonlocal last
        if time.monotonic() - last > 1 / _PER_SECOND:
            last = time.monotonic()
            _say(answers, {"frames": frames})

    _say(answers, {"begun": True})
    outcome = work.translate(Task(**request["translate"]), told)
    _say(answers, {"ended": asdict(outcome)})
