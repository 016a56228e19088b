"""Damaged files of every kind: used or refused, in time and in bounds, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz.py"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="measures memory by /proc"
)


def fuzzed(*arguments: object) -> dict[str, dict[str, int]]:
    """The script's table: by kind of file, how many mutants ended how."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    ]
    return {
        row[0]: {name: int(cell) for name, cell in zip(head[1:8], row[1:8], strict=True)}
        for row in rows
    }


def test_two_hundred_mutants() -> None:
    """The first 64 are whole, one of each original, and must be used."""
    ends = fuzzed("--mutants", 200)
    assert ends["all"]["mutants"] == 200
    assert ends["all"]["used"] >= 64
    assert ends["all"]["refused"] > 40
    for name in ("hang", "memory", "bad"):
        assert ends["all"][name] == 0
    assert set(ends) == {
        *("picture", "video", "voice of a video", "recording", "medium described", "model"),
        *("checkpoint", "recipe", "training state", "manifest", "all"),
    }


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_thousand_mutants() -> None:
    ends = fuzzed("--mutants", 5000)["all"]
    assert (ends["mutants"], ends["hang"], ends["memory"], ends["bad"]) == (5000, 0, 0, 0)
