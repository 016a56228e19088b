"""Architectures and the training step compute what the published implementations do.

Against the reference data where it is at hand, and against the project's own golden data, which
``make_golden.py`` makes from an independent statement of the same equations.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_golden import FOLDER, golden, patch_shapes, resnet_shapes
from published_weights import reference, weights_by_rule
from torch import Tensor

from cyclegan_media.backbones import Backbone, build
from cyclegan_media.core import (
    TERMS,
    CycleGAN,
    Histories,
    Objective,
    Optimisers,
    Weight,
    training_step,
)
from cyclegan_media.pretrained import convert_published_state, import_published

SHARED = (
    "resnet_6blocks_width8",
    "resnet_9blocks_width8",
    "unet_128_width4",
    "patch70_width8",
    "pixel_width8",
)
OWN = ("resnet_2blocks_width2", "unet_8_width2", "patch16_width2", "pixel_width2")


def check_network(folder: Path, name: str) -> None:
    wanted = reference(folder, name)
    facts = json.loads((folder / f"{name}.json").read_text())
    assert sum(p.numel() for p in wanted.network.parameters()) == facts["parameters"]
    with torch.no_grad():
        output = wanted.network(*wanted.inputs)
    torch.testing.assert_close(output, wanted.outputs[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SHARED)
def test_networks_compute_what_the_release_does(shared_golden: Path, name: str) -> None:
    check_network(shared_golden, name)


@pytest.mark.parametrize("name", OWN)
def test_networks_compute_what_the_papers_layer_tables_say(name: str) -> None:
    check_network(FOLDER, name)


@pytest.mark.parametrize("name", ["latest_net_G.pth", "old_dataparallel_net_G.pth"])
def test_checkpoint_files_of_the_release_are_imported(shared_golden: Path, name: str) -> None:
    model = import_published(shared_golden / name)
    wanted = reference(shared_golden, "resnet_9blocks_width8")
    with torch.no_grad():
        output = model.generators["a2b"].double()(*wanted.inputs)
    torch.testing.assert_close(output, wanted.outputs[0], rtol=0, atol=1e-5)


def by_rule(shapes: dict[str, list[int]], prefix: str) -> Backbone:
    """A network with the weights of the rule for prefixed names."""
    published = {key: weights_by_rule(f"{prefix}.{key}", shape) for key, shape in shapes.items()}
    spec, state = convert_published_state(published)
    network = build(spec).double()
    network.load_state_dict(state)
    return network


def check_training(
    folder: Path, name: str, generator: dict[str, list[int]], discriminator: dict[str, list[int]]
) -> None:
    """Train by the core's own step and compare every loss and the generator's last output."""
    columns = json.loads((folder / f"{name}.json").read_text())["columns"]
    with np.load(folder / f"{name}.npz") as data:
        real_a, real_b, losses, after = (
            torch.from_numpy(data[key]).double()
            for key in ("real_a", "real_b", "losses", "fake_b_after")
        )
    networks = CycleGAN(
        generator_a2b=by_rule(generator, "G_A"),
        generator_b2a=by_rule(generator, "G_B"),
        discriminator_b=by_rule(discriminator, "D_A"),
        discriminator_a=by_rule(discriminator, "D_B"),
    )
    objective = Objective(
        {
            "adversarial": (TERMS["adversarial"](loss="lsgan"), Weight(1.0)),
            "cycle": (TERMS["cycle"](), Weight(10.0)),
            "identity": (TERMS["identity"](), Weight(5.0)),
        }
    )
    optimisers = Optimisers(
        torch.optim.Adam(networks.generator_parameters(), lr=2e-4, betas=(0.5, 0.999)),
        torch.optim.Adam(networks.discriminator_parameters(), lr=2e-4, betas=(0.5, 0.999)),
    )
    histories = Histories(size=0)
    for step, (a, b, wanted) in enumerate(zip(real_a, real_b, losses, strict=True)):
        values, _ = training_step(networks, objective, optimisers, histories, a, b, step)
        got = torch.stack([values[column.split()[0]] for column in columns])
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    with torch.no_grad():
        output: Tensor = networks.generator_a2b(real_a[0])
    torch.testing.assert_close(output, after, rtol=0, atol=1e-5)


def shapes_of(folder: Path, name: str) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((folder / f"{name}.json").read_text())["state_dict"]
    return shapes


def test_five_training_steps_are_those_of_the_release(shared_golden: Path) -> None:
    check_training(
        shared_golden,
        "training_5steps",
        shapes_of(shared_golden, "resnet_6blocks_width8"),
        shapes_of(shared_golden, "patch70_width8"),
    )


def test_three_training_steps_are_those_of_the_equations() -> None:
    check_training(FOLDER, "training_3steps", resnet_shapes(2, 1), patch_shapes(2))


def test_golden_files_are_what_their_script_makes() -> None:
    for name, (facts, arrays) in golden().items():
        assert json.loads((FOLDER / f"{name}.json").read_text()) == facts
        with np.load(FOLDER / f"{name}.npz") as data:
            for key, array in arrays.items():
                np.testing.assert_allclose(data[key], array, rtol=0, atol=1e-6)
