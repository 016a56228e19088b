"""What makes a training step faster changes none of its results, to rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_runs import PLAIN, recipe

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
from cyclegan_media.recipe import build_objective
from cyclegan_media.training.layout import training_copy
from cyclegan_media.training.processes import Precision, make_fabric
from cyclegan_media.training.state import initial_state

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


IMAGE_NETWORKS = [
    {**RESNET, "checkpointing": True},
    {"name": "unet", "width": 4, "downsamplings": 3},
    {"name": "pix2pixhd_global", "width": 4, "downsamplings": 2, "blocks": 1},
    PATCH,
    MULTISCALE,
]


@pytest.mark.parametrize("spec", [*IMAGE_NETWORKS, VC2])
def test_the_copy_for_bfloat16_is_the_same_function_of_the_same_parameters(
    spec: dict[str, Any],
) -> None:
    network = build(spec).double()
    copied = training_copy(network)
    assert not any(isinstance(part, nn.InstanceNorm2d) for part in copied.modules())
    assert list(map(id, copied.parameters())) == list(map(id, network.parameters()))
    shape = (2, 8, 16) if network.modality == "voice" else (2, 3, 32, 32)
    x = torch.randn(shape, dtype=torch.double, requires_grad=True)
    last = x if x.dim() == 3 else x.contiguous(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    results = []
    for result in (network(x), copied(last)):
        outputs = [result] if isinstance(result, Tensor) else result
        total = torch.stack([output.square().mean() for output in outputs]).sum()
        results.append((outputs, torch.autograd.grad(total, [x, *parameters])))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)


def test_an_update_of_the_copy_is_one_of_the_network() -> None:
    network = build(RESNET)
    copied = training_copy(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    x = torch.randn(1, 3, 16, 16)
    before = network(x)
    copied(x).square().mean().backward()
    optimiser.step()
    assert not torch.allclose(network(x), before)
    torch.testing.assert_close(copied(x), network(x))


def steps_of(precision: Precision, compiled: bool = False) -> tuple[list[float], CycleGAN]:
    """Every loss of three steps of a training from the recipe's seed, and the networks then."""
    settings = recipe(PLAIN)
    objective = build_objective(settings)
    fabric = make_fabric("cpu", precision)
    state = initial_state(settings, objective, fabric, compiled=compiled)
    losses: list[float] = []
    pictures = torch.rand(3, 2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for step, (a, b) in enumerate(pictures):
        values, _ = training_step(
            *(state.prepared, objective, state.optimisers, state.histories, a, b, step),
            backward=fabric.backward,
        )
        losses += [float(value) for value in values.values()]
    return losses, state.networks


def test_bfloat16_follows_single_precision() -> None:
    exact, _ = steps_of("fp32")
    rounded, networks = steps_of("bf16")
    # bfloat16 has 8 bits: each number is within 0.4 %, and a loss is a mean of many.
    assert rounded == pytest.approx(exact, rel=0.03)
    assert rounded != exact
    assert all(parameter.dtype == torch.float32 for parameter in networks.parameters())


def test_fused_adam_makes_the_updates_of_the_plain_one() -> None:
    networks = [build(RESNET).double(), build(RESNET).double()]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, fused in zip(networks, (False, True), strict=True):
        optimiser = torch.optim.Adam(network.parameters(), betas=(0.5, 0.999), fused=fused)
        for seed in range(3):
            torch.manual_seed(seed)
            network.zero_grad()
            network(torch.randn(1, 3, 16, 16, dtype=torch.double)).square().mean().backward()
            optimiser.step()
    for plain, fused_one in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(plain, fused_one, rtol=0, atol=1e-10)


def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_compiler(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **k: real(f, backend=without_compiler, **k))
    plain, _ = steps_of("fp32")
    compiled, _ = steps_of("fp32", compiled=True)
    assert compiled == plain
    assert "cannot be compiled here" in caplog.text


@pytest.mark.slow
def test_compiled_networks_give_the_losses_of_plain_ones() -> None:
    plain, _ = steps_of("fp32")
    compiled, _ = steps_of("fp32", compiled=True)
    assert compiled == pytest.approx(plain, rel=1e-3)
