"""Recipes: what is accepted is complete, what is wrong is refused with the path of its key."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from torch import Tensor

from cyclegan_media.core import TERMS, Translation, register_term
from cyclegan_media.core.adversarial import Hinge
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import (
    ImageRecipe,
    VoiceRecipe,
    build_objective,
    dump_recipe,
    load_recipe,
    parse_recipe,
    shipped_recipes,
)

IMAGE: dict[str, Any] = {
    "name": "tiny",
    "modality": "image",
    "model": {
        "generator": {"name": "resnet", "width": 2, "blocks": 1},
        "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
    },
    "objective": {"adversarial": {}, "cycle": {"weight": 10}},
    "data": {"load_size": 20, "crop_size": 16},
    "trainer": {"steps": 10},
}
VOICE: dict[str, Any] = {
    "name": "tiny_voice",
    "modality": "voice",
    "model": {
        "generator": {"name": "gated_cnn", "coefficients": 24, "width": 2},
        "discriminator": {"name": "gated_cnn_discriminator", "coefficients": 24, "width": 2},
    },
    "objective": {"adversarial": {}, "cycle": {"weight": 10}},
    "trainer": {"steps": 10},
}


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``content`` with one key set, or removed where ``value`` is ``...``."""
    content = copy.deepcopy(content)
    *sections, key = path.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return content


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_and_survive_being_written(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.paper
    assert recipe.data_wanted
    written = tmp_path / "recipe.yaml"
    written.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(written) == recipe


def test_the_cyclegan_recipe_is_that_of_the_paper() -> None:
    """Zhu 2017, sections 4 and 5.2 and appendix 7."""
    recipe = load_recipe("cyclegan")
    assert isinstance(recipe, ImageRecipe)
    objective = build_objective(recipe)
    weights = {name: weight(0) for name, (_, weight) in objective.terms.items()}
    assert weights == {"adversarial": 1, "cycle": 10, "identity": 5}
    assert recipe.optimiser.betas == (0.5, 0.999)
    assert recipe.optimiser.generator_lr == recipe.optimiser.discriminator_lr == 2e-4
    assert (recipe.trainer.epochs, recipe.trainer.decay_epochs) == (100, 100)
    assert (recipe.trainer.history, recipe.trainer.batch_size) == (50, 1)
    assert (recipe.data.load_size, recipe.data.crop_size) == (286, 256)
    assert recipe.model.generator["blocks"] == 9
    assert recipe.model.discriminator["layers"] == 3
    assert recipe.trainer.length(1067) == (106_700, 106_700)


def test_a_recipe_is_completed_with_its_defaults() -> None:
    recipe = parse_recipe(IMAGE)
    assert recipe.model.generator == {
        **IMAGE["model"]["generator"],
        **{"norm": "instance", "dropout": False, "channels": 3, "checkpointing": False},
    }
    assert recipe.objective["adversarial"] == {"weight": 1.0, "loss": "lsgan"}
    assert recipe.objective["cycle"] == {"weight": 10.0}
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_schedules_of_weights_survive_being_written() -> None:
    schedule = {"weight": 10.0, "final_weight": 2.0, "start": 5, "end": 9, "until": 100}
    recipe = parse_recipe(changed(IMAGE, "objective.cycle", schedule))
    assert recipe.objective["cycle"] == schedule
    _, weight = build_objective(recipe).terms["cycle"]
    assert [weight(step) for step in (0, 7, 50, 100)] == [10, 6, 2, 0]


def test_options_of_a_term_reach_it() -> None:
    recipe = parse_recipe(changed(IMAGE, "objective.adversarial", {"loss": "hinge"}))
    term, _ = build_objective(recipe).terms["adversarial"]
    assert term.loss == "hinge"
    discriminator = torch.nn.Identity()
    real, fake = torch.tensor([0.5]), torch.tensor([-2.0])
    assert Hinge().discriminator(discriminator, real, fake).item() == 0.5


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("trainer.stpes", 5, "trainer.stpes: unknown key; known here: steps, decay_steps, "),
        ("optimizer", {}, "optimizer: unknown key; known here: name, "),
        ("data.crop", 5, "data.crop: unknown key; known here: hold_out, load_size"),
        ("model.encoder", {}, "model.encoder: unknown key"),
        ("model.generator.blokcs", 5, "model.generator.blokcs: unknown key; 'resnet' knows: "),
        ("objective.cycle.wieght", 5, "objective.cycle.wieght: unknown key; known here: weight, "),
        ("trainer.steps", "many", r"trainer.steps: .*integer.*\(got 'many'\)"),
        ("trainer.steps", 0, "trainer.steps: input should be greater than 0 "),
        ("trainer.steps", 1.5, "trainer.steps: .*integer"),
        ("trainer", 5, r"trainer: .*\(got 5\)"),
        ("data", [1], "data: .*"),
        ("data.flip", "perhaps", "data.flip: .*boolean"),
        ("data.crop_size", 8, "data.crop_size: .*greater than or equal to 16"),
        ("data.load_size", 15, r"data: load_size \(15\) must be at least crop_size \(16\)"),
        ("domains", ["a"], "domains"),
        ("optimiser.generator_lr", math.nan, "optimiser.generator_lr: .*finite number"),
        ("optimiser.generator_lr", -1, "optimiser.generator_lr: .*greater than 0"),
        ("optimiser.betas", [0.5, 1.0], "optimiser.betas: both must be at least 0 and below 1"),
        ("trainer.ema", 1.0, "trainer.ema: .*less than 1"),
        ("trainer.epochs", 5, r"trainer: give either 'steps' or 'epochs' \(not both\)"),
        ("trainer.decay_epochs", 5, "trainer: 'decay_epochs' goes with 'epochs'"),
        ("name", ..., "name: is missing"),
        ("model.generator", ..., "model.generator: is missing"),
        ("modality", ..., "modality: is missing; it is 'image' or 'voice'"),
        ("modality", "smell", "modality: must be 'image' or 'voice', not 'smell'"),
        ("model.generator.name", "cyclegan_media.cli", "model.generator.name: no backbone is "),
        ("model.generator.name", "patchgan", "model.generator.*: 'patchgan' is for discriminator"),
        ("model.generator", {"name": "gated_cnn"}, "model.generator.name: .* is for voice"),
        ("model.generator.channels", 1, r"model.generator: .*\(batch, 1, height, width\)"),
        ("model.discriminator.layers", 3, "model.discriminator: .*at least 24, not 16 × 16"),
        ("model.generator", {"name": "unet"}, "model.generator: .*at least 256, not 16 × 16"),
        ("data", {"crop_size": 18, "load_size": 18}, "model.generator: .*multiples of 4, not 18"),
        ("objective", {"cycle": {}}, "objective: .*adversarial"),
        ("objective.circle", {}, "objective.circle: no term is called 'circle'; there are: adv"),
        ("objective.cycle", 10, r"objective.cycle: .*dictionary \(got 10\)"),
        ("objective.cycle.weight", "big", r"objective.cycle.weight: .*number.*\(got 'big'\)"),
        ("objective.cycle.end", 5, "objective.cycle: 'final' and 'end' belong together"),
        ("objective.adversarial.loss", "wgan", "objective.adversarial: no adversarial loss is "),
        ("objective.adversarial.loss", 5, "objective.adversarial.loss: .*string"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path: str, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=f"^recipe.yaml: {says}") as caught:
        parse_recipe(changed(IMAGE, path, value), where="recipe.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "data.analysis",
            {"coefficients": 36},
            "model.generator.coefficients: is 24, but data.analysis.coefficients is 36",
        ),
        ("data.frames", 126, "model.generator: .*frames in multiples of 4, not 126"),
        ("data.crop_size", 64, "data.crop_size: unknown key"),
        ("data.analysis", {"smaple_rate": 16000}, "data.analysis.smaple_rate: unknown key"),
        ("data.analysis", {"sample_rate": 1}, "data.analysis.sample_rate: .*8000"),
        (
            "data.analysis",
            {"kind": "log_mel", "mels": 80},
            "data.analysis.mels: unknown key; known here: .*bands",
        ),
        ("data.analysis", {"kind": "mfcc"}, "data.analysis: kind must be 'world' or 'log_mel'"),
        (
            "data.analysis",
            {"kind": "log_mel"},
            "model.generator.coefficients: is 24, but data.analysis.bands is 80",
        ),
        (
            "data",
            {"analysis": {"kind": "log_mel", "bands": 24}, "match_tracts": True},
            "data: match_tracts: warps the mel-cepstra of analysis.kind 'world'",
        ),
        ("model.generator", {"name": "resnet"}, "model.generator.name: 'resnet' is for image"),
    ],
)
def test_what_is_wrong_with_a_voice_recipe_is_said(path: str, value: Any, says: str) -> None:
    assert isinstance(parse_recipe(VOICE), VoiceRecipe)
    with pytest.raises(UserError, match=f"^recipe: {says}"):
        parse_recipe(changed(VOICE, path, value))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a recipe"),
        (b"- a\n- b\n", "is not a recipe"),
        (b"just words", "is not a recipe"),
        (b"name: [", "is not valid YAML"),
        (b"\xff\xfe\x00\x00", "cannot be read as a recipe"),
        (b"name: !!python/object/apply:os.system ['touch owned']", "is not valid YAML"),
        (b"[" * 2_000, "is not valid YAML"),
    ],
)
def test_files_that_are_no_recipe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"recipe.yaml: {says}"):
        load_recipe(path)
    assert not (tmp_path / "owned").exists()


