"""The loops that the benchmarks of training compare with train the same networks the same way."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cyclegan_media.backbones import build
from cyclegan_media.core import CycleGAN, Histories, Objective, Optimisers, training_step
from cyclegan_media.recipe import Recipe, build_objective, load_recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import bench_table
import bench_train
import bench_voice_train

Spec = dict[str, Any]


def networks_of(objective: Objective, generator: Spec, discriminator: Spec) -> CycleGAN:
    specs = {"generator": generator, "discriminator": discriminator}
    return CycleGAN(
        **{name: build(specs[part.role]).double() for name, part in objective.roster.items()}
    )


def our_step(
    networks: CycleGAN, objective: Objective, recipe: Recipe, batches: list[tuple[Tensor, Tensor]]
) -> None:
    rates = recipe.optimiser
    generators = torch.optim.Adam(
        networks.generator_parameters(), lr=rates.generator_lr, betas=rates.betas
    )
    discriminators = torch.optim.Adam(
        networks.discriminator_parameters(), lr=rates.discriminator_lr, betas=rates.betas
    )
    histories = Histories(recipe.trainer.history)
    optimisers = Optimisers(generators, discriminators)
    for step, (a, b) in enumerate(batches):
        training_step(networks, objective, optimisers, histories, a, b, step)


def test_the_releases_loop_makes_the_updates_of_the_recipe() -> None:
    recipe = load_recipe("cyclegan")
    objective = build_objective(recipe)
    networks = networks_of(
        objective,
        {"name": "resnet", "width": 2, "blocks": 1},
        {"name": "patchgan", "width": 2, "layers": 1},
    )
    plain = copy.deepcopy(networks)
    batches = [tuple(torch.randn(2, 1, 3, 16, 16, dtype=torch.double)) for _ in range(3)]
    step = bench_train.release_step(plain)
    for a, b in batches:
        step(a, b)
    our_step(networks, objective, recipe, batches)
    check_equal(networks, plain)


def test_the_published_voice_loop_makes_the_updates_of_the_recipe() -> None:
    recipe = load_recipe("cyclegan_vc2")
    objective = build_objective(recipe)
    size = {"coefficients": 8, "width": 2}
    networks = networks_of(
        objective,
        {"name": "vc2", "residual_blocks": 1, **size},
        {"name": "vc2_discriminator", **size},
    )
    plain = copy.deepcopy(networks)
    a, b = torch.randn(2, 1, 8, 16, dtype=torch.double)
    bench_voice_train.published_step(plain)(a, b)
    our_step(networks, objective, recipe, [(a, b)])
    # Its discriminators see what the generators make after their update, so those differ.
    check_equal(networks, plain, "generator")


def check_equal(networks: CycleGAN, others: CycleGAN, side: str = "") -> None:
    wanted = dict(others.named_parameters())
    for name, parameter in networks.named_parameters():
        if name.startswith(side):
            # Adam scales the rounding of what is 0 (biases before a normalisation) up to a step.
            if name.endswith("bias"):
                continue
            torch.testing.assert_close(parameter, wanted[name], rtol=0, atol=1e-9, msg=name)


def test_operations_are_counted_without_computing() -> None:
    # The recipe states it: "a step takes 414 GFLOP".
    recipe = load_recipe("cyclegan_vc2")
    assert bench_voice_train.operations(recipe) / 1e9 == pytest.approx(414, abs=0.5)


def test_ratios_and_shares_are_those_of_the_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_table, "matmul_rate", lambda dtype, device: 1e11)
    about = bench_table.machine()
    contenders = {
        bench_voice_train.PLAIN: ("fp32", 1, lambda a, b: None),
        "batches": ("fp32", 8, lambda a, b: None),
    }
    taken = {bench_voice_train.PLAIN: [3.0, 2.0, 4.0], "batches": [8.0, 8.0, 8.0]}
    content = bench_voice_train.report(contenders, taken, about, 200_000_000_000)
    assert content["contenders"]["batches"]["ratio"] == pytest.approx(3.0)
    assert content["contenders"]["batches"]["share_of_limit"] == pytest.approx(2.0)
    assert "| batches" in capsys.readouterr().out
