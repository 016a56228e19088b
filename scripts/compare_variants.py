"""The methods that `compare_methods.py` compares, each as overrides of one small recipe.

All differ from vanilla CycleGAN in the method and in nothing else, and train at equal compute: the
operations of one step are counted, and who needs fewer makes more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.core import Histories, Optimisers, normal_init, training_step
from cyclegan_media.recipe import Recipe, build_networks, build_objective, load_recipe

Overrides = dict[str, Any]

BASE: Overrides = {
    "name": "compared",
    "domains": ["a", "b"],
    "model.generator": {"name": "unet", "width": 24, "downsamplings": 4},
    "optimiser.generator_lr": 6.0e-4,
    "optimiser.discriminator_lr": 4.0e-4,
    "data.load_size": None,
    "data.flip": False,  # half of the tiles are mirrored already, before the look
    "trainer.ema": 0.99,
    "trainer.workers": 0,
    "trainer.keep": 1,
}
"""Of the recipe `demo_image`: PatchGAN of width 16 with 2 layers, least squares, cycle 10, identity
5, pictures of 64 × 64, batches of 1. The generator is a U-Net, as in Face-off: in a ResNet all that
is known of a picture passes through instance normalisation, which on tiles this small takes away
how light and how rich in contrast a tile is."""

_RESNET = {"model.generator": {"name": "resnet", "width": 12, "blocks": 3}}

_CYCLE = {"weight": 10}
_IDENTITY = {"weight": 5}
_LSGAN = {"loss": "lsgan"}
_NCE_LAYERS = [0, 4, 7, 10, 12]
"""Pixels, both halvings, the first and the last of 3 blocks."""


@dataclass(frozen=True)
class Variant:
    """One method."""

    title: str
    change: str
    """From vanilla, in a few words."""
    overrides: Callable[[int], Overrides]
    """Of the base recipe, for a training of so many steps (schedules follow its length)."""
    ways: tuple[str, ...] = ("a2b", "b2a")
    reference: str = "vanilla"
    """What it is compared with."""


def _objective(**terms: Any) -> Overrides:
    return {"objective": {"adversarial": _LSGAN, **terms}}


def _feature_cycle(steps: int, *, features: bool, decay: bool, quality: bool) -> dict[str, Any]:
    term: dict[str, Any] = {"weight": 10}
    if features:
        term["gamma"] = {"value": 0.0, "final": 0.9, "end": max(1, steps // 2)}
    if decay:
        term |= {"final_weight": 1, "end": max(1, steps)}
    if quality:
        term["quality"] = "real"
    return term


def _better(**parts: bool) -> Callable[[int], Overrides]:
    which = {"features": False, "decay": False, "quality": False, **parts}
    return lambda steps: _objective(
        feature_cycle=_feature_cycle(steps, **which), identity=_IDENTITY
    )


def _always(**overrides: Any) -> Callable[[int], Overrides]:
    return lambda steps: {key.replace("__", "."): value for key, value in overrides.items()}


METHODS: dict[str, Variant] = {
    "vanilla": Variant("CycleGAN", "the base", _always()),
    "vanilla_resnet": Variant(
        "CycleGAN on a ResNet",
        "a ResNet of width 12 with 3 blocks in place of the U-Net",
        _always(**_RESNET),
    ),
    "feature_cycle": Variant(
        "Feature cycle (Wang & Lin)",
        "cycle loss moves to the discriminators' features, γ 0 → 0.9",
        _better(features=True),
    ),
    "decay": Variant("Cycle decay (Wang & Lin)", "weight of the cycle 10 → 1", _better(decay=True)),
    "quality": Variant(
        "Quality weighting (Wang & Lin)", "cycle weighted by D(x)", _better(quality=True)
    ),
    "better_cycles": Variant(
        "All three (Wang & Lin)",
        "the three above",
        _better(features=True, decay=True, quality=True),
    ),
    "ssim_cycle": Variant(
        "SSIM cycle (Face-off)",
        "1 − SSIM of the cycle, weight 1, beside the L1",
        _always(**_objective(cycle=_CYCLE, identity=_IDENTITY, ssim_cycle={"weight": 1})),
    ),
    "second_discriminator": Variant(
        "Second discriminator (Face-off)",
        "one more of 3 layers on each domain, each game at half the weight",
        _always(
            model__second_discriminator={"name": "patchgan", "width": 16, "layers": 3},
            objective={
                "adversarial": {**_LSGAN, "weight": 0.5},
                "second_adversarial": {**_LSGAN, "weight": 0.5},
                "cycle": _CYCLE,
                "identity": _IDENTITY,
            },
        ),
    ),
    "multiscale": Variant(
        "Multi-scale D + feature matching (pix2pixHD)",
        "discriminators at 2 scales, feature matching 3",
        _always(
            model__discriminator={
                "name": "multiscale_patchgan",
                "width": 16,
                "layers": 2,
                "scales": 2,
            },
            **_objective(cycle=_CYCLE, identity=_IDENTITY, feature_matching={"weight": 3}),
        ),
    ),
    "pix2pixhd_global": Variant(
        "Global generator (pix2pixHD)",
        "pix2pixHD's of width 12 with 3 halvings and 3 blocks",
        _always(
            model__generator={
                "name": "pix2pixhd_global",
                "width": 12,
                "downsamplings": 3,
                "blocks": 3,
            }
        ),
        reference="vanilla_resnet",
    ),
    "cut": Variant(
        "CUT",
        "ResNet; one-sided: PatchNCE 1 and its identity 1, no cycle",
        _always(
            **_RESNET,
            method="one_sided",
            model__projection={"name": "projection", "width": 64},
            **_objective(
                patch_nce={"weight": 1, "layers": _NCE_LAYERS},
                identity_nce={"weight": 1, "layers": _NCE_LAYERS},
            ),
        ),
        ways=("a2b",),
        reference="vanilla_resnet",
    ),
    "fastcut": Variant(
        "FastCUT",
        "ResNet; one-sided: PatchNCE 10, no cycle, no identity",
        _always(
            **_RESNET,
            method="one_sided",
            model__projection={"name": "projection", "width": 64},
            **_objective(patch_nce={"weight": 10, "layers": _NCE_LAYERS}),
        ),
        ways=("a2b",),
        reference="vanilla_resnet",
    ),
    "augmented": Variant(
        "Augmented CycleGAN",
        "ResNet with conditional norms; a code of 8 numbers, latent cycle 1, no identity",
        _always(
            method="augmented",
            model__generator={"name": "cin_resnet", "width": 12, "blocks": 3, "latent": 8},
            model__encoder={"name": "latent_encoder", "width": 16, "latent": 8, "layers": 3},
            model__latent_discriminator={
                "name": "latent_discriminator",
                "width": 32,
                "latent": 8,
            },
            **_objective(
                latent_adversarial=_LSGAN,
                cycle=_CYCLE,
                latent_cycle={"weight": 1},
            ),
        ),
        reference="vanilla_resnet",
    ),
}


def recipe_of(method: str, steps: int, seed: int, extra: Iterable[str] = ()) -> Recipe:
    """The recipe that trains ``method``; half of its steps at the constant rate, as published.

    Args:
        extra: further overrides, as :func:`load_recipe` takes them (smaller networks in tests).

    Raises:
        UserError: the overrides do not make a recipe.
    """
    overrides: Overrides = {
        **BASE,
        "trainer.seed": seed,
        "trainer.steps": max(1, steps // 2),
        "trainer.decay_steps": steps - max(1, steps // 2),
        # Only the last weights count: choosing among checkpoints would be one more method.
        **{f"trainer.{kind}_every": steps for kind in ("preview", "validate", "checkpoint")},
        **METHODS[method].overrides(steps),
    }
    written = [f"{key}={yaml.safe_dump(value)}" for key, value in overrides.items()]
    return load_recipe("demo_image", [*written, *extra])


def flops_per_step(recipe: Recipe) -> int:
    """Floating-point operations of one training step, all networks, forward and backward.

    Convolutions and matrix products, as torch counts them (a multiply-add is two); normalisation,
    activations and optimisers, which are cheap in operations, are left out. Schedules are taken at
    their end, where every part of a term is at work.
    """
    objective = build_objective(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = build_networks(recipe, objective.roster)
        normal_init(networks)
        pictures = torch.rand(2, recipe.trainer.batch_size, *recipe.data.example_shape) * 2 - 1
        optimisers = Optimisers(
            torch.optim.SGD(networks.generator_parameters(), lr=0.0),
            torch.optim.SGD(networks.discriminator_parameters(), lr=0.0),
        )
        with FlopCounterMode(display=False) as counter:
            training_step(
                networks,
                objective,
                optimisers,
                Histories(0),
                *pictures,
                step=sum(recipe.trainer.length(0)),
            )
    return counter.get_total_flops()


def equal_steps(method: str, flops: float, extra: Iterable[str] = ()) -> tuple[int, int]:
    """Steps of ``method`` that make ``flops`` in all (to the nearest step, at least 2), and the
    operations of one step."""
    each = flops_per_step(recipe_of(method, 2, 0, extra))
    return max(2, round(flops / each)), each