def test_missing_recipes_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no such recipe file; .*the recipes are: .*cut,"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read as a recipe"):
        load_recipe(tmp_path)
    # A folder of a shipped recipe's name, a run's for instance, does not hide the recipe.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cyclegan").mkdir()
    assert load_recipe("cyclegan").name == "cyclegan"


def test_overrides() -> None:
    recipe = load_recipe(
        "cyclegan_small",
        [
            "trainer.steps=1e3",
            "optimiser.generator_lr=1e-4",
            "objective.identity.until=500",
            "model.generator={name: resnet, blocks: 3}",
            "data.flip=false",
            "domains=[horse, zebra]",
        ],
    )
    assert isinstance(recipe, ImageRecipe)
    assert recipe.trainer.steps == 1000
    assert recipe.trainer.decay_steps == 10_000
    assert recipe.optimiser.generator_lr == 1e-4
    assert recipe.objective["identity"] == {"weight": 5.0, "until": 500}
    assert recipe.model.generator["blocks"] == 3
    assert recipe.model.generator["width"] == 64  # the default: the whole section was replaced
    assert recipe.data.flip is False
    assert recipe.domains == ("horse", "zebra")


def test_a_length_in_steps_replaces_one_in_epochs() -> None:
    recipe = load_recipe("cyclegan", ["trainer.steps=2000"])
    assert recipe.trainer.length(1000) == (2000, 0)
    recipe = load_recipe("cyclegan_small", ["trainer.epochs=2", "trainer.decay_epochs=1"])
    assert recipe.trainer.length(1000) == (2000, 1000)
    with pytest.raises(UserError, match="give either 'steps' or 'epochs'"):
        load_recipe("cyclegan", ["trainer.steps=2000", "trainer.epochs=1"])


