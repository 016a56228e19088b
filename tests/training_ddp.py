"""Train in several processes: ``training_ddp.py FOLDER RUN[:STOP[:RECIPE]] …``.

Under torchrun this is one of its processes. Otherwise it forks two for each run, with what
torchrun puts into their environment, so that torch is imported once. STOP is the step in which
the second process is told to stop. At the end each process writes what it holds to
``RUN/held-RANK-STEPS.pt``. A run that exists is resumed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
import training_runs

from cyclegan_media.datasets.discover import find_files
from cyclegan_media.training import train, trainer

RANKS = 2


def job(folder: Path, description: str) -> None:
    """Train as the process that the environment says."""
    name, stop, content = (*description.split(":"), "", "")[:3]
    run = folder / name
    states: list[Any] = []
    update = trainer.update_average

    def watch(state: Any) -> None:
        update(state)
        states[:] = [state]
        if stop and os.environ["RANK"] == "1" and state.steps == int(stop) - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.update_average = watch
    recipe = training_runs.recipe(getattr(training_runs, content or "EXACT"))
    files = find_files(folder / "a", folder / "b", ("image", "video"))
    resume = (run / "recipe.yaml").exists()
    result = train(recipe, files, run, resume=resume, device="cpu", progress=False)
    held = {
        "networks": states[0].networks.state_dict(),
        "average": states[0].average.state_dict(),
        "random": torch.get_rng_state(),
        "histories": states[0].histories.state_dict(),
    }
    torch.save(held, run / f"held-{os.environ['RANK']}-{result.steps}.pt")


def fork(folder: Path, description: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(RANKS):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(
                    MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=str(port),
                    TORCHELASTIC_RUN_ID="none",
                    GROUP_RANK="0",
                    **{key: str(rank) for key in ("RANK", "LOCAL_RANK")},
                    **{key: str(RANKS) for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
                )
                job(folder, description)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    if any(ends):
        raise SystemExit(f"{description}: a process failed")


if __name__ == "__main__":
    for description in sys.argv[2:]:
        (job if "RANK" in os.environ else fork)(Path(sys.argv[1]), description)
