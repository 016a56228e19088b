"""What a batch shows and tells: its progress, its reports, and how many workers it takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cyclegan_media.batch import machine
from cyclegan_media.batch.plan import Planned
from cyclegan_media.batch.report import summary, write_reports
from cyclegan_media.batch.show import Mode, Show
from cyclegan_media.batch.task import Outcome, Task
from cyclegan_media.batch.worklist import STATES, WorkList

TASK = Task(1, "in/a.mp4", "a.mp4", "out", None, "x", "m", "{}", "cpu", "auto", 1, False, 1)
DONE = Outcome(1, "done", 2.0, 50, ("in/a.mp4: a subtitle is left out",))
FAILED = Outcome(1, "failed", 1.0, reason="in/a.mp4: is damaged")


def shown(mode: Mode, capsys: pytest.CaptureFixture[str]) -> str:
    show = Show(mode)
    counts = dict.fromkeys(STATES, 0)
    show.begin({**counts, "pending": 3, "done": 1}, 2)
    with show:
        show.done(TASK, DONE)
        show.failed(TASK, FAILED)
        show.tick(50)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_bar_has_files_failures_speed_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("bar", capsys)
    assert re.search(
        r"75%\|.*\| 3/4 files \[\d\d:\d\d<\d\d:\d\d, \d+\.\d frames/s, 1 failed\]", text
    )
    assert "[3/4] error: in/a.mp4: is damaged\n" in text
    assert "warning: in/a.mp4: a subtitle is left out\n" in text


def test_lines_elsewhere_and_only_failures_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("lines", capsys).splitlines() == [
        "4 to do, 1 of them before; files at a time: 2",
        "[2/4] a.mp4: 50 frames, 2.0 s",
        "warning: in/a.mp4: a subtitle is left out",
        "[3/4] error: in/a.mp4: is damaged",
    ]
    assert "frames" not in shown("errors", capsys)
    assert shown("nothing", capsys) == ""


def test_reports_count_what_became_of_every_file(tmp_path: Path) -> None:
    names = ["a.mp4", "b&c.mp4", "d.png", "e.png"]
    plan = [
        Planned(name, f"in/{name}", "m", '{"crf": 18.0}', "{}", f"in/{name}", 10, "s")
        for name in names
    ]
    with WorkList(tmp_path / "list.sqlite") as work:
        work.merge(plan, lambda target: False)
        numbers = work.pending()[0]
        for number in numbers[:3]:
            work.start(number)
        work.done(numbers[0], 100.0, 50, ["a subtitle is left out"])
        work.failed(numbers[1], "failed", 1.0, "<script>alert(1)</script>", "trace")
        work.failed(numbers[2], "set aside", 2.0, "its process died")
        totals = write_reports(tmp_path, work, "out <i>", 4000.0)
    assert (totals.done, totals.failed, totals.set_aside, totals.left) == (1, 1, 1, 1)
    assert (totals.frames, totals.work_seconds) == (50, 100.0)
    assert summary(totals)[-1].endswith("1 h 06 min")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [file["state"] for file in report["files"]] == ["done", "failed", "set aside", "pending"]
    assert report["files"][0]["options"] == {"crf": 18.0}
    assert report["files"][1]["traceback"] == "trace"
    assert report["totals"]["left"] == 1
    page = (tmp_path / "report.html").read_text()
    assert "1 of 4 files are done. 2 could not be translated. 1 are left to do" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<i>" not in page
    assert page.count("b&amp;c.mp4") == 4  # as input and output, among the failed and among all
    assert "default-src 'none'" in page


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = machine.cores()
    assert machine.threads(1) == cores
    assert machine.threads(cores) == 1
    assert machine.threads(100 * cores) == 1
    assert 1 <= machine.auto_workers() <= cores
    assert machine.auto_workers(gpus=3) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert machine.threads(1) == 1
