"""Multi-scale PatchGAN discriminator of pix2pixHD.

Wang, Liu, Zhu, Tao, Kautz, Catanzaro: "High-Resolution Image Synthesis and Semantic Manipulation
with Conditional GANs", CVPR 2018, arXiv 1711.11585, section 3.2: discriminators D₁, D₂, D₃ of one
architecture judge the picture, the picture at half and at a quarter of its size. Their layers are
``C64-C128-C256-C512`` and a convolution to one score per patch, as in the 70 × 70 PatchGAN; as in
the release, 4 × 4 convolutions are padded by 2 where PatchGAN's are by 1, no layer has more than
512 channels, and pictures are halved by averages over 3 × 3 pixels.

The paper has three scales and the release two by default.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import block_outputs
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register

_MOST_CHANNELS = 512


class MultiscalePatchGANConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels after the first layer; doubled per layer up to 512."""
    layers: int = Field(3, ge=1, le=8)
    """Layers of stride 2 in each discriminator."""
    scales: int = Field(3, ge=1, le=6)
    """How many discriminators, each at half the size of the one before."""
    channels: int = Field(3, ge=1, le=64)
    """Channels judged: 3, or 6 where a conditional discriminator sees input and output."""


def _discriminator(config: MultiscalePatchGANConfig) -> nn.Sequential:
    inputs, outputs = config.width, config.width
    layers: list[nn.Module] = [
        nn.Conv2d(config.channels, outputs, 4, stride=2, padding=2),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for i in range(1, config.layers + 1):
        inputs, outputs = outputs, min(2 * outputs, _MOST_CHANNELS)
        layers += [
            nn.Conv2d(inputs, outputs, 4, stride=2 if i < config.layers else 1, padding=2),
            nn.InstanceNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(outputs, 1, 4, padding=2))


@register("multiscale_patchgan")
class MultiscalePatchGAN(Backbone):
    """Maps ``(batch, channels, height, width)`` to a list of raw scores, the full scale first.

    Each is ``(batch, 1, rows, columns)``, about ⌊size / 2**layers⌋ + 3 by as much, for a picture
    halved 0, 1, … times.
    """

    Config = MultiscalePatchGANConfig
    modality = "image"
    role = "discriminator"

    def __init__(self, config: MultiscalePatchGANConfig) -> None:
        super().__init__(config)
        # Two pixels must be left at the smallest scale, or there is no variance to normalise by.
        self.minimum = 2 ** (config.scales - 1) + 1
        self.scales = nn.ModuleList(_discriminator(config) for _ in range(config.scales))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [scale(x) for scale, x in zip(self.scales, self._pyramid(x), strict=True)]

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        return [
            block_outputs(scale, x) for scale, x in zip(self.scales, self._pyramid(x), strict=True)
        ]

    def _pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        self.check_input(x)
        pyramid = [x]
        for _ in self.scales[1:]:
            pyramid.append(
                F.avg_pool2d(pyramid[-1], 3, stride=2, padding=1, count_include_pad=False)
            )
        return pyramid
