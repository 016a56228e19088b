"""The benchmark of growth runs every kind of work, and its table says what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import bench_growth as bench


def test_every_kind_of_work_is_measured_at_three_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    sizes = ["--seconds", "0.2", "0.8", "--files", "2", "6", "--side", "16"]
    assert bench.main([*sizes, "--json", str(figures)]) == 0
    growth = json.loads(figures.read_text())["growth"]
    assert [used["size"] for used in growth["clip"]] == [0.2, 0.4, 0.8]
    assert [used["size"] for used in growth["voice"]] == [0.2, 0.4, 0.8]
    assert [used["size"] for used in growth["corpus"]] == [2, 3, 6]
    for used in (each for kind in growth.values() for each in kind):
        assert used["seconds"] > 0.05  # no interpreter with numpy starts in less
        assert 20 < used["megabytes"] < 5000
    printed = capsys.readouterr().out
    assert all(f"| {kind} " in printed for kind in growth)


def test_a_process_is_measured_by_itself(tmp_path: Path) -> None:
    def peak(megabytes: int) -> float:
        code = f"x = bytearray({megabytes} * 1000 * 1000)"
        return bench.used_by([sys.executable, "-c", code], 1).megabytes

    small, large = peak(1), peak(101)
    assert small < 60  # though this process, which starts it, has loaded torch
    assert large - small == pytest.approx(100, abs=5)
    with pytest.raises(SystemExit, match="failed"):
        bench.used_by([sys.executable, "-c", "raise SystemExit(3)"], 1)


def test_a_row_tells_growth_of_memory_and_time_of_both_halves() -> None:
    used = [bench.Used(10, 3.0, 100.0), bench.Used(110, 13.0, 101.0), bench.Used(210, 33.0, 104.0)]
    row = bench.row_of("clip", *used)
    assert row == ["clip", "10, 110, 210 s", "100, 101, 104", "+4.0%", "0.1000", "0.2000"]
