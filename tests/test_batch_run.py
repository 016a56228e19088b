"""Whole batches: what they write, report and return; one bad file never stops the rest."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from batch_files import (
    command,
    environment,
    expected,
    hooked,
    inputs,
    media,
    picture,
    processes,
    tiny_model,
)

from cyclegan_media.batch import BatchOptions, FileSettings, run_batch
from cyclegan_media.batch.lock import only_one
from cyclegan_media.cli import build_parser, main
from cyclegan_media.errors import UserError


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # As the tests themselves have: the last bit of sums depends on it.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "h2z")


def test_a_folder_with_a_bad_file_is_done_reported_and_not_done_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = inputs(tmp_path / "in", pictures=2, frames=6), tmp_path / "out"
    wanted = expected(model, source, tmp_path / "wanted")
    (source / "bad <b>.png").write_bytes(b"no picture")
    arguments = ["batch", str(source), "-m", str(model), "-o", str(out), "--workers", "1"]
    assert main([*arguments, "--device", "cpu"]) == 3
    captured = capsys.readouterr()
    assert media(out) == wanted
    assert "[4/4] sub/clip.mp4: 6 frames" in captured.err
    assert f"error: {source}/bad <b>.png: is not a picture" in captured.err
    assert re.search(r"done +3\n +failed +1\n +files +4\n +frames +8\n", captured.out)
    report = json.loads((out / "report.json").read_text())
    totals = report["totals"]
    assert (totals["files"], totals["done"], totals["failed"], totals["left"]) == (4, 3, 1, 0)
    by_name = {file["output"]: file for file in report["files"]}
    assert by_name["bad <b>.png"]["state"] == "failed"
    assert by_name["bad <b>.png"]["reason"].endswith(
        "is not a picture of a format that can be read"
    )
    assert (by_name["sub/clip.mp4"]["frames"], by_name["sub/clip.mp4"]["attempts"]) == (6, 1)
    page = (out / "report.html").read_text()
    assert "3 of 4 files are done. 1 could not be translated." in page
    assert "bad &lt;b&gt;.png" in page
    assert "<b>" not in page
    assert list(out.rglob("*.partial-*")) == []

    # Again, with another input changed: nothing else is touched.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    picture(source / "1.png", seed=9)
    assert main([*arguments, "--device", "cpu", "--quiet"]) == 3
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    (source / "bad <b>.png").unlink()
    assert media(out) == expected(model, source, tmp_path / "again")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")} == times
    files = json.loads((out / "report.json").read_text())["files"]
    assert [file["attempts"] for file in files if file["state"] == "done"] == [1, 2, 1]


def test_a_manifest_with_two_models_and_options_of_its_rows(model: Path, tmp_path: Path) -> None:
    source = inputs(tmp_path / "in", pictures=2)
    other = tiny_model(tmp_path / "other", seed=1, both=True)
    (source / "jobs.csv").write_text(
        "input,output,model,direction,options\n"
        f"0.png,x/zebra.png,{model},,\n"
        '1.png,horse.png,../other,b2a,"{""provenance"": false}"\n'
    )
    out = tmp_path / "out"
    result = run_batch([str(source / "jobs.csv")], str(out), BatchOptions(device="cpu", workers=1))
    assert (result.totals.done, result.totals.files) == (2, 2)
    from cyclegan_media import load

    load(model, device="cpu").translate(source / "0.png", tmp_path / "0.png")
    load(other, device="cpu").translate(
        source / "1.png", tmp_path / "1.png", direction="b2a", provenance=False
    )
    assert media(out) == {
        "x/zebra.png": (tmp_path / "0.png").read_bytes(),
        "horse.png": (tmp_path / "1.png").read_bytes(),
    }


def test_files_that_kill_their_workers_are_tried_apart_and_then_set_aside(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hooked(tmp_path, monkeypatch)
    source, out = inputs(tmp_path / "in", pictures=1), tmp_path / "out"
    picture(source / "dies-once.png")
    picture(source / "exits.png")
    arguments = ["batch", str(source), "-m", str(model), "-o", str(out), "--workers", "1"]
    assert main([*arguments, "--device", "cpu"]) == 3
    assert sorted(media(out)) == ["0.png", "dies-once.png"]
    files = {
        file["output"]: file for file in json.loads((out / "report.json").read_text())["files"]
    }
    states = {name: (file["state"], file["attempts"]) for name, file in files.items()}
    assert states == {
        "0.png": ("done", 1),
        "dies-once.png": ("done", 2),
        "exits.png": ("set aside", 2),
    }
    assert files["exits.png"]["reason"] == "its process ended with code 7"
    said = capsys.readouterr().err
    assert "dies-once.png: its process was killed by SIGSEGV" in said
    assert "it is tried once more at the end" in said


def open_files() -> list[str]:
    """What this process has open; empty where the system does not say."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return []
    links = [path for path in folder.iterdir() if path.is_symlink()]  # not that of this listing
    return sorted(str(path.readlink()) for path in links)


