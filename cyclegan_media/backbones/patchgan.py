"""PatchGAN discriminator of pix2pix and CycleGAN.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017, arXiv 1611.07004, appendix 6.1.2; used with 70 × 70 patches by Zhu 2017 (arXiv
1703.10593, appendix 7.2): ``C64-C128-C256-C512`` and a convolution to one score per patch.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import Norm, block_outputs, has_bias, norm_layer
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register


class PatchGANConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels after the first layer; doubled per layer up to eight times."""
    layers: int = Field(3, ge=1, le=8)
    """Layers of stride 2: patches of 16, 34, 70, 142, 286 pixels for 1, 2, 3, 4, 5."""
    norm: Norm = "instance"
    channels: int = Field(3, ge=1, le=64)
    """Channels judged: 3, or 6 where a conditional discriminator sees input and output."""


@register("patchgan")
class PatchGAN(Backbone):
    """Maps ``(batch, channels, height, width)`` to raw scores ``(batch, 1, rows, columns)``.

    With s = 2**layers there are ⌊height / s⌋ − 2 rows and ⌊width / s⌋ − 2 columns, so both
    sides need at least 3 s pixels (24 for the 70 × 70 patches).
    """

    Config = PatchGANConfig
    modality = "image"
    role = "discriminator"

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__(config)
        self.minimum = 3 * 2**config.layers
        widths = [config.width * min(2**i, 8) for i in range(config.layers + 1)]
        bias = has_bias(config.norm)
        layers: list[nn.Module] = [
            nn.Conv2d(config.channels, widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for i in range(1, config.layers + 1):
            stride = 2 if i < config.layers else 1
            layers += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride=stride, padding=1, bias=bias),
                norm_layer(config.norm, widths[i]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.layers(x)

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        self.check_input(x)
        return [block_outputs(self.layers, x)]
