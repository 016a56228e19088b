"""What makes a training step faster changes none of its results, to rounding."""

from __future__ import annotations

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
    Optimisers,
    Weight,
    training_step,
)
from cyclegan_media.core.together import computes_apart, together

RESNET = {"name": "resnet", "width": 4, "blocks": 1}
PATCH = {"name": "patchgan", "width": 4, "layers": 1}
MULTISCALE = {"name": "multiscale_patchgan", "width": 4, "layers": 1, "scales": 2}
VC2 = {"name": "vc2", "coefficients": 8, "width": 4, "residual_blocks": 1}
VC2_JUDGE = {"name": "vc2_discriminator", "coefficients": 8, "width": 4}
MASKED = {**VC2, "name": "mask_vc"}
MASKED_JUDGE = {**VC2_JUDGE, "name": "mask_vc_discriminator"}


@pytest.mark.parametrize(
    ("spec", "apart"),
    [
        (RESNET, True),
        ({**RESNET, "norm": "batch"}, False),
        ({**RESNET, "dropout": True}, False),
        (VC2, True),
        (MULTISCALE, True),
    ],
)
def test_one_pass_gives_what_several_give(spec: dict[str, Any], apart: bool) -> None:
    network = build(spec).double()
    assert computes_apart(network) == apart
    shape = (8, 16) if network.modality == "voice" else (3, 32, 32)
    calls = [(torch.randn(n, *shape, dtype=torch.double),) for n in (1, 2)]
    passes: list[int] = []
    network.register_forward_hook(lambda module, given, result: passes.append(len(given[0])))
    torch.manual_seed(0)
    got = together(network, *calls)
    assert passes == ([3] if apart else [1, 2])
    torch.manual_seed(0)
    wanted = [network(*call) for call in calls]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def test_batches_of_other_shapes_go_apart() -> None:
    network = build(RESNET)
    small, large = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 16, 20)
    got = together(network, (small,), (large,))
    torch.testing.assert_close(got, [network(small), network(large)])


