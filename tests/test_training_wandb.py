"""Trainings that log to Weights & Biases: what a run holds, and that nothing of it stops one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import yaml
from training_runs import EXACT, differences, pictures, recipe

from cyclegan_media.cli import main
from cyclegan_media.training import TrainingResult, Wandb, train, wandb_log
from cyclegan_media.training.checkpoint import checkpoint_name
from cyclegan_media.training.wandb_log import WandbBoard

pytest.importorskip("wandb")

HERE = Wandb("tests", "a name")
KEY = "0" * 40


@pytest.fixture(autouse=True)
def _nobody_and_nowhere(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Without the login and the network of who runs the tests; wandb reads them once a process."""
    import wandb

    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    yield
    wandb.teardown()


def records(run: Path) -> list[list[Any]]:
    """What the runs in this folder hold, one after the other as they were begun."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    wandb.teardown()  # waits until all is written
    runs = []
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        held = []
        while (content := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(content)
            held.append(record)
        runs.append(held)
    return runs


def history(held: list[Any]) -> list[dict[str, Any]]:
    rows = [record.history for record in held if record.WhichOneof("record_type") == "history"]
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in rows
    ]


def stated(held: list[Any]) -> Any:
    return next(record.run for record in held if record.WhichOneof("record_type") == "run")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("plain")
    return train(recipe(), pictures(folder), folder / "run", device="cpu", progress=False)


def test_a_run_holds_what_was_logged_and_the_recipe(plain: TrainingResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe(), pictures(tmp_path), run, device="cpu", progress=False, wandb=HERE)
    (held,) = records(run)
    about = stated(held)
    assert (about.project, about.display_name) == ("tests", "a name")
    config = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert config["objective"]["cycle"]["weight"] == 10
    rows = history(held)
    losses = {row["step"]: row["loss/cycle_a"] for row in rows if "loss/cycle_a" in row}
    lines = (run / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("cycle_a")
    wanted = {int(line.split(",")[0]): float(line.split(",")[column]) for line in lines[1:]}
    assert losses == pytest.approx(wanted, rel=1e-4)
    assert [row["step"] for row in rows if "validation/score" in row] == [3, 6, 8]
    shown = [row for row in rows if "a2b/_type" in row]
    files = next(iter((run / "wandb").glob("offline-run-*"))) / "files"
    assert [row["a2b/_type"] for row in shown] == ["image-file"] * 2
    assert all((files / row["a2b/path"]).is_file() for row in shown)
    # The training itself is that of one which logs nowhere.
    last = Path("checkpoints") / checkpoint_name(8)
    assert differences(run / last, plain.run / last) == []


def test_a_resumed_training_goes_on_with_the_same_run(tmp_path: Path) -> None:
    run, files = tmp_path / "run", pictures(tmp_path)
    short = recipe(steps=4, decay_steps=0)
    train(short, files, run, device="cpu", progress=False, wandb=Wandb("tests"))
    long = recipe(steps=6, decay_steps=0)
    train(long, files, run, device="cpu", progress=False, wandb=Wandb("tests"), resume=True)
    first, second = records(run)
    assert stated(first).run_id == stated(second).run_id
    assert stated(first).display_name == "run"
    steps = [row["step"] for held in (first, second) for row in history(held)]
    assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6]
    assert min(row["step"] for row in history(second)) == 5


def test_sounds_are_kept(tmp_path: Path) -> None:
    board = WandbBoard(tmp_path, HERE, {})
    board.sound(3, "a2b", np.zeros(800, np.float32), 16000)
    board.close()
    (held,) = records(tmp_path)
    (row,) = history(held)
    assert (row["step"], row["a2b/_type"]) == (3, "audio-file")


def test_nothing_is_written_elsewhere_and_nothing_said(tmp_path: Path) -> None:
    home, scratch, run = tmp_path / "home", tmp_path / "scratch", tmp_path / "run"
    for folder in (home, scratch, run):
        folder.mkdir()
    code = (
        "import sys, numpy as np; from pathlib import Path;"
        "from cyclegan_media.training.wandb_log import Wandb, WandbBoard;"
        "board = WandbBoard(Path(sys.argv[1]), Wandb('tests'), {});"
        "board.scalars(1, {'loss/cycle_a': 1.0});"
        "board.picture(1, 'a2b', np.zeros((8, 8, 3), np.uint8)); board.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, run],
        env={
            **{**os.environ, "HOME": str(home), "TMPDIR": str(scratch)},
            "MPLCONFIGDIR": matplotlib.get_configdir(),  # else it looks for fonts again
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert len(records(run)) == 1
    others = [*home.rglob("*"), *scratch.rglob("*")]
    assert [path for path in others if "wandb" in path.name] == []


@pytest.mark.parametrize("key", [None, KEY])
def test_without_a_login_or_a_network_a_run_stays_here(
    key: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb_log, "_PATIENCE", 3)
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    board = WandbBoard(tmp_path, HERE, {})
    board.scalars(1, {"loss/cycle_a": 1.0})
    board.close()
    assert "to be sent by wandb sync" in caplog.text
    assert ("nobody is logged in" in caplog.text) == (key is None)
    (held,) = records(tmp_path)
    assert history(held)[0]["loss/cycle_a"] == 1.0


def test_a_failure_is_a_warning_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "wandb").write_text("in the way")
    done = train(recipe(), pictures(tmp_path), run, device="cpu", progress=False, wandb=HERE)
    assert done.steps == 8
    assert caplog.text.count("the training goes on without") == 1


def test_a_missing_package_is_named_before_the_training_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(EXACT))
    given = ["train", own, "--data-a", tmp_path / "a", "--data-b", tmp_path / "b"]
    arguments = [str(item) for item in [*given, "--out", tmp_path / "run"]]
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*arguments, "--wandb", "tests"]) == 2
    assert "pip install 'cyclegan-media[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--wandb-name", "x"]) == 2
    assert "goes with --wandb" in capsys.readouterr().err
