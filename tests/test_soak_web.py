"""Visitors by the dozen: memory stays, and nothing of theirs is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra 'web'")

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "soak_web.py"


@pytest.mark.slow
def test_many_visitors_at_once_leave_nothing_and_cost_no_memory() -> None:
    command = [sys.executable, str(SCRIPT), "--visitors", "10", "--rounds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" visitors in ") == 3
