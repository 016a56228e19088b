"""Networks of Augmented CycleGAN: a generator with a latent code, its encoder and discriminator.

Almahairi, Rajeswar, Sordoni, Bachman, Courville: "Augmented CycleGAN: Learning Many-to-Many
Mappings from Unpaired Data", ICML 2018, arXiv 1802.10151, sections 3 and 4. What domain A does
not tell about an example of B is a latent code z_b ~ N(0, 1):

    G_AB(a, z_b) → b        cin_resnet
    E_B(b, a) → z_b         latent_encoder, by which z_b is found again, or borrowed
    D_Z(z)                  latent_discriminator, encoded codes against the prior's

and likewise with A and B exchanged. The generator is CycleGAN's ResNet (``resnet.py``) whose
normalisations are conditional (Dumoulin 2017, arXiv 1610.07629):

    CIN(h, z) = γ(z) ⊙ (h − μ(h)) / σ(h) + β(z),    γ(z) = 1 + W_γ z + c_γ,    β(z) = W_β z + c_β

with mean μ and deviation σ over each example's locations, per channel. Choices that differ from
the authors' release:

- It passes γ and β through a ReLU and starts them near 0, and leaves every block's second
  normalisation unconditional; here γ starts near 1, and all normalisations listen to z.
- Its generators halve the size once, as for 64 × 64 pixels; here twice, as CycleGAN does.
- Its encoder reads 64 × 64 pixels and normalises by batch. Here an average over all locations
  takes any size. Batches are too small for the latter, and normalisation by instance would erase
  the contrast and colour in which a style shows; so all channels are normalised together.
- Its latent discriminator normalises by batch; here nothing does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.layers import Checkpointing, block_outputs, run_group, run_groups
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register
from cyclegan_media.errors import UserError


class CINResNetConfig(BackboneConfig):
    latent: int = Field(16, ge=1, le=1024)
    """Length of the latent code."""
    width: int = Field(32, ge=1, le=4096)
    """Channels after the first layer; the residual blocks have four times as many."""
    blocks: int = Field(3, ge=1, le=256)
    """Residual blocks: the authors have 3 at 64 × 64 pixels."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of input and output."""
    checkpointing: Checkpointing = False
    """Save memory in training by computing layers twice; changes no result."""


class LatentEncoderConfig(BackboneConfig):
    latent: int = Field(16, ge=1, le=1024)
    """Length of the latent code."""
    width: int = Field(32, ge=1, le=4096)
    """Channels after the first layer; doubled per layer up to eight times."""
    layers: int = Field(4, ge=1, le=8)
    """Convolutions of stride 2."""
    channels: int = Field(3, ge=1, le=64)
    """Colour channels of each of the two pictures."""


class LatentDiscriminatorConfig(BackboneConfig):
    latent: int = Field(16, ge=1, le=1024)
    """Length of the latent code."""
    width: int = Field(64, ge=1, le=4096)
    """Units of each hidden layer."""
    layers: int = Field(3, ge=1, le=8)
    """Hidden layers."""


