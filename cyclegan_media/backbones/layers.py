"""What several backbones share: the choice of normalisation, and features of a sequence."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Norm = Literal["instance", "batch"]


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
