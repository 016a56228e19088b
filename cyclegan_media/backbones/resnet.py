"""ResNet generator of CycleGAN.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", ICCV 2017, arXiv 1703.10593, appendix 7.2; the residual architecture is that of
Johnson, Alahi, Fei-Fei, ECCV 2016. In the paper's notation with 9 blocks and width 64:
``c7s1-64, d128, d256, R256 ×9, u128, u64, c7s1-3``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import Checkpointing, Norm, has_bias, norm_layer, run_groups
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register
from cyclegan_media.errors import UserError


class ResNetConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels after the first layer; the residual blocks have four times as many."""
    blocks: int = Field(9, ge=1, le=256)
    """Residual blocks: the paper has 6 at 128 × 128 pixels and 9 from 256 × 256."""
    norm: Norm = "instance"
    dropout: bool = False
    """Dropout (0.5) between the two convolutions of each block."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of input and output."""
    checkpointing: Checkpointing = False
    """Save memory in training by computing layers twice; changes no result."""


@register("resnet")
class ResNetGenerator(Backbone):
    """Maps ``(batch, channels, height, width)`` to the same shape, in −1…1 (tanh).

    Height and width are multiples of 4, at least 8 (reflection padding by 1 at a quarter of
    the size needs two pixels there).
    """

    Config = ResNetConfig
    modality = "image"
    role = "generator"
    multiple = 4
    minimum = 8

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        norm, bias = config.norm, has_bias(config.norm)
        self.checkpointing = config.checkpointing
        w1, w2, w4 = config.width, 2 * config.width, 4 * config.width
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(config.channels, w1, 7, bias=bias),
            norm_layer(norm, w1),
            nn.ReLU(inplace=True),
            nn.Conv2d(w1, w2, 3, stride=2, padding=1, bias=bias),
            norm_layer(norm, w2),
            nn.ReLU(inplace=True),
            nn.Conv2d(w2, w4, 3, stride=2, padding=1, bias=bias),
            norm_layer(norm, w4),
            nn.ReLU(inplace=True),
        )
        self.residual = nn.Sequential(
            *(ResidualBlock(w4, norm, config.dropout) for _ in range(config.blocks))
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(w4, w2, 3, stride=2, padding=1, output_padding=1, bias=bias),
            norm_layer(norm, w2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(w2, w1, 3, stride=2, padding=1, output_padding=1, bias=bias),
            norm_layer(norm, w1),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w1, config.channels, 7),
            nn.Tanh(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        # A group is a convolution with its normalisation and activation, or a residual block.
        groups = [
            *(self.encoder[:4], self.encoder[4:7], self.encoder[7:]),
            *self.residual,
            *(self.decoder[:3], self.decoder[3:6], self.decoder[6:]),
        ]
        return run_groups(groups, x, checkpointing=self.checkpointing)

    def encode_features(self, x: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
        """See :meth:`Backbone.encode_features`; layers are numbered as in the release.

        0 is the padded picture, 4 and 7 are the convolutions that halve the size, the residual
        blocks start at 10. Park 2020 (arXiv 2007.15651, appendix) take the pixels, both
        halvings and the first and fifth block: 0, 4, 7, 10, 14. (The published 0, 4, 8, 12, 16
        count the same places in a generator with two more layers for anti-aliasing.)
        """
        self.check_input(x)
        sequence = [*self.encoder, *self.residual, *self.decoder]
        if not layers or min(layers) < 0 or max(layers) >= len(sequence):
            raise UserError(
                f"backbone {self.name!r}: has layers 0 to {len(sequence) - 1}, not {list(layers)}"
            )
        outputs: dict[int, torch.Tensor] = {}
        for i, layer in enumerate(sequence[: max(layers) + 1]):
            if getattr(layer, "inplace", False) and i - 1 in outputs:
                x = x.clone()  # this layer works in place, on what is an output
            x = layer(x)
            if i in layers:
                outputs[i] = x
        return [outputs[i] for i in layers]


class ResidualBlock(nn.Module):
    """``x + layers(x)`` with two 3 × 3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: Norm, dropout: bool) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm_layer(norm, channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm_layer(norm, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)