def plain_step(networks: CycleGAN, method: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """CycleGAN's losses, each network called once for each thing it makes."""
    a, b = batch["real_a"], batch["real_b"]
    G, F = networks.generator_a2b, networks.generator_b2a
    D_A, D_B = networks.discriminator_a, networks.discriminator_b
    given: dict[str, tuple[Tensor, ...]] = dict.fromkeys(("a", "b", "whole"), ())
    if method == "masked":
        given = {side: (batch[f"mask_{side}"],) for side in ("a", "b")}
        given["whole"] = (torch.ones_like(batch["mask_a"]),)
    seen_a, seen_b = (x * m[0] if m else x for x, m in ((a, given["a"]), (b, given["b"])))
    fake_b, fake_a = G(seen_a, *given["a"]), F(seen_b, *given["b"])

    def scores(result: Tensor | list[Tensor]) -> list[Tensor]:
        return [result] if isinstance(result, Tensor) else result

    def judged(network: nn.Module, x: Tensor, wanted: float) -> Tensor:
        return sum((s - wanted).square().mean() for s in scores(network(x)))  # type: ignore[return-value]

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    generators = {
        "adversarial_a2b": judged(D_B, fake_b, 1),
        "adversarial_b2a": judged(D_A, fake_a, 1),
        "cycle_a": 10 * distance(F(fake_b, *given["whole"]), a),
        "cycle_b": 10 * distance(G(fake_a, *given["whole"]), b),
        "identity_a2b": 5 * distance(G(b, *given["whole"]), b),
        "identity_b2a": 5 * distance(F(a, *given["whole"]), a),
    }
    discriminators = {
        "discriminator_a": 0.5 * (judged(D_A, a, 1) + judged(D_A, fake_a.detach(), 0)),
        "discriminator_b": 0.5 * (judged(D_B, b, 1) + judged(D_B, fake_b.detach(), 0)),
    }
    for optimised, losses in (
        (networks.generator_parameters, generators),
        (networks.discriminator_parameters, discriminators),
    ):
        parameters = list(optimised())
        total = torch.stack(list(losses.values())).sum()
        gradients = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
    return {**generators, **discriminators}


class Kept(torch.optim.SGD):
    """Takes no step, so that the gradients can be looked at."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.seen = {
            parameter: None if parameter.grad is None else parameter.grad.clone()
            for group in self.param_groups
            for parameter in group["params"]
        }


def networks_of(generator: dict[str, Any], discriminator: dict[str, Any]) -> CycleGAN:
    return CycleGAN(
        build(generator), build(generator), build(discriminator), build(discriminator)
    ).double()


def batch_of(method: str, networks: CycleGAN) -> dict[str, Tensor]:
    voice = networks.generator_a2b.modality == "voice"
    shape = (2, 8, 16) if voice else (2, 3, 32, 32)
    batch = {f"real_{side}": torch.randn(shape, dtype=torch.double) for side in ("a", "b")}
    if method == "masked":
        for side, hidden in (("a", 4), ("b", 7)):
            mask = torch.ones(2, 1, 16, dtype=torch.double)
            mask[..., :hidden] = 0
            batch[f"mask_{side}"] = mask
    return batch


@pytest.mark.parametrize(
    ("method", "generator", "discriminator"),
    [
        ("cyclegan", RESNET, PATCH),
        ("cyclegan", RESNET, MULTISCALE),
        ("cyclegan", {**RESNET, "norm": "batch"}, {**PATCH, "norm": "batch"}),
        ("cyclegan", VC2, VC2_JUDGE),
        ("masked", MASKED, MASKED_JUDGE),
    ],
)
def test_a_step_in_fewer_passes_has_the_losses_and_gradients_of_the_plain_one(
    method: str, generator: dict[str, Any], discriminator: dict[str, Any]
) -> None:
    networks = networks_of(generator, discriminator)
    batch = batch_of(method, networks)
    wanted = plain_step(networks, method, batch)
    gradients = {p: None if p.grad is None else p.grad.clone() for p in networks.parameters()}
    weights = {
        "adversarial": Weight(1.0),
        "cycle": Weight(10.0),
        "identity": Weight(5.0),
    }
    objective = Objective(
        {name: (TERMS[name](), weight) for name, weight in weights.items()}, METHODS[method]
    )
    optimisers = Optimisers(
        Kept(networks.generator_parameters(), lr=0.0),
        Kept(networks.discriminator_parameters(), lr=0.0),
    )
    extras = {name: x for name, x in batch.items() if name.startswith("mask")}
    real_a, real_b = batch["real_a"], batch["real_b"]
    histories = Histories(size=0)
    got, _ = training_step(
        networks, objective, optimisers, histories, real_a, real_b, 0, extras=extras
    )
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value.detach(), rtol=0, atol=1e-10)
    seen = {**optimisers.generators.seen, **optimisers.discriminators.seen}  # type: ignore[attr-defined]
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(seen[parameter], gradient, rtol=1e-9, atol=1e-10)


def counted(networks: CycleGAN) -> list[tuple[str, int]]:
    """A list that grows by the network and the number of examples of each pass."""
    passes: list[tuple[str, int]] = []
    for name, network in networks.named_children():
        network.register_forward_hook(
            lambda module, given, result, name=name: passes.append((name, len(given[0])))
        )
    return passes


def test_a_step_makes_two_passes_a_generator_and_one_a_game() -> None:
    networks = networks_of(RESNET, PATCH)
    passes = counted(networks)
    names = ("adversarial", "cycle", "identity")
    objective = Objective({name: (TERMS[name](), Weight(1.0)) for name in names})
    optimisers = Optimisers(
        torch.optim.SGD(networks.generator_parameters(), lr=0.0),
        torch.optim.SGD(networks.discriminator_parameters(), lr=0.0),
    )
    a, b = torch.randn(2, 1, 3, 32, 32, dtype=torch.double)
    training_step(networks, objective, optimisers, Histories(), a, b, 0)
    assert sorted(passes) == [
        *(("discriminator_a", n) for n in (1, 2)),  # its part in the generators' loss; its game
        *(("discriminator_b", n) for n in (1, 2)),
        *(("generator_a2b", n) for n in (1, 2)),  # the cycle; translation and identity
        *(("generator_b2a", n) for n in (1, 2)),
    ]
