"""Every shipped recipe of every system trains, saves what a translation needs, and resumes."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import differences, pictures

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.demo.scenes import write_clip
from cyclegan_media.demo.voices import write_voices
from cyclegan_media.demo.world import make_scene
from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, write_image
from cyclegan_media.pretrained import load_model
from cyclegan_media.recipe import build_objective, load_recipe, parse_recipe
from cyclegan_media.recipe.schema import Recipe
from cyclegan_media.training import train
from cyclegan_media.training.checkpoint import checkpoint_name

RESNET = "model.generator={name: resnet, width: 2, blocks: 2}"
PATCH = "model.discriminator={name: patchgan, width: 2, layers: 1}"
SMALL = ["data.load_size=32", "data.crop_size=32"]
PATCHES = ["objective.patch_nce.layers=[0, 4, 10]", "objective.patch_nce.patches=16"]
IDENTITIES = ["objective.identity_nce.layers=[0, 4, 10]", "objective.identity_nce.patches=16"]
VOICE = ["data.frames=32", "data.analysis={coefficients: 8, f0: dio}"]
MULTISCALE = "model.discriminator={name: multiscale_patchgan, width: 2, layers: 1, scales: 2}"


def vc(backbone: str) -> list[str]:
    spec = "coefficients: 8, width: 2"
    return [
        *VOICE,
        f"model.generator={{name: {backbone}, {spec}}}",
        f"model.discriminator={{name: {backbone}_discriminator, {spec}}}",
    ]


TINY: dict[str, list[str]] = {
    **{
        f"better_cycles{change}": [*SMALL, RESNET, PATCH]
        for change in ("", "_features", "_decay", "_quality")
    },
    "better_cycles_vc": vc("gated_cnn"),
    "faceoff": [
        *SMALL,
        "model.generator={name: unet, width: 2, downsamplings: 4}",
        PATCH,
        "model.second_discriminator={name: patchgan, width: 2, layers: 2}",
    ],
    "augmented": [
        *SMALL,
        "model.generator={name: cin_resnet, width: 2, blocks: 1, latent: 3}",
        PATCH,
        "model.encoder={name: latent_encoder, width: 2, latent: 3, layers: 2}",
        "model.latent_discriminator={name: latent_discriminator, width: 2, latent: 3}",
    ],
    "cut": [*SMALL, RESNET, PATCH, *PATCHES, *IDENTITIES, "model.projection.width=4"],
    "fastcut": [*SMALL, RESNET, PATCH, *PATCHES, "model.projection.width=4"],
    "pix2pixhd_global": [
        *SMALL,
        "data.crop_width=48",
        "model.generator={name: pix2pixhd_global, width: 4, downsamplings: 2, blocks: 1}",
        MULTISCALE,
    ],
    "pix2pixhd": [
        *SMALL,
        "data.crop_width=48",
        "model.generator={name: pix2pixhd_enhancer, width: 2, downsamplings: 2, blocks: 1}",
        MULTISCALE,
    ],
    "recycle": [
        *SMALL,
        RESNET,
        PATCH,
        "model.predictor={name: predictor, width: 2, downsamplings: 4, frames: 2}",
        "data.frames_per_video=3",
    ],
    "cyclegan_vc2": vc("vc2"),
    "maskcyclegan_vc": [
        *vc("mask_vc"),
        "data.longest_gap=16",
        "data.analysis={kind: log_mel, bands: 8}",
    ],
}
RUN = [
    *("trainer.steps=2", "trainer.decay_steps=0", "trainer.batch_size=2", "trainer.log_every=1"),
    *(f"trainer.{kind}_every=2" for kind in ("preview", "validate", "checkpoint")),
]


def tiny(name: str, *overrides: str) -> Recipe:
    return load_recipe(name, [*TINY[name], *RUN, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Files]:
    """Files that a recipe can train on, made when first asked for."""
    folder = tmp_path_factory.mktemp("data")
    made: dict[str, Files] = {}

    def files(recipe: Recipe) -> Files:
        if recipe.modality == "voice":
            kind = "voices"
        elif "clips" in recipe.data.gives:
            kind = "clips"
        else:
            kind = "faces" if "face_mask" in recipe.data.gives else "pictures"
        if kind not in made:
            made[kind] = _MAKE[kind](folder / kind)
        return made[kind]

    return files


def _voices(folder: Path) -> Files:
    write_voices(folder, sentences=3, held_out=1)
    return find_files(folder, folder, ("audio",))


def _clips(folder: Path) -> Files:
    for side, seed in (("a", 1), ("b", 2)):
        (folder / side).mkdir(parents=True)
        path = folder / side / "balls.mp4"
        write_clip(path, make_scene(seed), side, seconds=0.5, size=(32, 32), with_sound=False)  # type: ignore[arg-type]
    return find_files(folder / "a", folder / "b", ("video",))


def _faces(folder: Path) -> Files:
    random = np.random.default_rng(0)
    for side in ("a", "b"):
        (folder / side).mkdir(parents=True)
        for k in range(3):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            alpha = random.integers(0, 256, (32, 32), dtype=np.uint8)
            write_image(folder / side / f"{k}.png", Image(pixels, alpha=alpha))
    return find_files(folder / "a", folder / "b", ("image",))


_MAKE: dict[str, Callable[[Path], Files]] = {
    "voices": _voices,
    "clips": _clips,
    "faces": _faces,
    "pictures": lambda folder: pictures(folder, count=3, size=48),
}


@pytest.mark.parametrize("name", TINY)
def test_every_recipe_trains_and_saves_what_a_translation_needs(
    name: str, data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    recipe = tiny(name)
    result = train(recipe, data(recipe), tmp_path / "run", device="cpu", progress=False)
    with open(tmp_path / "run" / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    roster = build_objective(recipe).roster
    judged = {network for network in roster if network.startswith("discriminator")}
    assert judged <= set(rows[0])
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())

    assert result.model is not None
    model = load_model(result.model)
    saved = {f"generator_{way}" for way in model.generators} | set(model.networks)
    assert saved == {name for name, part in roster.items() if part.role in ("generator", "encoder")}
    for generator in model.generators.values():
        example = torch.zeros(1, *recipe.data.example_shape)
        assert generator(example).shape == example.shape
    previews = {path.stem for path in (tmp_path / "run" / "previews").rglob("*.png")}
    assert previews == set(model.generators)


def test_voices_train_in_one_direction_too(data: Callable[[Recipe], Files], tmp_path: Path) -> None:
    content = load_recipe("cyclegan_vc", [*vc("gated_cnn"), *RUN]).model_dump(mode="json")
    content |= {"method": "one_sided", "objective": {"adversarial": {}, "identity": {"weight": 5}}}
    recipe = parse_recipe(content)
    model = train(recipe, data(recipe), tmp_path / "run", device="cpu", progress=False).model
    assert model is not None
    assert list(load_model(model).generators) == ["a2b"]


def test_every_shipped_recipe_says_what_it_wants_and_costs() -> None:
    from cyclegan_media.recipe import shipped_recipes

    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert all((recipe.paper, recipe.description, recipe.data_wanted)), name
        assert recipe.cost or name not in TINY, name


@pytest.mark.parametrize("name", ["augmented", "maskcyclegan_vc", "cut"])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    name: str, data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    """Codes, gaps and places are drawn anew in each step; every game has a history of its own."""
    options = ["trainer.history=2", "trainer.checkpoint_every=1"]
    whole, half = tiny(name, "trainer.steps=4", *options), tiny(name, *options)
    files = data(whole)
    train(whole, files, tmp_path / "whole", device="cpu", progress=False)
    train(half, files, tmp_path / "parts", device="cpu", progress=False)
    train(whole, files, tmp_path / "parts", resume=True, device="cpu", progress=False)
    last = Path("checkpoints") / checkpoint_name(4)
    assert differences(tmp_path / "parts" / last, tmp_path / "whole" / last) == []


# --- training in stages ---------------------------------------------------------------------


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "training.pt", weights_only=True)["networks"]["generator_a2b"]


def test_the_enhancer_starts_from_a_global_generator_that_stays_fixed_at_first(
    data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    first = tiny("pix2pixhd_global", "trainer.ema=0")
    files = data(first)
    inner = train(first, files, tmp_path / "global", device="cpu", progress=False)
    assert inner.model is not None
    options = ["trainer.ema=0", "trainer.steps=3", "trainer.checkpoint_every=1", "trainer.keep=9"]
    freeze = "trainer.freeze={generator_a2b.global_body: 2, generator_b2a.global_body: 2}"
    second = tiny("pix2pixhd", *options, freeze)
    train(
        second,
        files,
        tmp_path / "local",
        start_from=load_model(inner.model),
        device="cpu",
        progress=False,
    )
    after = [weights(tmp_path / "local" / "checkpoints" / checkpoint_name(n)) for n in (1, 2, 3)]
    begun = load_model(inner.model).generators["a2b"].body.state_dict()  # type: ignore[union-attr]
    for key, value in begun.items():
        assert torch.equal(after[0][f"global_body.{key}"], value)
        assert torch.equal(after[1][f"global_body.{key}"], value)
    moved = {key for key in after[0] if not torch.equal(after[0][key], after[1][key])}
    assert moved
    assert not any(key.startswith("global_body") for key in moved)
    assert any(not torch.equal(after[2][f"global_body.{key}"], begun[key]) for key in begun)


def test_a_training_begins_with_the_networks_of_a_model(
    data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    recipe = tiny("augmented", "optimiser.generator_lr=1e-12", "trainer.ema=0")
    files = data(recipe)
    model = train(recipe, files, tmp_path / "one", device="cpu", progress=False).model
    assert model is not None
    other = tiny("augmented", "optimiser.generator_lr=1e-12", "trainer.ema=0", "trainer.seed=9")
    again = train(
        other, files, tmp_path / "two", start_from=load_model(model), device="cpu", progress=False
    ).model
    assert again is not None
    for ours, theirs in zip(
        [*load_model(model).generators.values(), *load_model(model).networks.values()],
        [*load_model(again).generators.values(), *load_model(again).networks.values()],
        strict=True,
    ):
        for key, value in ours.state_dict().items():
            torch.testing.assert_close(theirs.state_dict()[key], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut", "its generator_a2b is a 'cin_resnet' of another architecture than .* 'resnet'"),
        ("pix2pixhd", "its generator_a2b is a 'cin_resnet' of another architecture"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    name: str, says: str, data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    trained = tiny("augmented")
    files = data(trained)
    model = train(trained, files, tmp_path / "run", device="cpu", progress=False).model
    assert model is not None
    with pytest.raises(UserError, match=f"^the model to start from: {says}"):
        train(tiny(name), files, tmp_path / "no", start_from=load_model(model), progress=False)


def test_a_model_of_one_direction_cannot_start_a_training_of_two(
    data: Callable[[Recipe], Files], tmp_path: Path
) -> None:
    one_sided = tiny("cut")
    files = data(one_sided)
    model = train(one_sided, files, tmp_path / "run", device="cpu", progress=False).model
    assert model is not None
    content: dict[str, Any] = {
        **one_sided.model_dump(mode="json"),
        "method": "cyclegan",
        "objective": {"adversarial": {}, "cycle": {"weight": 10}},
    }
    del content["model"]["projection"]
    with pytest.raises(UserError, match=r"^the model to start from: has no generator_b2a"):
        train(
            parse_recipe(content),
            files,
            tmp_path / "no",
            start_from=load_model(model),
            progress=False,
        )
