"""Training in several processes: in step, stopped together, resumed together; and its loaders."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import PLAIN, differences, flat, pictures, recipe

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import load_model
from cyclegan_media.training import train
from cyclegan_media.training.checkpoint import checkpoint_name, list_checkpoints

SCRIPT = Path(__file__).with_name("training_ddp.py")
LAST = checkpoint_name(8)


def two_processes(folder: Path, *runs: str, launcher: tuple[str, ...] = ()) -> None:
    """Train each run in two processes; see the script."""
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), str(folder), *runs],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def held(run: Path, steps: int = 8) -> list[dict[str, Any]]:
    """What both processes held when they ended after so many steps."""
    return [torch.load(run / f"held-{rank}-{steps}.pt", weights_only=True) for rank in range(2)]


def rows(run: Path) -> list[dict[str, float]]:
    with open(run / "metrics.csv", newline="") as file:
        return [{key: float(text) for key, text in row.items()} for row in csv.DictReader(file)]


def same(one: Any, other: Any) -> bool:
    pairs = zip(flat(one), flat(other), strict=True)
    return all(
        key == key_b and (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b)
        for (key, a), (key_b, b) in pairs
    )


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    two_processes(tmp_path, "whole", "parts:3", "parts", "plain::PLAIN")
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    first, second = held(whole)
    # They hold the same model, but draw other numbers and keep other histories.
    assert same(first["networks"], second["networks"])
    assert same(first["average"], second["average"])
    assert not torch.equal(first["random"], second["random"])
    assert not same(first["histories"], second["histories"])
    load_model(whole / "model")

    # One of them is told to stop: both stop after the same step, and go on to the same end.
    assert len(held(parts, steps=3)) == 2
    assert differences(parts / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []
    assert (parts / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    with pytest.raises(UserError, match="was made by 2 processes, this run has 1; start as many"):
        train(recipe(), files, parts, resume=True, device="cpu", progress=False)

    # Two processes with an example each take the steps that one takes with both examples.
    alone = recipe(PLAIN, batch_size=2)
    train(alone, files, tmp_path / "alone", device="cpu", progress=False)
    for got, wanted in zip(rows(tmp_path / "plain"), rows(tmp_path / "alone"), strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_torchrun_needs_no_other_code(tmp_path: Path) -> None:
    pictures(tmp_path)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    two_processes(tmp_path, "run", launcher=launcher)
    first, second = held(tmp_path / "run")
    assert same(first["networks"], second["networks"])
    load_model(tmp_path / "run" / "model")


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads processes from /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_loading_processes_end_with_the_training(tmp_path: Path, number: signal.Signals) -> None:
    pictures(tmp_path)
    code = (
        "import training_runs as r; from pathlib import Path;"
        "from cyclegan_media.datasets.discover import find_files;"
        "from cyclegan_media.training import train;"
        f"f = Path({str(tmp_path)!r});"
        "train(r.recipe(steps=10**6, workers=2), find_files(f / 'a', f / 'b', ('image',)),"
        " f / 'run', device='cpu', progress=False)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 120
    while not list_checkpoints(tmp_path / "run" / "checkpoints"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    loaders = children(process.pid)
    assert len(loaders) == 2
    process.send_signal(number)
    assert process.wait(60) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    while any(running(pid) for pid in loaders):
        assert time.monotonic() < deadline
        time.sleep(0.1)
