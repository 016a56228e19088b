"""The benchmark for GPUs, tried on a processor with a network and frames that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "bench_gpu.py"
TINY = ["--frames", "12", "--plain", "12", "--side", "32", "--width", "4", "--rounds", "1"]


def test_every_way_is_timed_by_stages(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", *TINY, "--options", "fp32", "auto"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert list(runs) == ["fp32", "auto"]
    for name, (run,) in runs.items():
        assert run["frames"] == 12
        assert all(0 < seconds <= run["seconds"] for seconds in run["stages"].values())
        assert f"| translate, {name}" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no GPU here" in done.stderr
