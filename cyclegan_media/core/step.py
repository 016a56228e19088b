"""One training step: first the generators, then the discriminators.

Reads as the paper does (Zhu 2017, eq. 4: ``min_{G,F} max_{D_A,D_B} L``), the order is that of
the published release. Every method and every objective goes through this one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cyclegan_media.core.cyclegan import CycleGAN
from cyclegan_media.core.history import Histories
from cyclegan_media.core.objective import Objective
from cyclegan_media.core.translation import Batch


class DivergedError(RuntimeError):
    """A term of the objective is not a finite number any more, or far beyond any sense.

    The networks still hold the weights from before the step's update that would have used it.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        super().__init__(f"step {step}: the term {term!r} is {value}")
        self.step, self.term, self.value = step, term, value


@dataclass
class Optimisers:
    """Adam for the generators' side together and for the discriminators together."""

    generators: Optimizer
    discriminators: Optimizer


def training_step(
    networks: CycleGAN,
    objective: Objective,
    optimisers: Optimisers,
    histories: Histories,
    real_a: Tensor,
    real_b: Tensor,
    step: int,
    *,
    extras: Mapping[str, Tensor] | None = None,
    frozen: Iterable[nn.Parameter] = (),
    backward: Callable[[Tensor], object] = Tensor.backward,
    limit: float = math.inf,
) -> tuple[dict[str, Tensor], Batch]:
    """Update all networks once on one unpaired batch.

    Args:
        step: counted from 0; the schedules of the objective's weights read it.
        extras: what else the data gives for this batch, by name.
        frozen: parameters that keep their values in this step (:func:`frozen_parameters`).
        backward: how to backpropagate a scalar (a trainer scales it for half precision).
        limit: a summand beyond ±``limit`` counts as diverged.

    Returns:
        Every weighted summand by name, and every discriminator's loss by its name, all
        detached; and the batch with its translations.

    Raises:
        DivergedError: a summand is not finite or beyond the limit; no update was made from it.
    """
    frozen = list(frozen)

    def minimise(optimiser: Optimizer, summands: dict[str, Tensor]) -> None:
        if not summands:  # every term that has a part in this side weighs nothing at this step
            return
        _check(summands, step, limit)
        optimiser.zero_grad(set_to_none=True)
        backward(torch.stack(list(summands.values())).sum())
        # Without a gradient an optimiser passes a parameter over, and its moments, too.
        for parameter in frozen:
            parameter.grad = None
        optimiser.step()

    t = objective.method(networks, real_a, real_b, extras, step)

    # min over G, F, …, the discriminators fixed
    _requires_grad(networks.discriminator_parameters(), False)
    summands = objective.generators(t)
    minimise(optimisers.generators, summands)

    # min over D_A, D_B, …, on generated examples from the histories
    _requires_grad(networks.discriminator_parameters(), True)
    losses = objective.discriminators(t, histories)
    minimise(optimisers.discriminators, losses)

    return {name: value.detach() for name, value in {**summands, **losses}.items()}, t


def frozen_parameters(
    networks: Mapping[str, nn.Module], freeze: Mapping[str, int], step: int
) -> list[nn.Parameter]:
    """The parameters that are to keep their values at ``step``.

    For trainings in stages: pix2pixHD holds its global generator fixed while the enhancer around
    it learns (Wang 2018, section 3.1), ``{"generator_a2b.global_net": 10000}``.

    Args:
        networks: by name.
        freeze: number of steps for which a network or a part of one is held fixed, by its path,
            the network's name first.

    Raises:
        ValueError: a path names nothing.
    """
    frozen: list[nn.Parameter] = []
    for path, steps in freeze.items():
        name, _, part = path.partition(".")
        try:
            module = networks[name].get_submodule(part)
        except (KeyError, AttributeError) as error:
            raise ValueError(f"{path}: there is no such network or part of one") from error
        if step < steps:
            frozen += module.parameters()
    return frozen


def _requires_grad(parameters: Iterable[nn.Parameter], flag: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(flag)


def _check(summands: dict[str, Tensor], step: int, limit: float) -> None:
    # One transfer from the device for all terms together.
    values = torch.stack([value.detach() for value in summands.values()]).tolist()
    for name, value in zip(summands, values, strict=True):
        if not math.isfinite(value) or abs(value) > limit:
            raise DivergedError(step, name, value)
