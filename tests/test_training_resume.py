"""Whatever stops a training, it goes on to the very weights it would have had."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import EXACT, differences, pictures, recipe

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.pretrained import load_model
from cyclegan_media.recipe import Recipe
from cyclegan_media.training import TrainingResult, train, trainer
from cyclegan_media.training.checkpoint import (
    best_checkpoint,
    checkpoint_name,
    list_checkpoints,
    read_state,
    write_state,
)

LAST = checkpoint_name(8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return train(recipe(), pictures(folder), folder / "run", device="cpu", progress=False).run


def go(own: Recipe, files: Files, run: Path, *, resume: bool = False) -> TrainingResult:
    return train(own, files, run, resume=resume, device="cpu", progress=False)


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a training, after the step's updates."""
    update = trainer.update_average

    def hooked(state: Any) -> None:
        update(state)
        if state.steps == step - 1:
            act()

    monkeypatch.setattr(trainer, "update_average", hooked)


def send(*signals: signal.Signals) -> Callable[[], None]:
    return lambda: [os.kill(os.getpid(), number) for number in signals] and None


@pytest.mark.parametrize(
    ("step", "number"),
    [(1, signal.SIGTERM), (3, signal.SIGINT), (4, signal.SIGTERM), (7, signal.SIGINT)],
)
def test_an_interrupted_and_resumed_run_ends_the_same_to_the_bit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Path,
    step: int,
    number: signal.Signals,
) -> None:
    files, run = pictures(tmp_path), tmp_path / "run"
    handlers = [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        after_step(patch, step, send(number))
        first = go(recipe(), files, run)
    assert (first.steps, first.interrupted, first.model) == (step, True, None)
    assert list_checkpoints(run / "checkpoints")[-1].name == checkpoint_name(step)
    assert [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)] == handlers
    torch.rand(100)  # whatever another program did meanwhile
    second = go(recipe(), files, run, resume=True)
    assert (second.steps, second.interrupted) == (8, False)
    assert differences(run / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []
    for name in ("metrics.csv", "validation.csv"):
        assert (run / name).read_text() == (whole / name).read_text()
    for path in (whole / "model").iterdir():
        assert (run / "model" / path.name).read_bytes() == path.read_bytes()


def test_the_second_interrupt_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    files, run = pictures(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        after_step(patch, 3, send(signal.SIGINT, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            go(recipe(), files, run)
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == [checkpoint_name(2)]
    go(recipe(), files, run, resume=True)
    assert differences(run / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []


def killed(folder: Path, seed: int, kills: int) -> list[str]:
    """Train with some kills; how each attempt ended."""
    script = Path(__file__).with_name("training_kill.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(seed), str(kills)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def check_kills(folder: Path, whole: Path, seed: int, kills: int) -> list[str]:
    """Hold a training that was killed against a whole one; how its attempts ended."""
    pictures(folder)
    ends = killed(folder, seed, kills)
    # Once a run is done there is nothing left to kill; how soon that is is chance.
    assert sum(end.endswith("killed") for end in ends) >= 3
    run = folder / "run"
    for path in list_checkpoints(whole / "checkpoints"):
        assert differences(run / "checkpoints" / path.name, path) == []
    assert len(list_checkpoints(run / "checkpoints")) == len(
        list_checkpoints(whole / "checkpoints")
    )
    for name in ("metrics.csv", "validation.csv"):
        assert (run / name).read_text() == (whole / name).read_text()
    assert not [path for path in run.rglob("*") if "partial" in path.name]
    return ends


def test_a_run_killed_at_random_moments_ends_the_same_to_the_bit(
    tmp_path: Path, whole: Path
) -> None:
    check_kills(tmp_path, whole, seed=0, kills=12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_run_killed_at_many_random_moments_ends_the_same_to_the_bit(
    tmp_path: Path, whole: Path, seed: int
) -> None:
    check_kills(tmp_path, whole, seed, kills=20)


def test_a_run_stopped_before_its_first_checkpoint_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    files, run = pictures(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        after_step(patch, 1, send(signal.SIGINT, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            go(recipe(), files, run)
    assert list_checkpoints(run / "checkpoints") == []
    with pytest.raises(UserError, match="holds a training already; pass --resume"):
        go(recipe(), files, run)
    go(recipe(), files, run, resume=True)
    assert differences(run / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []


@pytest.fixture
def copied(tmp_path: Path, whole: Path) -> tuple[Files, Path]:
    """A finished run that a test may spoil, and its files."""
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    return find_files(tmp_path / "a", tmp_path / "b", ("image", "video")), tmp_path / "run"


def test_where_there_is_nothing_to_resume_this_is_said(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    with pytest.raises(UserError, match="run: holds no training to resume; leave out --resume"):
        go(recipe(), files, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_finished(copied: tuple[Files, Path], whole: Path) -> None:
    files, run = copied
    shutil.rmtree(run / "model")
    result = go(recipe(), files, run, resume=True)
    assert (result.steps, result.interrupted, result.model) == (8, False, run / "model")
    load_model(run / "model")
    assert differences(run / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []


def test_a_finished_run_can_be_made_longer_and_log_otherwise(copied: tuple[Files, Path]) -> None:
    files, run = copied
    result = go(recipe(steps=9, log_every=2, keep=1, divergence_limit=1e6), files, run, resume=True)
    assert result.steps == 12
    kept = list_checkpoints(run / "checkpoints")
    assert kept[-1].name == checkpoint_name(12)
    assert best_checkpoint(run / "checkpoints") in kept


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimiser": {"generator_lr": 1e-4}}, "optimiser.generator_lr: 0.0002, but .* 0.0001"),
        ({"objective": {"adversarial": {"loss": "wgan-gp"}}}, "objective.cycle"),
        (
            {"data": {"load_size": 20, "crop_size": 20}},
            "data.crop_size: 16, but this recipe has 20",
        ),
        (
            {"model": {**EXACT["model"], "generator": {"name": "resnet", "width": 4}}},
            "model.generator.width: 2, but this recipe has 4",
        ),
        ({"trainer": {**EXACT["trainer"], "seed": 1}}, "trainer.seed: 0, but this recipe has 1"),
        ({"trainer": {**EXACT["trainer"], "ema": 0}}, "trainer.ema: 0.9, but this recipe has 0"),
    ],
)
def test_resuming_with_another_recipe_is_refused(
    copied: tuple[Files, Path], changes: dict[str, Any], says: str
) -> None:
    files, run = copied
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=f"run: was started with {says}"):
        go(recipe({**EXACT, **changes}), files, run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_other_files_are_told_of(
    copied: tuple[Files, Path], caplog: pytest.LogCaptureFixture
) -> None:
    files, run = copied
    shutil.copy(files.train_a[0], files.train_a[0].with_name("new.png"))
    folders = [files.train_a[0].parent, files.train_b[0].parent]
    with caplog.at_level(logging.WARNING, logger="cyclegan_media"):
        go(recipe(), find_files(*folders, ("image", "video")), run, resume=True)
    assert "the training files differ" in caplog.text


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("name", ["training.pt", "rank-0.pt"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing; this checkpoint cannot be resumed"),
        (lambda path: path.write_bytes(b""), "is damaged or not a training state"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "is damaged or not a training"),
        (
            lambda path: path.write_bytes(pickle.dumps(Bomb(), protocol=2)),
            "is damaged or not a training",
        ),
        (lambda path: torch.save({"format": 99}, path), "is not a training state of this version"),
        (lambda path: torch.save([1, 2], path), "is not a training state of this version"),
    ],
)
def test_a_spoiled_checkpoint_is_named_and_runs_nothing(
    copied: tuple[Files, Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: Callable[[Path], Any],
    says: str,
) -> None:
    files, run = copied
    monkeypatch.chdir(run)
    damage(run / "checkpoints" / LAST / name)
    with pytest.raises(UserError, match=f"{LAST}/{name}: {says}"):
        go(recipe(), files, run, resume=True)
    assert not (run / "owned").exists()


def test_a_checkpoint_of_other_networks_is_refused(copied: tuple[Files, Path]) -> None:
    files, run = copied
    path = run / "checkpoints" / LAST / "training.pt"
    state = read_state(path)
    del state["networks"]["generator_a2b"]["residual.0.layers.1.weight"]
    torch.save(state, path)
    with pytest.raises(UserError, match=f"{LAST}: does not fit this recipe's networks: .*residual"):
        go(recipe(), files, run, resume=True)


@pytest.mark.parametrize(
    "change",
    [lambda moments: moments.pop("exp_avg_sq"), lambda moments: moments["exp_avg"].resize_(1)],
)
def test_moments_that_do_not_fit_are_refused(
    copied: tuple[Files, Path], change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    files, run = copied
    path = run / "checkpoints" / LAST / "training.pt"
    state = read_state(path)
    change(state["generators"]["state"][0])
    torch.save(state, path)
    with pytest.raises(UserError, match=f"{LAST}: does not fit .* the moments of a weight are"):
        go(recipe(steps=9), files, run, resume=True)


def test_one_flipped_bit_of_a_training_state_is_found(copied: tuple[Files, Path]) -> None:
    files, run = copied
    path = run / "checkpoints" / LAST / "training.pt"
    content = bytearray(path.read_bytes())
    at = content.index(
        read_state(path)["networks"]["generator_a2b"]["encoder.1.weight"].numpy().tobytes()
    )
    content[at] ^= 1  # the last bit of a weight's mantissa
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{LAST}/training.pt: is damaged .*checksum"):
        go(recipe(steps=9), files, run, resume=True)


def test_a_full_disk_is_told_from_other_failures() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_state(Path("/dev/full"), {"weights": torch.zeros(100_000)})
    assert caught.value.errno == errno.ENOSPC


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    """No file may grow beyond 8 kB from the third step on, as if the disk were full."""
    files, run = pictures(tmp_path), tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        after_step(patch, 3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1])))
        try:
            with pytest.raises((UserError, RunError), match="too large") as caught:
                go(recipe(), files, run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == [checkpoint_name(2)]
    assert not [path for path in run.rglob("*") if "partial" in path.name]
    load_model(run / "checkpoints" / checkpoint_name(2) / "model")
    go(recipe(), files, run, resume=True)
    assert differences(run / "checkpoints" / LAST, whole / "checkpoints" / LAST) == []


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="file/run: cannot go on making the run's folder"):
        go(recipe(), files, tmp_path / "file" / "run")
