"""Videos and pictures become a data set: cut at shots, without duplicates, blur and blanks."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter
from video_files import write_video

from cyclegan_media.cli import main
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.prepare.pictures import PictureOptions, prepare_pictures
from cyclegan_media.prepare.scan import scan
from cyclegan_media.prepare.similar import SAME_PICTURE, Seen, picture_fingerprint
from cyclegan_media.prepare.split import held_out_groups

SHOT = 12
"""Frames."""


def scenery(seed: int, side: int = 160) -> np.ndarray:
    """A picture of its own kind: coloured patches with texture, ``(side, side, 3)``."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    return np.clip(wide + random.normal(0, 12, wide.shape), 0, 255).astype(np.uint8)


def shots(path: Path, seeds: list[int]) -> Path:
    """A video of shots in which the camera moves over a scene."""
    frames = []
    for seed in seeds:
        scene = scenery(seed)
        for k in range(SHOT):
            window = np.ascontiguousarray(scene[k : k + 128, 2 * k : 2 * k + 128])
            frames.append(av.VideoFrame.from_ndarray(window, "rgb24").reformat(format="yuv420p"))
    return write_video(path, frames)


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "prepared.jsonl").read_text().splitlines()]


def test_a_video_is_cut_where_its_shots_change(tmp_path: Path) -> None:
    video = shots(tmp_path / "a.mp4", [1, 2, 3])
    seen = scan(video, rate=0)
    assert (seen.frames, seen.shots) == (3 * SHOT, 3)
    assert [c.shot for c in seen.candidates] == [k // SHOT for k in range(3 * SHOT)]


def test_no_shot_is_both_trained_on_and_held_out(tmp_path: Path) -> None:
    video = shots(tmp_path / "film größe.mp4", list(range(10)))
    out = tmp_path / "out"
    options = PictureOptions(rate=0, duplicates=-1, test=0.2, size=64)
    result = prepare_pictures([str(video)], out, options)
    assert result.train + result.test == 10 * SHOT
    assert result.test == 2 * SHOT
    parts: dict[int, set[str]] = {}
    for row in rows_of(out):
        assert (out / row["file"]).is_file()
        parts.setdefault(row["shot"], set()).add(row["file"].split("/")[0])
    assert all(len(found) == 1 for found in parts.values())
    assert Image.open(out / rows_of(out)[0]["file"]).size == (64, 64)
    other = tmp_path / "other"
    prepare_pictures([str(shots(tmp_path / "b.mp4", [50, 51]))], other, options)
    files = find_files(out, other, ("image",))  # what a training takes
    assert (len(files.train_a), len(files.held_out_a)) == (8 * SHOT, 2 * SHOT)


def test_what_teaches_nothing_is_left_out_and_said_so(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for seed in range(6):
        Image.fromarray(scenery(seed)).save(source / f"scene{seed}.png")
    Image.fromarray(scenery(0)).save(source / "the same.jpg", quality=75)
    blurred = Image.fromarray(scenery(77)).filter(ImageFilter.GaussianBlur(6))
    blurred.save(source / "blurred.png")
    Image.new("RGB", (160, 160), "black").save(source / "black.png")
    Image.fromarray(scenery(8, side=32)).save(source / "tiny.png")
    (source / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["prepare", "pictures", str(source), "-o", str(out), "--test", "0"]) == 1
    kept = sorted(path.name for path in (out / "train").iterdir())
    assert kept == [f"scene{seed}.png" for seed in range(6)]
    reasons = {Path(row["source"]).name: row["left_out"] for row in rows_of(out) if not row["file"]}
    assert reasons == {
        "the same.jpg": "duplicate",
        "blurred.png": "blurred",
        "black.png": "flat",
        "tiny.png": "tiny",
    }
    failed = json.loads((out / "prepare.json").read_text())["failed"]
    assert [Path(path).name for path in failed] == ["broken.png"]


def test_sources_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for folder, seed in (("x", 1), ("y", 2)):
        (tmp_path / folder).mkdir()
        Image.fromarray(scenery(seed)).save(tmp_path / folder / "same.png")
    out = tmp_path / "out"
    inputs = [str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "x" / "same.png")]
    assert main(["prepare", "pictures", *inputs, "-o", str(out), "--test", "0"]) == 0
    assert sorted(path.name for path in (out / "train").iterdir()) == ["same-2.png", "same.png"]


def test_a_dry_run_writes_nothing_and_workers_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [str(shots(tmp_path / f"{k}.mp4", [k, k + 20])) for k in range(2)]
    out = tmp_path / "out"
    line = ["prepare", "pictures", *inputs, "-o", str(out), "--rate", "4", "--json"]
    assert main([*line, "--dry-run"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert not out.exists()
    assert main(line) == 0
    assert json.loads(capsys.readouterr().out) == planned
    assert main([*line, "--overwrite", "--workers", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == planned
    assert len(list(out.rglob("*.png"))) == planned["train"] + planned["test"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.mp4"], "nowhere.mp4: there is no such file or folder"),
        (["empty"], "empty: holds nothing to prepare"),
        (["note.txt"], "note.txt: is not of a kind to prepare here"),
    ],
)
def test_wrong_sources_are_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("note.txt").write_text("x")
    assert main(["prepare", "pictures", *arguments, "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    Image.fromarray(scenery(1)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert main(["prepare", "pictures", str(tmp_path / "a.png"), "-o", str(out)]) == 2
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_fingerprints_know_a_picture_again_and_no_other() -> None:
    seen = Seen(round(SAME_PICTURE * 256))
    for seed in range(40):
        fingerprint = picture_fingerprint(scenery(seed).mean(axis=2))
        assert seen.like(fingerprint) is None
        seen.add(fingerprint)
    for seed in range(0, 40, 5):
        small = np.asarray(Image.fromarray(scenery(seed)).resize((90, 90))).mean(axis=2)
        assert seen.like(picture_fingerprint(0.8 * small + 20)) == seed


def test_the_split_holds_out_whole_groups_whatever_their_order() -> None:
    sizes = {f"shot {k}": 10 for k in range(20)}
    chosen = held_out_groups(sizes, 0.1)
    assert len(chosen) == 2
    assert held_out_groups(dict(reversed(sizes.items())), 0.1) == chosen
    assert held_out_groups({"only": 10}, 0.5) == set()
    assert held_out_groups({}, 0.5) == set()
