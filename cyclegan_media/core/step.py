"""One training step: first both generators, then both discriminators.

Reads as the paper does (Zhu 2017, eq. 4: ``min_{G,F} max_{D_A,D_B} L``), the order is that of
the published release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cyclegan_media.core.cyclegan import CycleGAN, Translation
from cyclegan_media.core.history import History
from cyclegan_media.core.objective import Objective


class DivergedError(RuntimeError):
    """A term of the objective is not a finite number any more, or far beyond any sense.

    The networks still hold the weights from before the step's update that would have used it.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        super().__init__(f"step {step}: the term {term!r} is {value}")
        self.step, self.term, self.value = step, term, value


@dataclass
class Optimisers:
    """Adam for the two generators together and for the two discriminators together."""

    generators: Optimizer
    discriminators: Optimizer


@dataclass
class Histories:
    """Generated examples of each domain, for the discriminator of that domain."""

    a: History = field(default_factory=History)
    b: History = field(default_factory=History)


def training_step(
    networks: CycleGAN,
    objective: Objective,
    optimisers: Optimisers,
    histories: Histories,
    real_a: Tensor,
    real_b: Tensor,
    step: int,
    *,
    backward: Callable[[Tensor], object] = Tensor.backward,
    limit: float = math.inf,
) -> tuple[dict[str, Tensor], Translation]:
    """Update all four networks once on one unpaired batch.

    Args:
        step: counted from 0; the schedules of the objective's weights read it.
        backward: how to backpropagate a scalar (a trainer scales it for half precision).
        limit: a summand beyond ±``limit`` counts as diverged.

    Returns:
        Every weighted summand by name, the discriminators' as ``discriminator_a`` and ``_b``,
        all detached; and the batch with its translations.

    Raises:
        DivergedError: a summand is not finite or beyond the limit; no update was made from it.
    """
    # min over G, F, the discriminators fixed
    _requires_grad(networks.discriminator_parameters(), False)
    translation = Translation(networks, real_a, real_b)
    summands = objective.generators(translation, step)
    _check(summands, step, limit)
    optimisers.generators.zero_grad(set_to_none=True)
    backward(_sum(summands.values()))
    optimisers.generators.step()

    # min over D_A, D_B, on generated examples from the history
    _requires_grad(networks.discriminator_parameters(), True)
    fake_a = histories.a(translation.fake_a.detach())
    fake_b = histories.b(translation.fake_b.detach())
    losses = {
        "discriminator_a": objective.game.discriminator(networks.discriminator_a, real_a, fake_a),
        "discriminator_b": objective.game.discriminator(networks.discriminator_b, real_b, fake_b),
    }
    _check(losses, step, limit)
    optimisers.discriminators.zero_grad(set_to_none=True)
    backward(_sum(losses.values()))
    optimisers.discriminators.step()

    values = {name: value.detach() for name, value in {**summands, **losses}.items()}
    return values, translation


def _requires_grad(parameters: Iterable[nn.Parameter], flag: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(flag)


def _sum(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()


def _check(summands: dict[str, Tensor], step: int, limit: float) -> None:
    # One transfer from the device for all terms together.
    values = torch.stack([value.detach() for value in summands.values()]).tolist()
    for name, value in zip(summands, values, strict=True):
        if not math.isfinite(value) or abs(value) > limit:
            raise DivergedError(step, name, value)
