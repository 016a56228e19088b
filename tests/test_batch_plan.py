"""What a batch would write where, what it refuses, and what its work list remembers."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from batch_files import inputs, picture

from cyclegan_media.batch.inputs import find_entries
from cyclegan_media.batch.outputs import remove_partials
from cyclegan_media.batch.plan import Destination, ModelInfo, Planned, make_plan
from cyclegan_media.batch.settings import BatchOptions
from cyclegan_media.batch.worklist import WorkList
from cyclegan_media.errors import UserError
from cyclegan_media.media import write_audio

IMAGES = {"m": ModelInfo("image", ("a2b",), "f00")}
VOICES = {"m": ModelInfo("voice", ("a2b", "b2a"), "f00")}
OPTIONS = BatchOptions(model="m")


def planned(
    jobs: list[str], out: Path, models: dict[str, ModelInfo] = IMAGES, **changes: object
) -> list[Planned]:
    options = replace(OPTIONS, **changes)  # type: ignore[arg-type]
    return make_plan(find_entries(jobs, out, options), models, Destination(out), "auto")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    import numpy as np

    folder = inputs(tmp_path / "in", pictures=2, frames=1)
    picture(folder / "10.png")
    (folder / "2.jp2").write_bytes(b"x")  # read, but perhaps written as another format
    (folder / "3.pgm").write_bytes(b"x")  # read, but not written
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    write_audio(folder / "voice.mp3", np.zeros(1000, np.float32), 16000)
    write_audio(folder / "sub" / "voice.wma.wav", np.zeros(1000, np.float32), 16000)
    return folder


def test_a_folder_keeps_its_structure_and_gives_what_the_model_takes(source: Path) -> None:
    out = source.parent / "out"
    pictures = [(p.source, p.target) for p in planned([str(source)], out)]
    names = ["0.png", "1.png", "2.jp2", "3.png", "10.png", "sub/clip.mp4"]
    assert [target for _, target in pictures] == names
    assert pictures[3][0] == str(source / "3.pgm")
    voices = [p.target for p in planned([str(source)], out, VOICES)]
    assert voices == ["voice.mp3", "sub/voice.wma.wav"]


def test_damaged_and_empty_files_do_not_stop_the_plan(source: Path) -> None:
    (source / "4.png").write_bytes(b"")
    targets = [p.target for p in planned([str(source)], source.parent / "out")]
    assert "4.png" in targets
    undecodable = os.fsencode(source) + b"/\xff.png"
    with open(undecodable, "wb"):
        pass
    with pytest.raises(UserError, match="has a name that is no UTF-8 text; rename it"):
        planned([str(source)], source.parent / "out")


def test_the_same_input_by_another_path_is_the_same(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.parent / "out"
    absolute = planned([f"{source}/*.png"], out)
    monkeypatch.chdir(source)
    assert [p.identity for p in planned(["*.png"], out)] == [p.identity for p in absolute]


def test_globs_and_files_go_under_their_names(source: Path) -> None:
    out = source.parent / "out"
    everywhere = f"{source.parent}/i?/**/*.*"
    assert [p.target for p in planned([everywhere], out, VOICES)] == [
        "in/voice.mp3",
        "in/sub/voice.wma.wav",
    ]
    jobs = [f"{source}/[01].png", str(source / "sub" / "clip.mp4")]
    assert [p.target for p in planned(jobs, out)] == ["0.png", "1.png", "clip.mp4"]


def test_outputs_are_no_inputs_of_the_next_run(source: Path) -> None:
    inside = source / "out"
    before = [p.target for p in planned([str(source)], inside)]
    picture_there = inside / "0.png"
    inside.mkdir()
    picture(picture_there)
    assert [p.target for p in planned([str(source)], inside)] == before
    assert [p.target for p in planned([f"{source}/**/*.png"], inside)] == [
        "0.png",
        "1.png",
        "10.png",
    ]


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        (["{in}/none"], "none: there is no such file or folder"),
        (["{in}/*.webm"], "matches no picture"),
        (["{in}/notes.txt"], "notes.txt: the suffix '.txt' is of no picture"),
        (["{in}/voice.mp3"], "voice.mp3: is a recording, but this model translates pictures"),
        (["{in}", "{in}/0.png"], "output '0.png' is also that of {in}/0.png"),
        (["{in}/empty"], "holds no picture, video or recording"),
    ],
)
def test_what_cannot_be_done_is_refused(source: Path, jobs: list[str], said: str) -> None:
    (source / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        planned([job.replace("{in}", str(source)) for job in jobs], source.parent / "out")
    assert said.replace("{in}", str(source)) in str(caught.value)


def rows(folder: Path, *outputs: str) -> Path:
    path = folder / "jobs.csv"
    path.write_text("input,output\n" + "".join(f"0.png,{output}\n" for output in outputs))
    return path


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["x.png", "y.png", "x.png"], "line 4: output 'x.png' is also that of {rows}: line 2"),
        (["x.png", "./x.png"], "line 3: output 'x.png' is also that of {rows}: line 2"),
        (["x.mp4"], "line 2: x.mp4: has '.mp4', but the translation of 0.png is a picture"),
        (["link/x.png"], "line 2: output 'link/x.png': a symbolic link in {out} leads out"),
        (["file.png"], "line 2: output 'file.png': {out}/file.png is a symbolic link; remove it"),
        (["same/x.png", "real/x.png"], "line 3: output 'real/x.png' is also that of"),
    ],
)
def test_outputs_stay_inside_and_apart(source: Path, outputs: list[str], said: str) -> None:
    out, elsewhere = source.parent / "out", source.parent / "elsewhere"
    (out / "real").mkdir(parents=True)
    elsewhere.mkdir()
    (out / "link").symlink_to(elsewhere)
    (out / "same").symlink_to(out / "real")
    (out / "file.png").symlink_to(elsewhere / "made.png")
    path = rows(source, *outputs)
    with pytest.raises(UserError) as caught:
        planned([str(path)], out)
    assert str(caught.value).startswith(f"{path}: line ")
    assert said.format(rows=path, out=out) in str(caught.value)


def test_no_input_is_replaced(source: Path) -> None:
    path = source / "jobs.csv"
    path.write_text("input,output\n1.png,2.png\n0.png,1.png\n")
    with pytest.raises(UserError, match=r"line 3: output '1\.png' would replace an input"):
        planned([str(path)], source)
    with pytest.raises(UserError, match="would replace an input"):
        planned([str(source)], source.parent / "in" / ".." / "in")


def test_a_direction_that_the_model_lacks_and_too_many_files(source: Path) -> None:
    path = source / "jobs.jsonl"
    path.write_text('{"input": "0.png"}\n{"input": "1.png", "direction": "b2a"}\n')
    with pytest.raises(UserError, match="line 2: m has no generator for the direction b2a, only"):
        planned([str(path)], source.parent / "out")
    with pytest.raises(UserError, match=r"more than 2 files; split it, or raise .* --max-rows"):
        planned([str(source)], source.parent / "out", max_rows=2)


@pytest.fixture
def plan(source: Path) -> list[Planned]:
    return planned([f"{source}/*.png"], source.parent / "out")


def nothing(target: str) -> bool:
    return False


def everything(target: str) -> bool:
    return True


def to_do(work: WorkList) -> list[int]:
    plain, apart = work.pending()
    return plain + apart


def do(work: WorkList, *, fail: str | None = None, leave: str | None = None) -> list[str]:
    """Do what is pending, apart from ``leave``; the targets."""
    done = []
    for number in to_do(work):
        row = work.row(number)
        if row.target == leave:
            continue
        work.start(number)
        if row.target == fail:
            work.failed(number, "failed", 1, "is damaged")
        else:
            work.done(number, 1.5, 1, ["white"])
        done.append(row.target)
    return done


def test_the_work_list_remembers_what_is_done(tmp_path: Path, plan: list[Planned]) -> None:
    path = tmp_path / "list.sqlite"
    with WorkList(path) as work:
        work.merge(plan, nothing)
        assert do(work, fail="1.png", leave="10.png") == ["0.png", "1.png"]
        work.start(to_do(work)[0])  # and killed
    with WorkList(path) as work:
        assert work.running() == ["10.png"]
        work.merge(plan, everything)
        counts = work.counts()
        assert (counts["pending"], counts["done"], counts["failed"]) == (1, 1, 1)
        assert do(work) == ["10.png"]
        assert [row.attempts for row in work.rows()] == [1, 1, 2]
        work.merge(plan, everything, retry=True)
        assert do(work) == ["1.png"]
        # Its output is gone; so it is made again.
        work.merge(plan, lambda target: target != "0.png")
        assert do(work) == ["0.png"]
        work.merge(plan, everything, restart=True)
        assert do(work) == ["0.png", "1.png", "10.png"]
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_changed_inputs_are_done_anew_and_changed_settings_refused(
    tmp_path: Path, plan: list[Planned], source: Path
) -> None:
    with WorkList(tmp_path / "list.sqlite") as work:
        work.merge(plan, nothing)
        do(work)
        os.utime(source / "0.png", ns=(1, 1))
        changed = planned([f"{source}/*.png"], source.parent / "out")
        work.merge(changed, everything)
        assert do(work) == ["0.png"]
        other = {"m": replace(IMAGES["m"], fingerprint="other")}
        anew = planned([f"{source}/*.png"], source.parent / "out", other)
        with pytest.raises(UserError, match=r"'0\.png' was begun with another model, or other w"):
            work.merge(anew, everything)
        settings = OPTIONS.settings.model_copy(update={"crf": 30.0})
        quality = planned([f"{source}/*.png"], source.parent / "out", settings=settings)
        with pytest.raises(UserError, match=r"begun with crf not given, not 30\.0; pass --restart"):
            work.merge(quality, everything)
        assert to_do(work) == []  # nothing changed by what was refused
        work.merge(quality, everything, restart=True)
        assert do(work) == ["0.png", "1.png", "10.png"]
        # More at once changes no result.
        more = settings.model_copy(update={"batch_size": 4})
        at_once = planned([f"{source}/*.png"], source.parent / "out", settings=more)
        work.merge(at_once, everything)
        assert do(work) == []


def test_files_of_others_are_not_replaced(tmp_path: Path, plan: list[Planned]) -> None:
    with WorkList(tmp_path / "list.sqlite") as work:
        with pytest.raises(UserError, match=r"'1\.png' exists already, and no batch here made it"):
            work.merge(plan, lambda target: target == "1.png")
        assert list(work.rows()) == []
        work.merge(plan, everything, overwrite=True)
        assert len(do(work)) == 3


def test_files_that_are_no_longer_asked_for_are_left_out(
    tmp_path: Path, plan: list[Planned]
) -> None:
    with WorkList(tmp_path / "list.sqlite") as work:
        work.merge(plan, nothing)
        do(work)
        work.merge(plan[1:], everything)
        assert [row.target for row in work.rows()] == ["1.png", "10.png"]
        assert sum(work.counts().values()) == 2
        work.merge(plan, everything)  # and it is not forgotten that this batch made the first
        assert do(work) == []


@pytest.mark.parametrize("content", [b"no database at all " * 50, b""])
def test_what_is_no_work_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.sqlite"
    if content:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE files (number)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"list\.sqlite: is .*no work list"):
        WorkList(path)
    assert path.read_bytes()[100:] == before[100:]
    link = tmp_path / "link.sqlite"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a symbolic link where the work list should be"):
        WorkList(link)
    assert not (tmp_path / "elsewhere").exists()


def test_only_leftovers_of_the_output_itself_are_removed(tmp_path: Path) -> None:
    mine = [".a.partial-0123abcd.png", ".a.partial-ffffffff.png"]
    others = [".b.partial-0123abcd.png", ".a.partial-0123abcd.jpg", "a.png", ".a.partial-x.png"]
    for name in mine + others:
        (tmp_path / name).write_bytes(b"x")
    assert remove_partials(tmp_path / "a.png") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
