"""Train in processes that die, again and again, until the training is done.

    python training_kill.py FOLDER SEED KILLS

A killer of its own is forked for every attempt, so that torch is imported once. An attempt dies by
SIGKILL before its n-th change to the file system (a file opened for writing, a folder made, a
rename, a removal), n being drawn at random, or at a random moment, or in the middle of writing a
checkpoint's file. ``FOLDER/run`` is where the training ends, ``FOLDER`` holds its pictures; how
each attempt ended is printed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from training_runs import recipe

from cyclegan_media.datasets.discover import find_files
from cyclegan_media.training import checkpoint, train

WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_change(number: int, run: Path) -> None:
    """Before the ``number``-th change in ``run``."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if (opened or event in WRITES) and str(run) in str(arguments[0]):
            seen += 1
            if seen == number:
                die()

    sys.addaudithook(watch)


def die_after(seconds: float) -> None:
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def die_in_write(number: int) -> None:
    """Halfway through the ``number``-th file that a checkpoint writes by torch."""
    save: Callable[..., None] = torch.save
    seen = 0

    def half(content: Any, file: Any) -> None:
        nonlocal seen
        seen += 1
        save(content, file)
        if seen == number:
            file.flush()
            os.truncate(file.fileno(), file.tell() // 2)
            die()

    checkpoint.torch.save = half  # type: ignore[attr-defined]


def attempt(folder: Path, prepare: Callable[[], None]) -> bool:
    """Train in a forked process; whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            run = folder / "run"
            files = find_files(folder / "a", folder / "b", ("image", "video"))
            resume = (run / "recipe.yaml").exists()
            train(recipe(), files, run, resume=resume, device="cpu", progress=False)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("an attempt failed by itself")
    return os.WIFEXITED(status)


def main(folder: Path, seed: int, kills: int) -> None:
    rng = random.Random(seed)
    run = folder / "run"
    for _ in range(kills):
        kind = rng.choice(["change", "change", "moment", "write"])
        number, seconds = rng.randint(1, 60), rng.uniform(0, 1)
        prepare: dict[str, Callable[[], None]] = {
            "change": lambda n=number: die_before_change(n, run),  # type: ignore[misc]
            "moment": lambda s=seconds: die_after(s),  # type: ignore[misc]
            "write": lambda n=number: die_in_write(1 + n % 4),  # type: ignore[misc]
        }
        done = attempt(folder, prepare[kind])
        print(kind, number, f"{seconds:.2f}", "done" if done else "killed", flush=True)
    attempt(folder, lambda: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
