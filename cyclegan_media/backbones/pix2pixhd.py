"""Coarse-to-fine generators of pix2pixHD: a global generator and its local enhancer.

Wang, Liu, Zhu, Tao, Kautz, Catanzaro: "High-Resolution Image Synthesis and Semantic Manipulation
with Conditional GANs", CVPR 2018, arXiv 1711.11585, section 3.1 and appendix A. In its notation,
with 4 downsamplings and 9 blocks at width 64, the global generator G₁ is

    c7s1-64, d128, d256, d512, d1024, R1024 × 9, u512, u256, u128, u64, c7s1-3

and the local enhancer G₂, of half its width, works at twice its size:

    c7s1-32, d64, + G₁'s last features, R64 × 3, u32, c7s1-3

where the sum takes the place of G₁'s own last layer. Its input for G₁ is the picture averaged to
half the size (3 × 3 window, stride 2, the border not counted). Further enhancers stack on top,
each of half the width and twice the size of the one below.

What the paper leaves open is taken from the release: normalisation by instance, without learned
scale and shift; biases in all convolutions; reflection padding, but zeros where the size changes.
The release's input is a label map of any number of channels; here, as everywhere in this package,
input and output are pictures of the same number of channels.

With ``checkpointing`` each layer group is computed again in the backward pass instead of being
kept. Of 1024 × 512 pixels, the global generator at full width keeps 0.55 GiB instead of 1.5 GiB, in
single precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import Checkpointing, run_groups
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register
from cyclegan_media.backbones.resnet import ResidualBlock
from cyclegan_media.errors import UserError


class GlobalConfig(BackboneConfig):
    width: int = Field(64, ge=1, le=4096)
    """Channels after the first layer; doubled by each downsampling."""
    downsamplings: int = Field(4, ge=1, le=8)
    """Halvings of the size down to the residual blocks."""
    blocks: int = Field(9, ge=1, le=256)
    """Residual blocks at the smallest size."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of input and output."""
    checkpointing: Checkpointing = False
    """Save memory in training by computing layers twice; changes no result."""


class EnhancerConfig(BackboneConfig):
    width: int = Field(32, ge=1, le=4096)
    """Channels after the first layer of the last enhancer; the global part has
    2**enhancers times as many."""
    downsamplings: int = Field(4, ge=1, le=8)
    """Halvings of the size inside the global part."""
    blocks: int = Field(9, ge=1, le=256)
    """Residual blocks of the global part."""
    enhancers: int = Field(1, ge=1, le=4)
    """How often the size is doubled over that of the global part."""
    enhancer_blocks: int = Field(3, ge=1, le=256)
    """Residual blocks of each enhancer."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of input and output."""
    checkpointing: Checkpointing = False
    """Save memory in training by computing layers twice; changes no result."""


def _stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, width, 7),
        nn.InstanceNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _down(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.InstanceNorm2d(2 * width),
        nn.ReLU(inplace=True),
    )


def _up(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1),
        nn.InstanceNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _head(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh())


def _residual(width: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(width, "instance", dropout=False) for _ in range(blocks)]


def _global_body(channels: int, width: int, downsamplings: int, blocks: int) -> nn.ModuleList:
    """The global generator's layer groups but its last: one convolution or residual block each."""
    return nn.ModuleList(
        [
            _stem(channels, width),
            *(_down(width * 2**i) for i in range(downsamplings)),
            *_residual(width * 2**downsamplings, blocks),
            *(_up(width * 2**i) for i in reversed(range(downsamplings))),
        ]
    )


@register("pix2pixhd_global")
class GlobalGenerator(Backbone):
    """Maps ``(batch, channels, height, width)`` to the same shape, in −1…1 (tanh).

    Height and width are multiples of 2**downsamplings, at least twice that (reflection padding by
    1 needs two pixels at the smallest size).
    """

    Config = GlobalConfig
    modality = "image"
    role = "generator"

    def __init__(self, config: GlobalConfig) -> None:
        super().__init__(config)
        self.multiple = 2**config.downsamplings
        self.minimum = 2 * self.multiple
        self.checkpointing = config.checkpointing
        self.body = _global_body(config.channels, config.width, config.downsamplings, config.blocks)
        self.head = _head(config.width, config.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return run_groups([*self.body, self.head], x, checkpointing=self.checkpointing)


@register("pix2pixhd_enhancer")
class LocalEnhancer(Backbone):
    """Maps ``(batch, channels, height, width)`` to the same shape, in −1…1 (tanh).

    Height and width are multiples of 2**(downsamplings + enhancers), at least twice that.

    Training has two stages (section 3.1): first a global generator by itself on pictures of half
    the size, then this network, which takes it over by :meth:`load_global` and trains the
    enhancers alone before it trains everything; :meth:`stage_parameters` names the two groups.
    """

    Config = EnhancerConfig
    modality = "image"
    role = "generator"

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__(config)
        self.multiple = 2 ** (config.downsamplings + config.enhancers)
        self.minimum = 2 * self.multiple
        self.checkpointing = config.checkpointing
        self.global_body = _global_body(
            config.channels,
            config.width * 2**config.enhancers,
            config.downsamplings,
            config.blocks,
        )
        # Coarse to fine; the last works at the input's size.
        widths = [config.width * 2**i for i in reversed(range(config.enhancers))]
        self.local_down = nn.ModuleList(
            nn.ModuleList([_stem(config.channels, width), _down(width)]) for width in widths
        )
        self.local_up = nn.ModuleList(
            nn.ModuleList([*_residual(2 * width, config.enhancer_blocks), _up(width)])
            for width in widths
        )
        self.head = _head(config.width, config.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        pyramid = [x]
        for _ in self.local_down:
            pyramid.append(
                F.avg_pool2d(pyramid[-1], 3, stride=2, padding=1, count_include_pad=False)
            )
        y = run_groups(self.global_body, pyramid.pop(), checkpointing=self.checkpointing)
        for down, up in zip(self.local_down, self.local_up, strict=True):
            y = y + run_groups(down.children(), pyramid.pop(), checkpointing=self.checkpointing)
            y = run_groups(up.children(), y, checkpointing=self.checkpointing)
        return run_groups([self.head], y, checkpointing=self.checkpointing)

    def stage_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter once, under ``global`` or ``local``: freeze ``global`` at first."""
        whole = dict(self.named_parameters())
        return {
            "global": [p for name, p in whole.items() if name.startswith("global_body.")],
            "local": [p for name, p in whole.items() if not name.startswith("global_body.")],
        }

    def load_global(self, trained: GlobalGenerator) -> None:
        """Start from a global generator trained by itself; its last layer is left out.

        Raises:
            UserError: its width, depth or channels are not those of this network's global part.
        """
        wanted = {name: p.shape for name, p in self.global_body.state_dict().items()}
        state = trained.body.state_dict()
        if {name: p.shape for name, p in state.items()} != wanted:
            raise UserError(
                f"backbone {self.name!r}: the global generator does not fit; it needs the same"
                f" channels, downsamplings and blocks, and {2 ** len(self.local_down)} times the"
                " width"
            )
        self.global_body.load_state_dict(state)
