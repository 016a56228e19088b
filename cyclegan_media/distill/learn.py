"""How a student learns: by regression on what its teacher makes of frames.

Li, Lin, Ding, Liu, Zhu, Han: "GAN Compression: Efficient Architectures for Interactive Conditional
GANs", CVPR 2020, arXiv 2003.08936, section 3.1: though a CycleGAN was trained without pairs, its
generator makes pairs, and a student learns from these by plain regression. Here the loss is

    L = mean |s − t| + λ (mean |∂x (s − t)| + mean |∂y (s − t)|)

for the student's picture s and the teacher's t: the second part holds edges, which the first alone
leaves soft.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from cyclegan_media.backbones import Backbone
from cyclegan_media.core import MovingAverage
from cyclegan_media.errors import RunError
from cyclegan_media.training.prepared import Prepared


@dataclass(frozen=True)
class Settings:
    """How a student learns."""

    width: int | None = None
    """Channels of the student's first layer, and ``blocks``: chosen by :func:`student_spec`."""
    blocks: int | None = None
    crops: int = 400
    """Pairs of a crop and its translation by the teacher, which is asked for each once."""
    size: int = 256
    """Side of the crops in pixels."""
    load_size: int | None = None
    """Scale the frames' shorter side to this many pixels first; ``None`` keeps their size."""
    steps: int = 2000
    batch_size: int = 4
    learning_rate: float = 1e-3
    """Adam's, at first; it falls to 0 by half a cosine."""
    gradient: float = 1.0
    """λ, the weight of the loss on differences between neighbouring pixels."""
    seed: int = 0


def learn(
    network: Backbone,
    inputs: Tensor,
    wanted: Tensor,
    settings: Settings,
    fabric: Fabric,
    *,
    stop: threading.Event,
    progress: bool = False,
    label: str = "student",
) -> tuple[Backbone, int]:
    """Train ``network`` to map ``inputs`` to ``wanted``.

    Args:
        network: with its initial weights.
        inputs, wanted: uint8 ``(n, 3, height, width)``.
        fabric: device and precision.
        stop: set by an interrupt; the learning then ends after its current step.
        progress: show a bar, with ``label``.

    Returns:
        The network with weights averaged over the last steps, on the CPU in evaluation mode, and
        how many steps were done.

    Raises:
        RunError: the loss is not finite any more.
    """
    network.to(fabric.device).train()
    average = MovingAverage(network, 0.99)
    student = Prepared(network, fabric)
    adam = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    optimiser = cast(Optimizer, fabric.setup_optimizers(adam))
    steps = 0
    with tqdm(total=settings.steps, desc=label, unit="step", disable=not progress) as bar:
        for chosen in _batches(len(inputs), settings):
            for group in adam.param_groups:
                rate = 0.5 * (1 + math.cos(math.pi * steps / settings.steps))
                group["lr"] = settings.learning_rate * rate
            got = student(_floats(inputs[chosen], fabric))
            loss = imitation_loss(got, _floats(wanted[chosen], fabric), settings.gradient)
            value = loss.item()
            if not math.isfinite(value):
                raise RunError(f"step {steps}: the loss is {value}; try --precision fp32")
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimiser.step()
            average.update_parameters(network)
            steps += 1
            bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
            bar.update()
            if stop.is_set():
                break
    averaged = average.module
    assert isinstance(averaged, Backbone)
    return averaged.cpu().eval(), steps


def imitation_loss(student: Tensor, teacher: Tensor, gradient: float) -> Tensor:
    """``mean |d| + λ (mean |∂x d| + mean |∂y d|)`` with ``d = student − teacher``, a scalar.

    Args:
        student, teacher: ``(batch, 3, height, width)`` in −1…1.
        gradient: λ.
    """
    difference = student - teacher
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.abs().mean() + gradient * edges


def _batches(count: int, settings: Settings) -> Iterator[Tensor]:
    """The numbers of each step's pairs: all of them in a new random order, over and over."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(settings.steps):
        while len(order) < settings.batch_size:
            order = torch.cat([order, torch.randperm(count)])
        yield order[: settings.batch_size]
        order = order[settings.batch_size :]


def _floats(pictures: Tensor, fabric: Fabric) -> Tensor:
    return pictures.to(fabric.device).float().div(127.5).sub(1)