def test_length_in_epochs_counts_what_all_processes_see() -> None:
    trainer = load_recipe("cyclegan", ["trainer.batch_size=2"]).trainer
    assert trainer.length(101) == (5000, 5000)
    assert trainer.length(101, processes=4) == (1200, 1200)
    assert trainer.length(1, processes=4) == (100, 100)  # an epoch has at least one step


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trainer.steps", "--set trainer.steps: write it as path.to.key=value"),
        ("=5", "--set =5: write it as"),
        ("trainer..steps=5", "write it as path.to.key=value"),
        ("trainer.steps=[", "the value is not valid YAML"),
        ("name.first=x", "--set name.first: 'name' is a value, not a section"),
        ("trainer.stpes=5", "trainer.stpes: unknown key"),
    ],
)
def test_wrong_overrides_are_refused(override: str, says: str) -> None:
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        load_recipe("cyclegan", [override])


def test_a_term_that_needs_what_the_data_does_not_give_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Masked:
        needs: ClassVar[frozenset[str]] = frozenset({"mask"})
        reads: ClassVar[frozenset[str]] = frozenset()

        def __call__(self, t: Translation) -> dict[str, Tensor]:
            raise AssertionError("a refused recipe is never trained")

    monkeypatch.setattr("cyclegan_media.core.objective.TERMS", dict(TERMS))
    monkeypatch.setitem(TERMS, "masked", register_term("masked")(Masked))
    with pytest.raises(UserError, match=r"^recipe: objective\.masked: needs mask, "):
        parse_recipe(changed(IMAGE, "objective.masked", {}))
