"""Everything that changes while training: made, captured and restored as one.

What is captured is tensors and plain data, so that it can be read without running any code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from cyclegan_media.backbones import Backbone
from cyclegan_media.core import (
    CycleGAN,
    Histories,
    MovingAverage,
    Objective,
    Optimisers,
    normal_init,
)
from cyclegan_media.pretrained import Direction, PretrainedModel
from cyclegan_media.recipe import Recipe, build_networks
from cyclegan_media.training.prepared import Prepared
from cyclegan_media.training.start import take_over
from cyclegan_media.training.tasks import Generators


@dataclass
class TrainingState:
    """The networks and all that training them accumulates."""

    networks: CycleGAN
    """The plain networks: what is averaged and saved."""
    prepared: CycleGAN
    """The same networks at the training's precision and data parallel: what the step calls."""
    optimisers: Optimisers
    histories: Histories
    average: MovingAverage | None
    steps: int = 0
    """Steps done."""

    def kept(self) -> dict[str, Backbone]:
        """The networks to use and to save: the averaged ones where there are any."""
        kept = _kept(self.networks) if self.average is None else self.average.module
        assert isinstance(kept, nn.ModuleDict)
        return dict(kept.items())  # type: ignore[arg-type]

    def generators(self) -> Generators:
        """Those of :meth:`kept` that translate."""
        kept = self.kept()
        ways: tuple[Direction, ...] = ("a2b", "b2a")
        return {way: kept[f"generator_{way}"] for way in ways if f"generator_{way}" in kept}


def initial_state(
    recipe: Recipe,
    objective: Objective,
    fabric: Fabric,
    start_from: PretrainedModel | None = None,
    *,
    compiled: bool = False,
) -> TrainingState:
    """The state before the first step, a function of the recipe's seed.

    Args:
        start_from: a model whose networks to begin with.
        compiled: run the generators by ``torch.compile``.

    Raises:
        UserError: that model's networks do not fit.
    """
    torch.manual_seed(recipe.trainer.seed)
    rates = recipe.optimiser
    networks = build_networks(recipe, objective.roster)
    if recipe.model.init == "normal":
        normal_init(networks)
    if start_from is not None:
        take_over(dict(networks.named_children()), start_from)  # type: ignore[arg-type]
    networks.to(fabric.device)
    average = MovingAverage(_kept(networks), recipe.trainer.ema) if recipe.trainer.ema else None
    prepared = CycleGAN(
        **{
            # Not the discriminators: compiled ones could not be derived twice, for a penalty.
            name: Prepared(network, fabric, compiled=compiled and network.role == "generator")
            for name, network in networks.named_children()
        }
    )

    def adam(parameters: Iterator[nn.Parameter], rate: float) -> Optimizer:
        # Fused: one pass over the parameters and their moments, in place of one an operation.
        fused = fabric.device.type in ("cpu", "cuda")
        optimiser = torch.optim.Adam(parameters, lr=rate, betas=rates.betas, fused=fused)
        return cast(Optimizer, fabric.setup_optimizers(optimiser))

    optimisers = Optimisers(
        adam(networks.generator_parameters(), rates.generator_lr),
        adam(networks.discriminator_parameters(), rates.discriminator_lr),
    )
    # From here on the processes draw different numbers (dropout, penalties, histories).
    seed = recipe.trainer.seed + fabric.global_rank
    torch.manual_seed(seed)
    return TrainingState(
        networks,
        prepared,
        optimisers,
        Histories(size=recipe.trainer.history, seed=seed),
        average,
    )


def _kept(networks: CycleGAN) -> nn.ModuleDict:
    """The networks that a trained model needs: those that translate, or that read a code."""
    kept = ("generator", "encoder")
    return nn.ModuleDict(
        {name: network for name, network in networks.named_children() if network.role in kept}
    )


def update_average(state: TrainingState) -> None:
    """Take the new weights into the moving average, if there is one."""
    if state.average is not None:
        state.average.update_parameters(_kept(state.networks))


def set_learning_rates(state: TrainingState, recipe: Recipe, factor: float) -> None:
    """The recipe's learning rates times ``factor``."""
    for optimiser, rate in (
        (state.optimisers.generators, recipe.optimiser.generator_lr),
        (state.optimisers.discriminators, recipe.optimiser.discriminator_lr),
    ):
        for group in optimiser.param_groups:
            group["lr"] = rate * factor


@contextmanager
def evaluation(state: TrainingState, device: torch.device) -> Iterator[Generators]:
    """The generators in evaluation mode, without gradients; random states are left as found."""
    generators = state.generators()
    modes = {name: network.training for name, network in generators.items()}
    devices = [device] if device.type == "cuda" else []
    try:
        for network in generators.values():
            network.eval()
        with torch.random.fork_rng(devices), torch.inference_mode():
            yield generators
    finally:
        for name, network in generators.items():
            network.train(modes[name])


def capture_common(state: TrainingState, fabric: Fabric) -> dict[str, Any]:
    """What all processes share."""
    return {
        "steps": state.steps,
        "networks": {
            name: network.state_dict() for name, network in state.networks.named_children()
        },
        "average": None if state.average is None else state.average.state_dict(),
        "generators": state.optimisers.generators.state_dict(),
        "discriminators": state.optimisers.discriminators.state_dict(),
        "loss_scale": fabric.strategy.precision.state_dict(),
    }


def capture_own(state: TrainingState, device: torch.device) -> dict[str, Any]:
    """What each process has of its own: histories and random states."""
    return {
        "histories": state.histories.state_dict(),
        "random": torch.get_rng_state(),
        "device_random": None if device.type == "cpu" else _device_random(device).get_rng_state(),
    }


def restore(
    state: TrainingState, common: dict[str, Any], own: dict[str, Any], fabric: Fabric
) -> None:
    """Make ``state`` and the random states what they were when captured.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: it was captured from other networks.
    """
    for name, network in state.networks.named_children():
        network.load_state_dict(common["networks"][name])
    if state.average is not None:
        state.average.load_state_dict(common["average"])
    state.optimisers.generators.load_state_dict(common["generators"])
    state.optimisers.discriminators.load_state_dict(common["discriminators"])
    for optimiser in (state.optimisers.generators, state.optimisers.discriminators):
        _check_moments(optimiser)
    fabric.strategy.precision.load_state_dict(common["loss_scale"])
    state.histories.load_state_dict(own["histories"], fabric.device)
    torch.set_rng_state(own["random"].cpu())
    if own["device_random"] is not None and fabric.device.type != "cpu":
        _device_random(fabric.device).set_rng_state(own["device_random"].cpu())
    state.steps = common["steps"]


def _check_moments(optimiser: Optimizer) -> None:
    """Adam itself finds in its next step that something is missing, if at all."""
    for parameter, moments in optimiser.state.items():
        if set(moments) != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError("the moments of a weight are incomplete")
        if any(moments[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq")):
            raise ValueError("the moments of a weight are of another shape")


def _device_random(device: torch.device) -> Any:
    return getattr(torch, device.type)  # torch.cuda or torch.mps
