"""Two voices of a speech synthesiser, where the program is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cyclegan_media.media.audio import read_audio

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_spoken_pair.py"
NAMES = [*range(100001, 100031), *range(200001, 200006)]


def _run(*arguments: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("program", ["espeak-ng", "flite"])
def test_both_voices_say_all_sentences_and_differ(tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert _run("--program", program, "--out", tmp_path).returncode == 0
    for folder in ("one", "other"):
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == [f"{n}.wav" for n in NAMES]
    one, other = (read_audio(tmp_path / f / "200001.wav") for f in ("one", "other"))
    assert one.sample_rate == other.sample_rate == 16000
    shorter = min(one.samples.shape[1], other.samples.shape[1])
    assert shorter > 16000
    assert not np.array_equal(one.samples[:, :shorter], other.samples[:, :shorter])
    again = _run("--program", program, "--out", tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize("program", ["espeak-ng", "flite"])
def test_a_missing_program_is_named_and_nothing_is_written(tmp_path: Path, program: str) -> None:
    out = tmp_path / "out"
    done = _run("--program", program, "--out", out, path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {program}: no such program")
    assert not out.exists()
