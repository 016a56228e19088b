"""Recipes of every method: which networks they build, and which combinations are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cyclegan_media.backbones import spec_of
from cyclegan_media.core import METHODS, Weight
from cyclegan_media.core.terms import FeatureCycle
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import build_networks, build_objective, load_recipe, parse_recipe

RESNET = {"name": "resnet", "width": 4, "blocks": 2}
PATCH = {"name": "patchgan", "width": 4, "layers": 1}
BASE: dict[str, Any] = {
    "name": "base",
    "modality": "image",
    "model": {"generator": RESNET, "discriminator": PATCH},
    "objective": {"adversarial": {}, "cycle": {"weight": 10}},
    "data": {"load_size": 32, "crop_size": 32},
    "trainer": {"steps": 2},
}
CUT: dict[str, Any] = {
    **BASE,
    "method": "one_sided",
    "model": {**BASE["model"], "projection": {"name": "projection", "width": 8}},
    "objective": {
        "adversarial": {},
        "patch_nce": {"layers": [0, 4, 10]},
        "identity_nce": {"layers": [0, 4, 10]},
    },
}
AUGMENTED: dict[str, Any] = {
    **BASE,
    "method": "augmented",
    "model": {
        "generator": {"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 3},
        "discriminator": PATCH,
        "encoder": {"name": "latent_encoder", "width": 4, "latent": 3, "layers": 2},
        "latent_discriminator": {"name": "latent_discriminator", "width": 4, "latent": 3},
    },
    "objective": {"adversarial": {}, "latent_adversarial": {}, "cycle": {}, "latent_cycle": {}},
}
RECYCLE: dict[str, Any] = {
    **BASE,
    "method": "recycle",
    "model": {
        **BASE["model"],
        "predictor": {"name": "predictor", "width": 4, "downsamplings": 4, "frames": 2},
    },
    "objective": {"adversarial": {}, "recurrent": {}, "recycle": {}},
    "data": {"load_size": 32, "crop_size": 32, "clip_frames": 3},
}
MASKED: dict[str, Any] = {
    **BASE,
    "modality": "voice",
    "method": "masked",
    "model": {
        "generator": {"name": "mask_vc", "coefficients": 8, "width": 4},
        "discriminator": {"name": "mask_vc_discriminator", "coefficients": 8, "width": 4},
    },
    "objective": {"adversarial": {}, "two_step_adversarial": {}, "cycle": {}},
    "data": {"frames": 32, "longest_gap": 16, "analysis": {"coefficients": 8}},
}


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one key set, or removed where the value is ``...``."""
    content = copy.deepcopy(content)
    *parts, last = path.split(".")
    place = content
    for part in parts:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize("content", [BASE, CUT, AUGMENTED, RECYCLE, MASKED])
def test_networks_are_those_that_method_and_terms_need(content: dict[str, Any]) -> None:
    recipe = parse_recipe(content)
    objective = build_objective(recipe)
    assert objective.method is METHODS[recipe.method]
    networks = dict(build_networks(recipe, objective.roster).named_children())
    assert {name: network.role for name, network in networks.items()} == {
        name: part.role for name, part in objective.roster.items()
    }
    for name, network in networks.items():
        role = objective.roster[name].role
        assert spec_of(network) == recipe.model.specs[role]  # type: ignore[arg-type]


def test_a_second_discriminator_has_a_section_of_its_own_or_shares_the_first() -> None:
    shared = changed(BASE, "objective.second_adversarial", {})
    own = changed(shared, "model.second_discriminator", {**PATCH, "layers": 2})
    for content, layers in ((shared, 1), (own, 2)):
        recipe = parse_recipe(content)
        networks = build_networks(recipe, build_objective(recipe).roster)
        assert networks["discriminator_a"].config.layers == 1
        assert networks["discriminator_second_a"].config.layers == layers


def test_the_projection_follows_the_layers_of_the_generator() -> None:
    assert parse_recipe(CUT).model.specs["projection"]["inputs"] == [3, 8, 16]
    wider = changed(CUT, "model.generator.width", 6)
    assert parse_recipe(wider).model.specs["projection"]["inputs"] == [3, 12, 24]