class ConditionalInstanceNorm(nn.Module):
    """``γ(z) ⊙ (h − μ(h)) / σ(h) + β(z)`` for h ``(batch, channels, height, width)``."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(latent, 2 * channels)

    def forward(self, h: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        gamma, beta = self.modulation(z)[:, :, None, None].chunk(2, dim=1)
        return (1 + gamma) * F.instance_norm(h) + beta


class _Layer(nn.Module):
    """A convolution, then conditional normalisation, then a ReLU unless the block ends here."""

    def __init__(self, conv: nn.Module, channels: int, latent: int, relu: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = ConditionalInstanceNorm(channels, latent)
        self.relu = relu

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x), z)
        return F.relu(x, inplace=True) if self.relu else x


class _ConditionalResidualBlock(nn.Module):
    """``x + layers(x, z)``"""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.first = _Layer(_padded_conv(channels, channels, 3), channels, latent)
        self.second = _Layer(_padded_conv(channels, channels, 3), channels, latent, relu=False)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.first(x, z), z)


def _padded_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel))


@register("cin_resnet")
class CINResNetGenerator(Backbone):
    """Maps ``(batch, channels, height, width)`` and z ``(batch, latent)`` to pictures in −1…1.

    Without z, it takes the prior's mean, z = 0. Height and width are multiples of 4, at least 8.
    """

    Config = CINResNetConfig
    modality = "image"
    role = "generator"
    multiple = 4
    minimum = 8

    def __init__(self, config: CINResNetConfig) -> None:
        super().__init__(config)
        w1, w2, w4 = config.width, 2 * config.width, 4 * config.width
        z = self.latent = config.latent
        self.checkpointing = config.checkpointing
        self.layers = nn.ModuleList(
            [
                _Layer(_padded_conv(config.channels, w1, 7), w1, z),
                _Layer(nn.Conv2d(w1, w2, 3, stride=2, padding=1), w2, z),
                _Layer(nn.Conv2d(w2, w4, 3, stride=2, padding=1), w4, z),
                *(_ConditionalResidualBlock(w4, z) for _ in range(config.blocks)),
                _Layer(_doubling(w4, w2), w2, z),
                _Layer(_doubling(w2, w1), w1, z),
            ]
        )
        self.head = nn.Sequential(_padded_conv(w1, config.channels, 7), nn.Tanh())

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        self.check_input(x)
        if z is None:
            z = x.new_zeros(x.shape[0], self.latent)
        # Not len(x), which torch.export takes for a constant.
        _check_latent(self.name, z, (x.shape[0], self.latent))
        x = run_groups(self.layers, x, z, checkpointing=self.checkpointing)
        return run_group(self.head, x, checkpointing=self.checkpointing)


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


@register("latent_encoder")
class LatentEncoder(Backbone):
    """Maps an example of each domain, ``(batch, channels, height, width)`` both, to codes.

    ``encoder(own, other)`` is ``(batch, latent)``, the mean of the code without noise; first comes
    the example of the domain that the code is about: E_B(b, a).
    """

    Config = LatentEncoderConfig
    modality = "image"
    role = "encoder"

    def __init__(self, config: LatentEncoderConfig) -> None:
        super().__init__(config)
        self.latent = config.latent
        widths = [config.width * min(2**i, 8) for i in range(config.layers)]
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(
            zip([2 * config.channels, *widths], widths, strict=False)
        ):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1))
            if i > 0:
                layers.append(nn.GroupNorm(1, outputs))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], config.latent)
        )

    def forward(self, own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        self.check_input(own)
        self.check_input(other)
        if own.shape != other.shape:
            raise UserError(
                f"backbone {self.name!r}: the two pictures differ in shape, {tuple(own.shape)} and"
                f" {tuple(other.shape)}; resize one of them"
            )
        return self.layers(torch.cat([own, other], dim=1))


@register("latent_discriminator")
class LatentDiscriminator(Backbone):
    """Maps codes ``(batch, latent)`` to raw scores ``(batch, 1)``."""

    Config = LatentDiscriminatorConfig
    modality = "any"
    role = "latent_discriminator"

    def __init__(self, config: LatentDiscriminatorConfig) -> None:
        super().__init__(config)
        self.latent = config.latent
        layers: list[nn.Module] = []
        inputs = config.latent
        for _ in range(config.layers):
            layers += [nn.Linear(inputs, config.width), nn.LeakyReLU(0.2, inplace=True)]
            inputs = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        _check_latent(self.name, z, (len(z), self.latent))
        return self.layers(z)

    def features(self, z: torch.Tensor) -> list[list[torch.Tensor]]:
        _check_latent(self.name, z, (len(z), self.latent))
        return [block_outputs(self.layers, z)]


def _check_latent(name: str, z: torch.Tensor, wanted: tuple[int, int]) -> None:
    if tuple(z.shape) != wanted:
        raise UserError(
            f"backbone {name!r}: needs a latent code shaped {wanted}, not {tuple(z.shape)}"
        )
