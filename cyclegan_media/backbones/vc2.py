"""2-1-2D generator and PatchGAN discriminator of CycleGAN-VC2.

Kaneko, Kameoka, Tanaka, Hojo: "CycleGAN-VC2: Improved CycleGAN-based Non-parallel Voice
Conversion", ICASSP 2019, arXiv 1904.04631, section 3 and figure 4. A spectrum is a picture of one
channel where it is made shorter and longer again, so that neighbouring coefficients share
weights, and a sequence of vectors where it is converted, so that each frame sees all of them.
With width w = 128, c = coefficients and t = frames, the generator is

    input                                  1 × c × t
    conv 5 × 15, gate                      w × c × t
    conv 5 × 5 stride 2, IN, gate         2w × c/2 × t/2
    conv 5 × 5 stride 2, IN, gate         2w × c/4 × t/4
    flatten, conv 1, IN                   2w × t/4               (2D to 1D)
    6 × [conv 3, IN, gate; conv 3, IN]    4w, then 2w × t/4      plus the block's input
    conv 1, IN, unflatten                 2w × c/4 × t/4         (1D to 2D)
    conv 5 × 5, shuffle, IN, gate         8w, then 2w × c/2 × t/2
    conv 5 × 5, shuffle, IN, gate         4w, then w × c × t
    conv 5 × 15                            1 × c × t

IN is instance normalisation with learned scale and shift. What the community PyTorch release
does, which these networks compute to the last digit, and the paper does not:

- *Gates.* In the upsampling and in the discriminator a layer gates itself, ``x · σ(x)`` (SiLU),
  where the paper has a second convolution for the gate (a gated linear unit).
- *Discriminator.* Its 1 × 5 convolution holds weights but is left out of the computation
  (``horizontal: false``; an import sets it). Its scores pass a sigmoid, although the objective is
  least squares; here they are raw.
- *Coefficients.* 36 of them, since c/4 has to be whole.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.gated_cnn import ResidualBlock1d
from cyclegan_media.backbones.layers import block_outputs
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register


class VC2Config(BackboneConfig):
    coefficients: int = Field(36, ge=4, le=4096, multiple_of=4)
    """Coefficients per frame, for instance mel-cepstra c1…c36."""
    width: int = Field(128, ge=1, le=4096)
    """Channels after the first layer; all others scale with it."""
    residual_blocks: int = Field(6, ge=1, le=256)


class VC2DiscriminatorConfig(BackboneConfig):
    coefficients: int = Field(36, ge=1, le=4096)
    """Coefficients per frame, for instance mel-cepstra c1…c36."""
    width: int = Field(128, ge=1, le=4096)
    """Channels after the first layer; all others scale with it."""
    horizontal: bool = True
    """Whether there is a 1 × 5 convolution along time before the scores, as in the paper."""


def _downsampling(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, 2 * outputs, 5, stride=2, padding=2),
        nn.InstanceNorm2d(2 * outputs, affine=True),
        nn.GLU(dim=1),
    ]


def _upsampling(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, 4 * outputs, 5, padding=2),
        nn.PixelShuffle(2),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.SiLU(inplace=True),
    ]


@register("vc2")
class VC2Generator(Backbone):
    """Maps spectra ``(batch, coefficients, frames)`` to the same shape, not bounded.

    The number of frames is a multiple of 4, at least 8 (instance normalisation needs two frames
    at a quarter of the rate). Coefficients are standardised, about −3…3.
    """

    Config = VC2Config
    modality = "voice"
    role = "generator"
    multiple = 4
    minimum = 8
    planes: ClassVar[int] = 1
    """Channels of the picture that the first layer sees."""

    def __init__(self, config: VC2Config) -> None:
        super().__init__(config)
        w, rows = config.width, config.coefficients // 4
        self.stem = nn.Sequential(
            nn.Conv2d(self.planes, 2 * w, (5, 15), padding=(2, 7)), nn.GLU(dim=1)
        )
        self.down = nn.Sequential(*_downsampling(w, 2 * w), *_downsampling(2 * w, 2 * w))
        self.to_1d = nn.Sequential(
            nn.Flatten(1, 2),
            nn.Conv1d(2 * w * rows, 2 * w, 1),
            nn.InstanceNorm1d(2 * w, affine=True),
        )
        self.residual = nn.Sequential(
            *(ResidualBlock1d(2 * w) for _ in range(config.residual_blocks))
        )
        self.to_2d = nn.Sequential(
            nn.Conv1d(2 * w, 2 * w * rows, 1),
            nn.InstanceNorm1d(2 * w * rows, affine=True),
            nn.Unflatten(1, (2 * w, rows)),
        )
        self.up = nn.Sequential(*_upsampling(2 * w, 2 * w), *_upsampling(2 * w, w))
        self.head = nn.Conv2d(w, 1, (5, 15), padding=(2, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.convert(x.unsqueeze(1))

    def convert(self, picture: torch.Tensor) -> torch.Tensor:
        """``(batch, planes, coefficients, frames)`` to ``(batch, coefficients, frames)``."""
        frames = self.to_1d(self.down(self.stem(picture)))
        return self.head(self.up(self.to_2d(self.residual(frames)))).squeeze(1)


def _judging(inputs: int, outputs: int, kernel: tuple[int, int], stride: int) -> list[nn.Module]:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.SiLU(inplace=True),
    ]


@register("vc2_discriminator")
class VC2Discriminator(Backbone):
    """Maps ``(batch, coefficients, frames)`` to raw scores ``(batch, 1, rows, columns)``.

    There are ⌈coefficients / 8⌉ rows and ⌈frames / 8⌉ columns; any number of frames will do
    while there are at least two rows. With width w::

        conv 3 × 3, gate                       w × c × t
        conv 3 × 3 stride 2, IN, gate         2w × c/2 × t/2
        conv 3 × 3 stride 2, IN, gate         4w × c/4 × t/4
        conv 3 × 3 stride 2, IN, gate         8w × c/8 × t/8
        conv 1 × 5, IN, gate (horizontal)     8w × c/8 × t/8
        conv 1 × 3                             1 × c/8 × t/8
    """

    Config = VC2DiscriminatorConfig
    modality = "voice"
    role = "discriminator"

    def __init__(self, config: VC2DiscriminatorConfig) -> None:
        super().__init__(config)
        w = config.width
        # The last normalisation needs two locations: two rows, or two columns.
        self.minimum = 1 if config.coefficients > 8 else 9
        self.layers = nn.Sequential(
            nn.Conv2d(1, w, 3, padding=1),
            nn.SiLU(inplace=True),
            *_judging(w, 2 * w, (3, 3), 2),
            *_judging(2 * w, 4 * w, (3, 3), 2),
            *_judging(4 * w, 8 * w, (3, 3), 2),
            *(_judging(8 * w, 8 * w, (1, 5), 1) if config.horizontal else []),
            nn.Conv2d(8 * w, 1, (1, 3), padding=(0, 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return self.layers(x.unsqueeze(1))

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        self.check_input(x)
        return [block_outputs(self.layers, x.unsqueeze(1))]
