"""Batches that are killed again and again: no output missing, doubled or half-written."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from batch_files import command, environment, expected, inputs, media, processes, tiny_model

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")


def wait_for_none(mark: str) -> None:
    """Until all processes of the batch have gone."""
    deadline = time.monotonic() + 60
    while processes(mark):
        assert time.monotonic() < deadline, "orphans"
        time.sleep(0.02)


def wait_for_moment(
    process: subprocess.Popen[bytes], out: Path, rng: random.Random, before: int
) -> None:
    """A while after the start, or when something is being written or has been."""
    kind = rng.choice(["start", "partial", "output"])
    if kind == "start":
        time.sleep(rng.uniform(0, 3))
        return
    while process.poll() is None:
        names = [path.name for path in out.rglob("*.*") if path.suffix in (".png", ".mp4")]
        partials = sum(".partial-" in name for name in names)
        if (kind == "partial" and partials) or (
            kind == "output" and len(names) - partials > before
        ):
            break
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.2))


def batch_is_killed(folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    model = tiny_model(folder / "model")
    source, out, mark = inputs(folder / "in", pictures=4, frames=12), folder / "out", str(folder)
    wanted = expected(model, source, folder / "wanted")
    arguments = command(source, "-m", model, "-o", out, "--workers", "2", "--device", "cpu")

    def start() -> subprocess.Popen[bytes]:
        # Workers killed twice over one file have it set aside; that is not what is tested here.
        return subprocess.Popen(
            [*arguments, "--retry", "--quiet"], stderr=subprocess.PIPE, env=environment(mark)
        )

    for kill in range(kills):
        there = media(out) if out.exists() else {}
        if len(there) >= 3:
            for name in rng.sample(sorted(there), 3):  # else there would be nothing left to do
                (out / name).unlink()
        process = start()
        wait_for_moment(process, out, rng, max(0, len(there) - 3))
        workers = [pid for pid in processes(mark) if pid != process.pid]
        if kill % 2 and workers:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
            _, errors = process.communicate(timeout=300)
            assert process.returncode in (0, 1), errors  # 1: while it opened the model
            assert b"Traceback" not in errors
        else:
            process.kill()
            process.communicate(timeout=60)
        wait_for_none(mark)
        for name, content in media(out).items() if out.exists() else ():
            assert ".partial-" in name or content == wanted[name], name
    process = start()
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, b"")
    assert media(out) == wanted  # partial files are counted here
    wait_for_none(mark)
    own = sorted(path.name for path in out.iterdir() if path.name.startswith("."))
    assert set(own) <= {".cyclegan-media-batch.lock", ".cyclegan-media-batch.sqlite"}
    database = sqlite3.connect(out / ".cyclegan-media-batch.sqlite")
    states = database.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall()
    assert states == [("done", len(wanted))]
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_batch_that_is_killed_ends_with_the_same_outputs(tmp_path: Path) -> None:
    batch_is_killed(tmp_path, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fifty_kills(tmp_path: Path) -> None:
    batch_is_killed(tmp_path, kills=50, seed=2)


@pytest.mark.skipif(sys.platform != "linux", reason="others die when their pipe ends")
def test_termination_leaves_nothing(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    source, out = inputs(tmp_path / "in", pictures=0, frames=400), tmp_path / "out"
    arguments = command(source, "-m", model, "-o", out, "--workers", "1", "--device", "cpu")
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(str(tmp_path)),
    )
    while not any(path.stat().st_size for path in out.rglob("*.partial-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.endswith("terminated\n")
    assert "Traceback" not in errors
    assert media(out) == {}
    assert processes(str(tmp_path)) == []
