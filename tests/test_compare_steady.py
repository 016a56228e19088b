"""The comparison of trainings for steadiness, as short as it can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs the extra 'video'")

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "compare_steady.py"


@pytest.mark.slow
def test_trainings_with_and_without_the_term_are_compared(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--steps", "4", "--keep", str(tmp_path)]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert set(scores) == {
        *(
            f"{kind} the term, {way}"
            for kind in ("without", "with")
            for way in ("frame by frame", "steady")
        ),
        "the source itself",
    }
    for kind in ("without", "with"):
        raw, steady = (scores[f"{kind} the term, {way}"] for way in ("frame by frame", "steady"))
        assert steady["warping error × 10⁴"] < raw["warping error × 10⁴"]
    # Nothing of what is measured on is trained on.
    trained = {path.stem for side in "AB" for path in (tmp_path / side).iterdir()}
    assert not trained & {path.stem for path in (tmp_path / "test").iterdir()}
