"""Gated-CNN generator (1D) and discriminator (2D) of CycleGAN-VC.

Kaneko, Kameoka: "Parallel-Data-Free Voice Conversion Using Cycle-Consistent Adversarial
Networks", 2017, arXiv 1711.11293, figure 4, whose kernels (k), channels (c) and strides (s)
these are at width 128. A gated linear unit multiplies one convolution by the sigmoid of a second
(Dauphin 2017, arXiv 1612.08083, equation 1); both are computed as one convolution of twice the
channels, whose first half is the value and whose second half the gate, each channel normalised
by itself. ``c`` counts the channels after the unit.

What figure 4 leaves open, and where public implementations differ from it or from one another:

- *Gate.* Separate convolutions for value and gate, as in the figure's references. One public
  version gates a convolution with itself, with half the parameters.
- *Pixel shuffle.* ``c`` of the upsampling layers counts channels before the shuffle (1024 and
  512), so 512 and 256 remain. The channel order is that of Shi 2016 (arXiv 1609.05158),
  equation 4. Some versions leave 256 and 128, or only reshape, which mixes frames.
- *Padding.* Zeros on both sides, such that a stride of 2 halves even sizes.
- *Discriminator's end.* The figure has a fully connected layer and a sigmoid. As in most public
  versions the layer acts on the channels of each location, so segments of any length are judged,
  and there is no sigmoid, since the objective is least squares. With the k6 layer zero-padded, 24
  coefficients and 128 frames give 6 × 8 scores.
- *Instance normalisation.* With learned scale and shift, ε = 1e-5 (elsewhere 1e-6).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import block_outputs
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register


class GatedCNNConfig(BackboneConfig):
    coefficients: int = Field(24, ge=1, le=4096)
    """Coefficients per frame, for instance mel-cepstra c1…c24."""
    width: int = Field(128, ge=1, le=4096)
    """Channels after the first layer; all others scale with it."""
    residual_blocks: int = Field(6, ge=1, le=256)


class GatedCNNDiscriminatorConfig(BackboneConfig):
    coefficients: int = Field(24, ge=1, le=4096)
    """Coefficients per frame, for instance mel-cepstra c1…c24."""
    width: int = Field(128, ge=1, le=4096)
    """Channels after the first layer; all others scale with it."""


class PixelShuffle1d(nn.Module):
    """Trade channels for frames: ``(batch, factor · c, t)`` to ``(batch, c, factor · t)``.

    Output frame ``factor · t + k`` takes input channels ``k · c … (k + 1) · c − 1`` of frame t
    (Shi 2016, arXiv 1609.05158, equation 4, in one dimension). With ``groups`` each equal part
    of the channels is shuffled by itself: value and gate of a gated convolution.
    """

    def __init__(self, factor: int = 2, groups: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unflatten(1, (self.groups, self.factor, -1))  # batch, group, k, c, t
        return x.permute(0, 1, 3, 4, 2).flatten(3).flatten(1, 2)


class ResidualBlock1d(nn.Module):
    """``x + layers(x)``: a gated convolution to twice the channels and a plain one back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.layers = nn.Sequential(
            nn.Conv1d(channels, 2 * hidden, 3, padding=1),
            nn.InstanceNorm1d(2 * hidden, affine=True),
            nn.GLU(dim=1),
            nn.Conv1d(hidden, channels, 3, padding=1),
            nn.InstanceNorm1d(channels, affine=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def _downsampling1d(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv1d(inputs, 2 * outputs, 5, stride=2, padding=2),
        nn.InstanceNorm1d(2 * outputs, affine=True),
        nn.GLU(dim=1),
    ]


def _upsampling1d(inputs: int, before_shuffle: int) -> list[nn.Module]:
    return [
        nn.Conv1d(inputs, 2 * before_shuffle, 5, padding=2),
        PixelShuffle1d(2, groups=2),
        nn.InstanceNorm1d(before_shuffle, affine=True),
        nn.GLU(dim=1),
    ]


def _downsampling2d(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> list[nn.Module]:
    # An even kernel height needs one row more below than above to keep the height.
    above, below = (kernel[0] - 1) // 2, kernel[0] // 2
    return [
        nn.ZeroPad2d((1, 1, above, below)),
        nn.Conv2d(inputs, 2 * outputs, kernel, stride=stride),
        nn.InstanceNorm2d(2 * outputs, affine=True),
        nn.GLU(dim=1),
    ]


@register("gated_cnn")
class GatedCNNGenerator(Backbone):
    """Maps spectra ``(batch, coefficients, frames)`` to the same shape, not bounded.

    The number of frames is a multiple of 4, at least 8 (instance normalisation needs two frames
    at a quarter of the rate). Coefficients are standardised, about −3…3.
    """

    Config = GatedCNNConfig
    modality = "voice"
    role = "generator"
    multiple = 4
    minimum = 8

    def __init__(self, config: GatedCNNConfig) -> None:
        super().__init__(config)
        w = config.width
        self.stem = nn.Sequential(
            nn.Conv1d(config.coefficients, 2 * w, 15, padding=7),
            nn.GLU(dim=1),
        )
        self.down = nn.Sequential(*_downsampling1d(w, 2 * w), *_downsampling1d(2 * w, 4 * w))
        self.residual = nn.Sequential(
            *(ResidualBlock1d(4 * w) for _ in range(config.residual_blocks))
        )
        self.up = nn.Sequential(*_upsampling1d(4 * w, 8 * w), *_upsampling1d(4 * w, 4 * w))
        self.head = nn.Conv1d(2 * w, config.coefficients, 15, padding=7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.head(self.up(self.residual(self.down(self.stem(x)))))


@register("gated_cnn_discriminator")
class GatedCNNDiscriminator(Backbone):
    """Maps ``(batch, coefficients, frames)`` to raw scores ``(batch, 1, rows, columns)``.

    There are ⌈coefficients / 4⌉ rows and ⌈frames / 16⌉ columns; any number of frames will do
    while there are at least two rows.
    """

    Config = GatedCNNDiscriminatorConfig
    modality = "voice"
    role = "discriminator"

    def __init__(self, config: GatedCNNDiscriminatorConfig) -> None:
        super().__init__(config)
        w = config.width
        # The last normalisation needs two locations: two rows, or two columns.
        self.minimum = 1 if config.coefficients > 4 else 17
        self.layers = nn.Sequential(
            nn.Conv2d(1, 2 * w, (3, 3), stride=(1, 2), padding=1),
            nn.GLU(dim=1),
            *_downsampling2d(w, 2 * w, (3, 3), (2, 2)),
            *_downsampling2d(2 * w, 4 * w, (3, 3), (2, 2)),
            *_downsampling2d(4 * w, 8 * w, (6, 3), (1, 2)),
            nn.Conv2d(8 * w, 1, 1),  # fully connected, at each location
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.layers(x.unsqueeze(1))

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        self.check_input(x)
        return [block_outputs(self.layers, x.unsqueeze(1))]
