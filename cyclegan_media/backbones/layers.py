"""What several backbones share: normalisation, activation checkpointing, features of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, ValidationInfo
from torch import nn
from torch.utils.checkpoint import checkpoint

Norm = Literal["instance", "batch"]


def _counts_once(value: bool, info: ValidationInfo) -> bool:
    if value and info.data.get("norm") == "batch":
        raise ValueError(
            "a layer that is computed twice would enter the running statistics of norm: batch"
            " twice; use norm: instance"
        )
    return value


Checkpointing = Annotated[bool, AfterValidator(_counts_once)]
"""Whether training computes layers twice to save memory. See :func:`run_group`."""


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Normalisation of ``(batch, channels, height, width)``, as the CycleGAN release uses it.

    Instance normalisation has neither affine parameters nor running statistics, so a network
    with it computes the same in training and evaluation mode.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    return nn.BatchNorm2d(channels)


def has_bias(kind: Norm) -> bool:
    """Whether a convolution before this normalisation has a bias (batch norm brings its own)."""
    return kind == "instance"


def run_group(
    group: Callable[..., torch.Tensor], x: torch.Tensor, *rest: Any, checkpointing: bool
) -> torch.Tensor:
    """``group(x, *rest)``, of which training keeps ``x`` alone and not what is computed inside.

    The backward pass computes the group again (Chen, Xu, Zhang, Guestrin: "Training Deep Nets with
    Sublinear Memory Cost", 2016, arXiv 1604.06174): the same numbers, dropout included, for the
    memory of each group's input and of the largest group, instead of the sum of all. The group's
    first operation must not work in place.
    """
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(group, x, *rest, use_reentrant=False)
    return group(x, *rest)


def run_groups(
    groups: Iterable[Callable[..., torch.Tensor]],
    x: torch.Tensor,
    *rest: Any,
    checkpointing: bool,
) -> torch.Tensor:
    """One group after the other. See :func:`run_group`."""
    for group in groups:
        x = run_group(group, x, *rest, checkpointing=checkpointing)
    return x


def block_outputs(layers: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The output of each block of a sequence, a block ending with its activation; then the last.

    A discriminator that is one sequence gives its ``features`` by this.
    """
    outputs = []
    for layer in layers.children():
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU | nn.GLU | nn.SiLU):
            outputs.append(x)
    return [*outputs, x]
