"""``cyclegan-media evaluate --run``: measures over a training, and the model that it chose."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from evaluation_files import Page, picture_model
from training_runs import pictures, recipe

from cyclegan_media.cli import main
from cyclegan_media.evaluation.history import trace
from cyclegan_media.training import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of six steps, whose checkpoints are all kept, and a report on it."""
    root = tmp_path_factory.mktemp("training")
    files = pictures(root / "data", count=10, size=40)
    every: dict[str, Any] = {f"{kind}_every": 2 for kind in ("validate", "checkpoint", "preview")}
    steps = recipe(steps=4, decay_steps=2, keep=9, **every)
    train(steps, files, root / "run", device="cpu", precision="fp32")
    command = ["evaluate", "--run", str(root / "run"), *_data(root), "--examples", "0"]
    assert main([*command, "--out", str(root / "report.html")]) == 0
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def _data(root: Path) -> list[str]:
    data = ["--data-a", str(root / "data" / "a"), "--data-b", str(root / "data" / "b")]
    return [*data, "--held-out", "[0-4].png", "--size", "32", "--device", "cpu"]


def test_every_kept_checkpoint_is_measured(data: dict[str, Any]) -> None:
    found = data["training"]["run"]
    assert [checkpoint["step"] for checkpoint in found["checkpoints"]] == [2, 4, 6]
    values = [checkpoint["directions"]["a2b"] for checkpoint in found["checkpoints"]]
    assert all(math.isfinite(value["kid"]) for value in values)
    # The training moves, so no two checkpoints give the same pictures.
    assert len({value["cycle_psnr"] for value in values}) == 3


def test_the_model_of_a_training_is_the_best_by_validation(
    folder: Path, data: dict[str, Any]
) -> None:
    with open(folder / "run" / "validation.csv", newline="") as file:
        scores = {int(row["step"]): float(row["score"]) for row in csv.DictReader(file)}
    best = min(scores, key=lambda step: scores[step])
    found = data["training"]["run"]
    assert found["best"] == best == data["models"]["run"]["steps"]
    chosen = next(c for c in found["checkpoints"] if c["step"] == best)
    assert chosen["validation_score"] == pytest.approx(scores[best], rel=1e-5)
    # The row of the training is that of its best checkpoint, not of its last.
    for way, values in chosen["directions"].items():
        assert data["directions"][way]["run"] == pytest.approx(values, rel=1e-6)
    assert [row["step"] for row in found["validation"]] == [2, 4, 6]


def test_the_page_draws_measures_validation_and_losses(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert page.sections == ["a2b", "b2a", "training", "made"]
    for heading in (
        "KID (built-in) over the steps",
        "score over the steps",
        "cycle over the steps",
    ):
        assert f'alt="{heading}"' in html


def test_a_training_that_has_not_ended_is_measured_so_far(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for part in ("recipe.yaml", "checkpoints"):
        (run / part).parent.mkdir(exist_ok=True)
        (run / part).symlink_to(folder / "run" / part)
    found = trace(run, lambda model: {"a2b": {"kid": 1.0, "fid": math.nan}})
    assert [c["directions"] for c in found["checkpoints"]] == [
        {"a2b": {"kid": 1.0, "fid": None}}
    ] * 3
    assert found["validation"] == []
    command = ["evaluate", "--run", str(run), *_data(folder), "--examples", "0", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "report.html")]) == 0
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["models"]["run"]["steps"] == data["training"]["run"]["best"]


def test_a_training_without_a_checkpoint_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").symlink_to(folder / "run" / "recipe.yaml")
    picture_model(tmp_path / "model")
    command = ["evaluate", "--run", str(tmp_path / "run"), "--model", str(tmp_path / "model")]
    assert main([*command, *_data(folder), "--out", str(tmp_path / "report.html")]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
