"""Links that wait where outputs go: what they lead to is neither written nor removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_files import picture, tiny_model
from training_runs import pictures, recipe

from cyclegan_media import load
from cyclegan_media.cli import main
from cyclegan_media.files import atomic_directory, atomic_file
from cyclegan_media.training import train
from cyclegan_media.training.checkpoint import list_checkpoints, prune, sweep


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of somebody's, with a file in it."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "letter.png").write_text("dear reader")
    return folder


def untouched(victim: Path) -> None:
    assert [path.name for path in victim.iterdir()] == ["letter.png"]
    assert (victim / "letter.png").read_text() == "dear reader"


@pytest.mark.parametrize("name", ["letter.png", "nothing.png"])
def test_an_output_that_is_a_link_is_replaced_itself(
    name: str, victim: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    out.symlink_to(victim / name)
    with atomic_file(out, overwrite=True) as partial:
        partial.write_text("new")
    assert not out.is_symlink()
    assert out.read_text() == "new"
    untouched(victim)


def test_a_folder_that_is_a_link_is_replaced_itself(victim: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.symlink_to(victim)
    with atomic_directory(out, overwrite=True) as partial:
        (partial / "new").write_text("new")
    assert not out.is_symlink()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "victim"]
    untouched(victim)


def test_a_dangling_link_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with atomic_directory(tmp_path / "out", overwrite=True) as partial:
        (partial / "new").write_text("new")
    assert (tmp_path / "out" / "new").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_translating_a_folder_into_one_with_links(victim: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    picture(source / "letter.png")
    (out / "letter.png").symlink_to(victim / "letter.png")
    translator = load(tiny_model(tmp_path / "model"), device="cpu")
    translator.translate(source, out, overwrite=True)
    assert not (out / "letter.png").is_symlink()
    untouched(victim)


def test_a_batch_writes_through_no_link(
    victim: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    out.mkdir()
    picture(source / "letter.png")
    picture(source / "sub" / "letter.png")
    model = tiny_model(tmp_path / "model")
    for link, target in [("letter.png", victim / "letter.png"), ("sub", victim)]:
        (out / link).symlink_to(target)
        assert main(["batch", str(source), "-m", str(model), "-o", str(out), "--overwrite"]) == 2
        assert "symbolic link" in capfd.readouterr().err
        (out / link).unlink()
    untouched(victim)


@pytest.mark.parametrize("ending", ["sqlite", "sqlite-wal", "sqlite-shm", "sqlite-journal", "lock"])
def test_the_own_files_of_a_batch_that_are_links(
    ending: str, victim: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    picture(source / "letter.png")
    (out / f".cyclegan-media-batch.{ending}").symlink_to(victim / "letter.png")
    model = tiny_model(tmp_path / "model")
    arguments = ["batch", source, "-m", model, "-o", out, "--device", "cpu", "--workers", "1"]
    assert main([*map(str, arguments), "--quiet"]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "symbolic link" in said
    untouched(victim)


def test_checkpoints_that_are_links_are_removed_themselves(victim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for step in (1, 2, 3):
        (folder / f"step-{step:08d}").symlink_to(victim)
    (folder / ".x.partial-0").symlink_to(victim)
    prune(folder, keep=1)
    sweep(folder)
    assert list_checkpoints(folder) == [folder / "step-00000003"]
    assert [path.name for path in folder.iterdir()] == ["step-00000003"]
    untouched(victim)


def test_a_model_of_a_run_that_is_a_link_is_replaced_itself(victim: Path, tmp_path: Path) -> None:
    files, run = pictures(tmp_path, count=2), tmp_path / "run"
    run.mkdir()
    (run / "model").symlink_to(victim)
    (run / "recipe.yaml").symlink_to(tmp_path / "nowhere")
    train(recipe(steps=1, decay_steps=1), files, run, device="cpu", progress=False)
    assert not (run / "model").is_symlink()
    assert (run / "model" / "config.json").is_file()
    assert not (tmp_path / "nowhere").exists()
    untouched(victim)
