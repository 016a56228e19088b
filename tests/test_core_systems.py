"""Every published system trains by the one training step, in stages where it needs them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cyclegan_media.backbones import build
from cyclegan_media.core import (
    METHODS,
    TERMS,
    CycleGAN,
    Histories,
    Objective,
    OneSided,
    Optimisers,
    Weight,
    frozen_parameters,
    training_step,
)
from cyclegan_media.core.methods import Augmented

IMAGE = (2, 3, 16, 16)
CLIP = (2, 3, 3, 16, 16)
VOICE = (2, 8, 32)


def objective(method: str, *terms: str, **options: dict[str, Any]) -> Objective:
    built = {name: (TERMS[name](**options.get(name, {})), Weight(1.0)) for name in terms}
    return Objective(built, METHODS[method])


RESNET = {"name": "resnet", "width": 4, "blocks": 1}
PATCH = {"name": "patchgan", "width": 4, "layers": 1}
SYSTEMS: dict[str, tuple[Objective, dict[str, dict[str, Any]], tuple[int, ...]]] = {
    "better cycles": (
        objective(
            "cyclegan",
            "adversarial",
            "feature_cycle",
            feature_cycle={"gamma": Weight(0.1, final=0.9, end=3), "quality": "generated"},
        ),
        {"generator": RESNET, "discriminator": PATCH},
        IMAGE,
    ),
    "face-off": (
        objective(
            "cyclegan", "adversarial", "second_adversarial", "cycle", "masked_cycle", "ssim_cycle"
        ),
        {"generator": RESNET, "discriminator": PATCH},
        IMAGE,
    ),
    "pix2pixHD": (
        objective("cyclegan", "adversarial", "cycle", "feature_matching"),
        {
            "generator": {
                "name": "pix2pixhd_enhancer",
                "width": 2,
                "downsamplings": 1,
                "blocks": 1,
            },
            "discriminator": {"name": "multiscale_patchgan", "width": 4, "scales": 2, "layers": 1},
        },
        IMAGE,
    ),
    "augmented": (
        objective("augmented", "adversarial", "latent_adversarial", "cycle", "latent_cycle"),
        {
            "generator": {"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 3},
            "discriminator": PATCH,
            "encoder": {"name": "latent_encoder", "width": 4, "latent": 3, "layers": 2},
            "latent_discriminator": {"name": "latent_discriminator", "width": 4, "latent": 3},
        },
        IMAGE,
    ),
    "CUT": (
        objective(
            "one_sided",
            "adversarial",
            "patch_nce",
            "identity_nce",
            patch_nce={"layers": (0, 4)},
            identity_nce={"layers": (0, 4)},
        ),
        {
            "generator": RESNET,
            "discriminator": PATCH,
            "projection": {"name": "projection", "inputs": [3, 8], "width": 8},
        },
        IMAGE,
    ),
    "Recycle-GAN": (
        objective("recycle", "adversarial", "recurrent", "recycle", "temporal"),
        {
            "generator": RESNET,
            "discriminator": PATCH,
            "predictor": {"name": "predictor", "width": 4, "downsamplings": 4, "dropout": False},
        },
        CLIP,
    ),
    "CycleGAN-VC2": (
        objective("cyclegan", "adversarial", "two_step_adversarial", "cycle", "identity"),
        {
            "generator": {"name": "vc2", "coefficients": 8, "width": 4},
            "discriminator": {"name": "vc2_discriminator", "coefficients": 8, "width": 4},
        },
        VOICE,
    ),
    "MaskCycleGAN-VC": (
        objective("masked", "adversarial", "two_step_adversarial", "cycle", "identity"),
        {
            "generator": {"name": "mask_vc", "coefficients": 8, "width": 4},
            "discriminator": {"name": "mask_vc_discriminator", "coefficients": 8, "width": 4},
        },
        VOICE,
    ),
}


def system(name: str) -> tuple[CycleGAN, Objective, Optimisers, tuple[int, ...]]:
    goal, model, shape = SYSTEMS[name]
    networks = CycleGAN(
        **{
            network: build(model.get(part.section, model[part.role]), role=part.role)  # type: ignore[arg-type]
            for network, part in goal.roster.items()
        }
    )
    optimisers = Optimisers(
        torch.optim.Adam(networks.generator_parameters(), lr=1e-3, betas=(0.5, 0.999)),
        torch.optim.Adam(networks.discriminator_parameters(), lr=1e-3, betas=(0.5, 0.999)),
    )
    return networks, goal, optimisers, shape


def extras(shape: tuple[int, ...]) -> dict[str, Tensor]:
    given = {"face_mask": (2, 1, 16, 16), "mask": (2, 1, 32), "flow": (2, 2, 2, 16, 16)}
    return {f"{name}_{x}": torch.rand(size).round() for name, size in given.items() for x in "ab"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_trains_all_its_networks_by_the_one_step(name: str) -> None:
    networks, goal, optimisers, shape = system(name)
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    histories = Histories(size=2)
    for step in range(2):
        real_a, real_b = torch.rand(shape) * 2 - 1, torch.rand(shape) * 2 - 1
        values, t = training_step(
            networks,
            goal,
            optimisers,
            histories,
            real_a,
            real_b,
            step,
            extras=extras(shape),
        )
        assert all(math.isfinite(value) for value in values.values())
        assert isinstance(t, OneSided | Augmented)
    after = networks.state_dict()
    moved = {
        key.split(".")[0] for key, value in before.items() if not torch.equal(value, after[key])
    }
    assert moved == set(goal.roster)
    judged = {key for key in goal.roster if key.startswith("discriminator")}
    assert judged <= set(values)


def test_frozen_parts_keep_their_values_and_then_train() -> None:
    networks, goal, optimisers, shape = system("pix2pixHD")
    freeze = {"generator_a2b.global_body": 2, "generator_b2a": 1}
    bare = dict(networks.named_children())
    held = [networks.generator_a2b.global_body, networks.generator_b2a]
    moved: list[list[bool]] = []
    for step in range(3):
        before = [
            [p.clone() for p in part.parameters()] for part in (*held, networks.generator_a2b.head)
        ]
        training_step(
            networks,
            goal,
            optimisers,
            Histories(size=0),
            torch.rand(shape) * 2 - 1,
            torch.rand(shape) * 2 - 1,
            step,
            frozen=frozen_parameters(bare, freeze, step),
        )
        moved.append(
            [
                any(not torch.equal(*pair) for pair in zip(old, part.parameters(), strict=True))
                for old, part in zip(before, (*held, networks.generator_a2b.head), strict=True)
            ]
        )
    assert moved == [[False, False, True], [False, True, True], [True, True, True]]


@pytest.mark.parametrize("path", ["generator_a2c", "generator_a2b.nothing"])
def test_freezing_what_does_not_exist_is_refused(path: str) -> None:
    networks = {"generator_a2b": nn.Sequential(nn.Linear(1, 1))}
    with pytest.raises(ValueError, match=f"{path}: there is no such network"):
        frozen_parameters(networks, {path: 10}, 0)