def test_schedules_inside_a_term_are_read() -> None:
    content = changed(BASE, "objective", {"adversarial": {}, "feature_cycle": {"weight": 10}})
    content["objective"]["feature_cycle"]["gamma"] = {"value": 0, "final": 0.9, "end": 100}
    recipe = parse_recipe(content)
    term, weight = build_objective(recipe).terms["feature_cycle"]
    assert term == FeatureCycle(gamma=Weight(0.0, final=0.9, end=100))
    assert weight == Weight(10.0)
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("content", "path", "value", "says"),
    [
        (BASE, "method", "cyclegun", "method: no method is called 'cyclegun'; there are: one_s"),
        (
            BASE,
            "method",
            "one_sided",
            "objective.cycle: reads cycle_a, cycle_b, which method 'one_sided' does not compute;",
        ),
        (
            MASKED,
            "data.longest_gap",
            0,
            "method 'masked': needs mask, which the data of this recipe does not give;"
            " set data.longest_gap",
        ),
        (
            MASKED,
            "method",
            "cyclegan",
            "data.longest_gap: gives mask, which nothing in this recipe needs",
        ),
        (MASKED, "data.longest_gap", 33, r"data: longest_gap \(33\) must be at most frames \(32\)"),
        (
            RECYCLE,
            "data.clip_frames",
            1,
            "method 'recycle': needs clips, .*; set data.clip_frames",
        ),
        (
            RECYCLE,
            "data.clip_frames",
            4,
            r"model.predictor: .*needs a batch shaped \(batch, 6, height, width\)",
        ),
        (BASE, "data.clip_frames", 3, "data.clip_frames: gives clips, which nothing"),
        (BASE, "data.flow", True, "data: flow: there is no motion in single pictures"),
        (
            BASE,
            "objective.masked_cycle",
            {},
            "objective.masked_cycle: needs face_mask, .*; set data.face_masks",
        ),
        (MASKED, "objective.ssim_cycle", {}, "objective.ssim_cycle: needs pixels, .*; leave it"),
        (
            AUGMENTED,
            "model.generator",
            RESNET,
            "model.generator: 'resnet' is not a latent generator, which method 'augmented' needs",
        ),
        (
            MASKED,
            "model.generator",
            {"name": "vc2", "coefficients": 8, "width": 4},
            "model.generator: 'vc2' is not a masked generator, which method 'masked' needs",
        ),
        (AUGMENTED, "model.encoder", ..., "model.encoder: is missing"),
        (
            AUGMENTED,
            "model.encoder.latent",
            4,
            "model.encoder.latent: is 4, but model.generator.latent is 3; make them equal",
        ),
        (
            BASE,
            "model.encoder",
            AUGMENTED["model"]["encoder"],
            "model.encoder: unknown key; this recipe's networks are: generator, discriminator",
        ),
        (BASE, "model.layers", 3, "model.layers: .*dictionary"),
        (CUT, "model.projection", PATCH, "model.projection.name: 'patchgan' is for discriminator"),
        (
            CUT,
            "model.projection.inputs",
            [3, 8, 8],
            r"model.projection: its inputs must be \[3, 8, 16\], .*; leave 'inputs' out",
        ),
        (
            CUT,
            "objective.identity_nce.layers",
            [0, 4],
            "objective.identity_nce.layers: must be those of patch_nce",
        ),
        (
            changed(CUT, "objective.identity_nce", ...),
            "objective.patch_nce.layers",
            [99],
            "objective.patch_nce.layers: backbone 'resnet': has layers 0 to",
        ),
        (
            BASE,
            "trainer.freeze",
            {"generator_a2b.global_body": 5},
            "trainer.freeze: generator_a2b.global_body: there is no such network or part",
        ),
        (
            BASE,
            "objective.feature_cycle",
            {"gamma": {"value": 0, "finale": 1}},
            "objective.feature_cycle.gamma.finale: unknown key; known here: value, final, start",
        ),
        (
            BASE,
            "objective.feature_cycle",
            {"quality": "great"},
            "objective.feature_cycle.quality: .*'none', 'real' or 'generated'",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    content: dict[str, Any], path: str, value: Any, says: str
) -> None:
    with pytest.raises(UserError, match=f"^recipe: {says}") as caught:
        parse_recipe(changed(content, path, value))
    assert "\n" not in str(caught.value)


def test_crops_need_not_be_square() -> None:
    recipe = load_recipe("pix2pixhd")
    assert recipe.data.example_shape == (3, 512, 1024)
    with pytest.raises(UserError, match=r"load_size \(300\) must be at least crop_size \(512\)"):
        load_recipe("pix2pixhd", ["data.load_size=300"])
