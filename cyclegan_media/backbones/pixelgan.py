"""PixelGAN discriminator: judges each pixel by its colour alone (1 × 1 patches).

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017, arXiv 1611.07004, section 4.4 and appendix 6.1.2: ``C64-C128`` with 1 × 1 kernels.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import Norm, block_outputs, has_bias, norm_layer
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register


class PixelGANConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels after the first layer."""
    norm: Norm = "instance"
    channels: int = Field(3, ge=1, le=64)
    """Channels judged: 3, or 6 where a conditional discriminator sees input and output."""


@register("pixelgan")
class PixelGAN(Backbone):
    """Maps ``(batch, channels, height, width)`` to raw scores ``(batch, 1, height, width)``."""

    Config = PixelGANConfig
    modality = "image"
    role = "discriminator"
    minimum = 2  # a single pixel has no variance to normalise by

    def __init__(self, config: PixelGANConfig) -> None:
        super().__init__(config)
        width, bias = config.width, has_bias(config.norm)
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(config.norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.layers(x)

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        self.check_input(x)
        return [block_outputs(self.layers, x)]
