"""U-Net generator of pix2pix, as the CycleGAN release offers it.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017, arXiv 1611.07004, appendix 6.1.1. With width 64 the encoder is
``C64-C128-C256-C512-C512-…``; each decoder level sees the encoder level of its size (a skip).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from cyclegan_media.backbones.layers import Checkpointing, Norm, has_bias, norm_layer, run_group
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, Role, register

Layers = Callable[[torch.Tensor], torch.Tensor]


class UNetConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels of the first level; doubled per level up to eight times."""
    downsamplings: int = Field(8, ge=3, le=12)
    """Halvings down to the bottleneck: 8 take 256 × 256 pixels to 1 × 1, 7 take 128 × 128."""
    norm: Norm = "instance"
    dropout: bool = False
    """Dropout (0.5) in the decoder levels of eight times the width, the innermost excepted."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of input and output."""
    checkpointing: Checkpointing = False
    """Save memory in training by computing layers twice; changes no result."""

    @property
    def input_channels(self) -> int:
        return self.channels


@register("unet")
class UNetGenerator(Backbone):
    """Maps ``(batch, channels, height, width)`` to the same shape, in −1…1 (tanh).

    Height and width are multiples of 2**downsamplings. The bottleneck may be a single pixel: it
    is not normalised, so this holds in training mode and with batch 1, too.
    """

    Config: ClassVar[type[BackboneConfig]] = UNetConfig
    modality = "image"
    role: ClassVar[Role] = "generator"

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        depth = config.downsamplings
        self.checkpointing = config.checkpointing
        self.multiple = self.minimum = 2**depth
        bias = has_bias(config.norm)
        widths = [config.width * min(2**i, 8) for i in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for i in range(depth):
            outermost, innermost = i == 0, i == depth - 1
            inner = widths[i]
            above = config.input_channels if outermost else widths[i - 1]
            outer = config.channels if outermost else widths[i - 1]
            down: OrderedDict[str, nn.Module] = OrderedDict()
            down["conv"] = nn.Conv2d(above, inner, 4, stride=2, padding=1, bias=bias)
            if not (outermost or innermost):
                down["norm"] = norm_layer(config.norm, inner)
            up: OrderedDict[str, nn.Module] = OrderedDict()
            up["conv"] = nn.ConvTranspose2d(
                inner if innermost else 2 * inner,
                outer,
                4,
                stride=2,
                padding=1,
                bias=bias or outermost,  # nothing normalises the last convolution
            )
            if not outermost:
                up["norm"] = norm_layer(config.norm, outer)
            if config.dropout and 4 <= i < depth - 1:
                up["dropout"] = nn.Dropout(0.5)
            self.down.append(nn.Sequential(down))
            self.up.append(nn.Sequential(up))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        skips: list[torch.Tensor] = []
        for i, down in enumerate(self.down):
            group = down if i == 0 else _after(partial(F.leaky_relu, negative_slope=0.2), down)
            x = run_group(group, x, checkpointing=self.checkpointing)
            skips.append(x)
        x = skips.pop()
        for up in reversed(self.up):
            x = run_group(_after(F.relu, up), x, checkpointing=self.checkpointing)
            if skips:
                x = torch.cat([skips.pop(), x], dim=1)
        return torch.tanh(x)


def _after(activation: Layers, layers: Layers) -> Layers:
    return lambda x: layers(activation(x))
