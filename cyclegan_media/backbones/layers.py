"""The one layer choice that the image backbones share: which normalisation."""

from __future__ import annotations

from typing import Literal

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
