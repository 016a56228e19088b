"""Exponential moving average of the generators' weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage(AveragedModel):
    """``θ̄ ← d θ̄ + (1 − d) θ`` after each step, with ``d = min(decay, (1 + n) / (10 + n))``.

    The ramp over the number of updates ``n`` keeps the random initial weights out of the
    average, so that short trainings profit too.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            n = int(count)
            torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (1 + n) / (10 + n)))

        super().__init__(module, multi_avg_fn=average, use_buffers=False)
        self.requires_grad_(False)