def test_a_file_that_takes_too_long_is_set_aside(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked(tmp_path, monkeypatch)
    picture(tmp_path / "hangs.png")
    options = BatchOptions(model=str(model), device="cpu", workers=1, timeout=0.5)
    before = open_files(), threading.active_count()
    result = run_batch([str(tmp_path / "hangs.png")], str(tmp_path / "out"), options)
    assert (open_files(), threading.active_count()) == before
    assert (result.totals.set_aside, result.totals.files) == (1, 1)
    (file,) = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert file["reason"] == "was not done after 0.5 seconds (--timeout)"
    assert file["attempts"] == 1


def test_ctrl_c_finishes_the_running_file_and_twice_stops_now(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked(tmp_path, monkeypatch)
    source, out = inputs(tmp_path / "in", pictures=0, frames=40), tmp_path / "out"
    picture(source / "hangs.png")
    arguments = command(source, "-m", model, "-o", out, "--workers", "1", "--device", "cpu")

    def start(seen: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(str(tmp_path)),
        )
        deadline = time.monotonic() + 120
        while not list(out.rglob(seen)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    (source / "hangs.png").rename(source / "z-hangs.png")  # after the folder's own files
    (source / "sub" / "clip.mp4").rename(source / "a.mp4")
    process = start(".a.partial-*.mp4")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "finishing the file being translated; Ctrl-C again stops now" in errors
    assert errors.endswith("stopped; run the same command again to do what is left\n")
    assert re.search(r"done +1\n +left to do +1\n", output)
    assert list(media(out)) == ["a.mp4"]
    assert processes(str(tmp_path)) == []

    process = start("report.json")
    while "hangs" not in str(errors_of(out)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the running file is waited for
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.endswith("stopped; run the same command again to go on\n")
    assert list(media(out)) == ["a.mp4"]
    assert processes(str(tmp_path)) == []


def errors_of(out: Path) -> list[str]:
    """Sources that are being translated, by the work list."""
    import sqlite3

    database = sqlite3.connect(out / ".cyclegan-media-batch.sqlite")
    try:
        query = "SELECT source FROM files WHERE state = 'running'"
        return [row[0] for row in database.execute(query)]
    finally:
        database.close()


def test_mistakes_are_found_before_any_work(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = inputs(tmp_path / "in", pictures=1), tmp_path / "out"

    def refused(*arguments: str) -> str:
        assert main(["batch", *arguments, "-o", str(out), "--quiet"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("error: ")
        return captured.err

    assert "name the model that translates it with -m" in refused(str(source))
    assert "options: face_size: input should be greater" in refused(
        str(source), "-m", "m", "--face-size", "8"
    )
    assert "no such file or folder" in refused(str(tmp_path / "none"), "-m", str(model))
    assert "another batch is at work there" in locked(out, refused, str(source), "-m", str(model))
    assert f"{tmp_path}" in refused(str(source), "-m", str(tmp_path))  # no model
    (out / "0.png").write_bytes(b"of somebody else")
    assert "exists already, and no batch here made it" in refused(
        str(source), "-m", str(model), "--device", "cpu"
    )
    assert media(out) == {"0.png": b"of somebody else"}


def locked(out: Path, refused: object, *arguments: str) -> str:
    out.mkdir()  # nothing has made it before
    with only_one(out / ".cyclegan-media-batch.lock"):
        return refused(*arguments)  # type: ignore[operator, no-any-return]


@pytest.mark.slow
def test_a_full_disk_stops_the_batch_and_room_lets_it_go_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hooked(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    source = inputs(tmp_path / "in", pictures=0)
    for name in ("a.png", "full.png", "zebra.png"):
        picture(source / name)
    arguments = ["batch", "in", "-m", str(model), "-o", "out", "--workers", "1", "--device", "cpu"]
    assert main(arguments) == 1
    assert "the disk is full while writing it; free some space" in capsys.readouterr().err
    assert list(media(tmp_path / "out")) == ["a.png"]
    totals = json.loads((tmp_path / "out" / "report.json").read_text())["totals"]
    assert (totals["done"], totals["failed"], totals["left"]) == (1, 0, 2)
    (tmp_path / "room").touch()
    assert main(arguments) == 0
    assert media(tmp_path / "out") == expected(model, source, tmp_path / "wanted")


def test_the_parent_loads_no_network_and_no_decoder() -> None:
    code = (
        "import sys; from cyclegan_media.batch import local, run;"
        "from cyclegan_media.cli import main;"
        "main(['batch', 'none/', '-m', 'm', '-o', 'o']);"
        "print(sorted({'torch', 'av', 'soundfile', 'PIL.Image'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "there is no such file or folder" in done.stderr
    assert done.stdout == "['PIL.Image']\n"  # whose names of formats plans are made with


def test_no_option_is_taken_and_then_forgotten() -> None:
    arguments = vars(build_parser().parse_args(["batch", "in/", "-o", "out/"]))
    settings = set(FileSettings.model_fields) - {"stream"} | {"video_stream"}
    running = {field.name for field in fields(BatchOptions)} - {"settings"}
    assert set(arguments) == settings | running | {"jobs", "output", "run", "version"}


@pytest.mark.slow
def test_other_settings_ask_for_a_restart(model: Path, tmp_path: Path) -> None:
    source, out = inputs(tmp_path / "in", pictures=1), tmp_path / "out"
    options = BatchOptions(model=str(model), device="cpu", workers=1)
    run_batch([str(source)], str(out), options)
    before = media(out)
    other = tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="begun with another model, or other weights; pass --rest"):
        run_batch([str(source)], str(out), replace(options, model=str(other)))
    assert media(out) == before
    plain = replace(options, settings=FileSettings(provenance=False), restart=True)
    result = run_batch([str(source)], str(out), plain)
    assert result.totals.done == 1
    assert media(out).keys() == before.keys()
    assert media(out) != before
