"""Recipes of folders of the user's own, by bare name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import load_recipe
from cyclegan_media.recipe.files import FOLDERS, recipe_content, shipped_recipes


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders with a recipe each, the second of which extends the first."""
    found = [tmp_path / "lab", tmp_path / "my own"]
    for folder in found:
        folder.mkdir()
    (found[0] / "dusk.yaml").write_text(
        "name: dusk\nextends: cyclegan_small\ndescription: Day into dusk.\n"
    )
    (found[1] / "dusk_long.yaml").write_text(
        "name: dusk_long\nextends: dusk\ntrainer: {steps: 77, decay_steps: 3}\n"
    )
    monkeypatch.setenv(FOLDERS, os.pathsep.join(map(str, found)))
    return found


def test_they_are_named_listed_and_extended(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe("dusk_long", ["trainer.batch_size=3"])
    assert (recipe.name, recipe.description) == ("dusk_long", "Day into dusk.")
    assert (recipe.trainer.steps, recipe.trainer.batch_size) == (77, 3)
    assert main(["recipes", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed) == {*shipped_recipes(), "dusk", "dusk_long"}
    assert listed["dusk_long"]["path"] == str(folders[1] / "dusk_long.yaml")
    assert listed["dusk_long"]["modality"] == "image"
    assert main(["info", "dusk_long"]) == 0
    assert "77 steps" in capsys.readouterr().out


def test_two_of_one_name_are_refused(folders: list[Path]) -> None:
    (folders[1] / "cyclegan.yaml").write_text("name: cyclegan\nextends: cyclegan\n")
    with pytest.raises(UserError, match=r"two recipes are called cyclegan: .*; rename one"):
        load_recipe("dusk")


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDERS, "/nowhere/at/all")
    with pytest.raises(UserError, match=r"CYCLEGAN_MEDIA_RECIPES: /nowhere/at/all is not a folder"):
        load_recipe("cyclegan")


def test_a_mistyped_name_is_answered_by_those_like_it(folders: list[Path]) -> None:
    with pytest.raises(UserError, match="did you mean dusk_long or dusk"):
        load_recipe("dusk_lonk")


@pytest.mark.parametrize("name", shipped_recipes())
def test_info_prints_what_a_shipped_recipe_states(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a check, which is done here: what the brief form prints is what training takes."""
    recipe, (_, content) = load_recipe(name), recipe_content(name)
    stated = recipe.model_dump(mode="json")
    assert content["description"] == stated["description"]
    for key, value in content["trainer"].items():
        assert stated["trainer"][key] == value
    assert main(["info", name]) == 0
    shown = capsys.readouterr().out
    assert stated["description"] in shown
    assert f"generator      {stated['model']['generator']['name']}" in shown
