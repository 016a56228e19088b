"""Thousands of short files in one batch: memory stays, files are closed, processes are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_two_thousand_files() -> None:
    script = Path(__file__).resolve().parents[1] / "scripts" / "soak.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
