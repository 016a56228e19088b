"""The script that compares the voice systems trains, measures, resumes and writes its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from cyclegan_media.demo.voices import say

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_it_trains_measures_and_writes_a_page(tmp_path: Path) -> None:
    for speaker in "ab":
        (tmp_path / speaker).mkdir()
        for k in range(12):
            name = f"{'2' if k >= 10 else '1'}{k:02d}.wav"
            soundfile.write(tmp_path / speaker / name, say(k, speaker), 16000)
    line = [
        *(sys.executable, str(ROOT / "scripts/compare_voices.py")),
        *("--data-a", str(tmp_path / "a"), "--data-b", str(tmp_path / "b")),
        *("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")),
        *("--minutes", "0.01", "--points", "2", "--recipes", "CycleGAN-VC,CycleGAN-VC2"),
        *("--precision", "fp32"),
    ]
    assert subprocess.run([*line, "--page-only"], check=False).returncode == 1  # nothing yet
    subprocess.run(line, check=True)
    page = (tmp_path / "out/voices.md").read_text(encoding="utf-8")
    assert "| **CycleGAN-VC2** |" in page
    assert "--minutes 0.01" in page
    assert str(tmp_path) not in page
    assert (tmp_path / "out/voices.webp").stat().st_size > 1000
    kept = json.loads((tmp_path / "work/cyclegan_vc_small/trace.json").read_text())
    assert len(kept["checkpoints"]) >= 2
    again = subprocess.run(line, check=True, capture_output=True, text=True)
    assert again.stdout.count("was trained before") == 2
