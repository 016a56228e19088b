"""Functions run side by side, each in a process of its own, with their progress on one screen.

The demonstration's networks are too small to keep two cores busy, but two trainings do. Each
process computes on one thread, which also makes its results the same on any number of cores.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import IO, Any

from tqdm import tqdm

from cyclegan_media.errors import CycleganMediaError, RunError

Job = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function that can be imported, and its arguments; both are pickled, and so is its result."""


def run_apart(jobs: Mapping[str, Job]) -> dict[str, Any]:
    """Run all jobs at once; what they print to stderr appears here under their names.

    Returns:
        Each job's result by its name.

    Raises:
        CycleganMediaError: as the first job that failed raised it; the others are stopped.
        RunError: a job's process ended without a result.
    """
    processes: dict[str, subprocess.Popen[bytes]] = {}
    screens: list[threading.Thread] = []
    try:
        for name, job in jobs.items():
            processes[name] = process = _start(job)
            bar = tqdm(bar_format="{desc}", position=len(screens), leave=False)
            screens.append(threading.Thread(target=_show, args=(name, process.stderr, bar)))
            screens[-1].start()
        with ThreadPoolExecutor(len(jobs) or 1) as waiting:
            try:
                futures = {waiting.submit(_result, *item): item[0] for item in processes.items()}
                results = {futures[done]: done.result() for done in as_completed(futures)}
                return {name: results[name] for name in jobs}
            finally:
                for process in processes.values():
                    process.terminate()
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
        for screen in screens:
            screen.join()


def _start(job: Job) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(pickle.dumps(job))
    return process


def _result(name: str, process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    content = process.stdout.read()
    if process.wait() != 0 or not content:
        raise RunError(f"the process of the {name} half ended with code {process.returncode}")
    result = pickle.loads(content)
    if isinstance(result, CycleganMediaError):
        raise result
    return result


def _show(name: str, pipe: IO[bytes], bar: tqdm[Any]) -> None:
    """Lines that are complete go above the bars; the one being rewritten is the bar."""
    text = ""
    while chunk := os.read(pipe.fileno(), 4096):
        *lines, text = re.split(r"(?<=\n)", text + chunk.decode(errors="replace"))
        for line in lines:
            shown = line.rstrip().rpartition("\r")[2]
            if shown:
                tqdm.write(f"{name}: {shown}", file=sys.stderr)
        text = text.rpartition("\r")[2]
        bar.set_description_str(_fitted(f"{name}: {text}") if text else "")
    pipe.close()
    bar.close()


def _fitted(line: str) -> str:
    """One line of the terminal; the drawn part of a bar goes first, its figures stay."""
    width = shutil.get_terminal_size().columns - 1
    if len(line) > width:
        line = re.sub(r"\|.*?\| *", "", line, count=1)
    return line[:width]


def say(message: str) -> None:
    """Print what comes next, above the bar if there is one."""
    tqdm.write(message, file=sys.stderr)


def _work() -> None:
    """What a process does: one job from stdin, its result or its error to stdout."""
    warnings.simplefilter("ignore")  # libraries' advice to programmers
    function, arguments = pickle.loads(sys.stdin.buffer.read())
    # What a library prints must not get into the result.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            result = function(*arguments)
        except CycleganMediaError as error:
            result = error
        out.write(pickle.dumps(result))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # the parent says so
        _work()
