"""Recipes that state only what they change of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cyclegan_media.commands.describe import describe
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import ImageRecipe, Recipe, build_objective, dump_recipe, load_recipe

BASE = """\
name: base
description: What the others change.
modality: image
model:
  generator: {name: resnet, width: 2, blocks: 1}
  discriminator: {name: patchgan, width: 2, layers: 1}
objective: {adversarial: {loss: lsgan}, cycle: {weight: 10, until: 50}}
data: {load_size: 20, crop_size: 16}
trainer: {epochs: 3, decay_epochs: 1, history: 7}
"""


def write(folder: Path, **recipes: str) -> Path:
    """Write recipe files; the path of the last."""
    path = folder
    for name, text in recipes.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def weights(recipe: Recipe) -> dict[str, float]:
    return {name: weight(0) for name, (_, weight) in build_objective(recipe).terms.items()}


def test_sections_are_joined_key_by_key(tmp_path: Path) -> None:
    changes = """\
extends: base.yaml
name: mine
model: {generator: {name: unet, width: 4, downsamplings: 4}}
objective: {cycle: {weight: 5}, identity: {weight: 2}}
data: {load_size: null}
"""
    recipe = load_recipe(write(tmp_path, base=BASE, mine=changes))
    assert isinstance(recipe, ImageRecipe)
    assert (recipe.name, recipe.description) == ("mine", "What the others change.")
    assert recipe.model.generator["name"] == "unet"
    assert "blocks" not in recipe.model.generator  # a network is replaced as a whole
    assert recipe.model.discriminator["width"] == 2
    assert recipe.objective["cycle"] == {"weight": 5.0}  # and so is a term
    assert list(recipe.objective) == ["adversarial", "cycle", "identity"]
    assert (recipe.data.load_size, recipe.data.crop_size) == (None, 16)
    assert recipe.trainer.history == 7


def test_bases_may_extend_others_and_overrides_come_last(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, base=BASE)
    write(tmp_path / "sub", middle="extends: ../base.yaml\nname: m\ndata: {load_size: 24}")
    top = write(tmp_path, top="extends: sub/middle.yaml\nname: top\ntrainer: {history: 1}")
    recipe = load_recipe(top, ["trainer.batch_size=4"])
    assert isinstance(recipe, ImageRecipe)
    assert recipe.name == "top"
    assert (recipe.data.load_size, recipe.data.crop_size) == (24, 16)
    assert (recipe.trainer.history, recipe.trainer.batch_size) == (1, 4)


def test_a_length_in_steps_takes_back_one_in_epochs(tmp_path: Path) -> None:
    steps = "extends: base.yaml\nname: s\ntrainer: {steps: 5}"
    path = write(tmp_path, base=BASE, steps=steps)
    assert load_recipe(path).trainer.length(100) == (5, 0)
    epochs = "extends: steps.yaml\nname: e\ntrainer: {epochs: 2, decay_epochs: 1}"
    assert load_recipe(write(tmp_path, epochs=epochs)).trainer.length(100) == (200, 100)


def test_what_is_written_and_shown_is_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path, mine="extends: horse2zebra\nname: mine\ndomains: [cat, dog]")
    recipe = load_recipe(path)
    written = dump_recipe(recipe)
    assert "extends" not in yaml.safe_load(written)
    assert load_recipe(write(tmp_path, copy=written)) == recipe
    shown = describe(str(path))
    assert (shown["name"], shown["domains"]) == ("mine", ["cat", "dog"])
    assert shown["model"]["generator"]["blocks"] == 9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extends: cyclegone\nname: x", "extends: no recipe is called 'cyclegone'; .*cut,"),
        ("extends: none.yaml\nname: x", "extends: there is no file .*none.yaml"),
        ("extends: [a, b]\nname: x", "extends: give the name of a recipe or a file"),
        ("extends: base.yaml", "name: is missing"),
        ("extends: mine.yaml\nname: x", "in a circle: mine.yaml → mine.yaml"),
        ("extends: loop.yaml\nname: x", "circle: mine.yaml → loop.yaml → mine.yaml"),
        ("extends: broken.yaml\nname: x", "broken.yaml: is not valid YAML"),
        ("extends: base.yaml\nname: x\ndata: {crop: 3}", "data.crop: unknown key"),
        ("extends: base.yaml\nname: x\nmodality: voice", "crop_size: unknown key|load_size"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    loop = "extends: mine.yaml\nname: loop"
    path = write(tmp_path, base=BASE, loop=loop, broken="name: [", mine=text)
    with pytest.raises(UserError, match=says) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_the_applications_are_those_of_the_paper() -> None:
    """Zhu 2017, sections 4 and 5 and appendix 7: identity for paintings alone, λ = 10."""
    plain = {"adversarial": 1, "cycle": 10}
    for name in ("horse2zebra", "apple2orange", "summer2winter", "maps", "facades"):
        recipe = load_recipe(name)
        assert isinstance(recipe, ImageRecipe)
        assert weights(recipe) == plain
        assert recipe.model.generator["blocks"] == 9
        assert (recipe.data.load_size, recipe.data.crop) == (286, (256, 256))
        assert recipe.trainer.length(1067) == (106_700, 106_700)
        assert (recipe.trainer.batch_size, recipe.trainer.history) == (1, 50)
        assert recipe.optimiser.generator_lr == 2e-4
    paintings = load_recipe("photo2monet")
    assert weights(paintings) == {**plain, "identity": 5}
    assert paintings.domains == ("painting", "photo")
    streets = load_recipe("cityscapes")
    assert isinstance(streets, ImageRecipe)
    assert weights(streets) == plain
    assert (streets.model.generator["blocks"], streets.data.crop) == (6, (128, 128))
