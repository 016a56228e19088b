"""The generator of HiFi-GAN, a vocoder.

Kong, Kim & Bae: "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech
Synthesis", NeurIPS 2020, arXiv 2010.05646, section 2.2 and appendix A. Transposed convolutions take
the frames of a log-mel spectrum to samples, step by step; after each, residual blocks with several
kernel sizes and dilations see patterns of several lengths, and their mean goes on (multi-receptive
field fusion):

    conv 7                                        h × frames
    per rate u: LReLU, transposed conv k, stride u     h/2, h/4, … × u times as long
                mean over kernel sizes of residual blocks
    LReLU, conv 7, tanh                           1 × samples

Layers are called as in the published checkpoints. Weight normalisation, which helps training, is
folded into the weights.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

_SLOPE = 0.1
"""Of the leaky rectifiers, but the last one, which has torch's 0.01."""

Small = Annotated[int, Field(ge=1, le=512)]
Sizes = Annotated[tuple[Small, ...], Field(min_length=1, max_length=16)]


class HiFiGANConfig(BaseModel):
    """What of a published ``config.json`` tells the generator and its spectra; keys about
    training are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    resblock: Literal["1", "2"]
    upsample_rates: Sizes
    upsample_kernel_sizes: Sizes
    upsample_initial_channel: Annotated[int, Field(ge=1, le=4096)]
    resblock_kernel_sizes: Sizes
    resblock_dilation_sizes: Annotated[tuple[Sizes, ...], Field(min_length=1, max_length=16)]
    num_mels: int
    n_fft: int
    hop_size: int
    win_size: int
    sampling_rate: int
    fmin: float = 0.0
    fmax: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> HiFiGANConfig:
        pairs = list(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=False))
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes) or any(
            kernel < rate or (kernel - rate) % 2 for rate, kernel in pairs
        ):
            raise ValueError(
                "upsample_kernel_sizes: needs one for each of upsample_rates, larger by an even"
                " number"
            )
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ValueError("resblock_dilation_sizes: needs one for each of resblock_kernel_sizes")
        if not all(size % 2 for size in self.resblock_kernel_sizes):
            raise ValueError("resblock_kernel_sizes: must be odd")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ValueError("upsample_initial_channel: must be halved by each of upsample_rates")
        if prod(self.upsample_rates) != self.hop_size:
            raise ValueError(
                f"hop_size: is {self.hop_size}, but upsample_rates multiply to"
                f" {prod(self.upsample_rates)}"
            )
        if self.win_size != self.n_fft:
            raise ValueError(f"win_size: is {self.win_size}, but must be n_fft ({self.n_fft})")
        return self

    @property
    def mel_settings(self) -> dict[str, Any]:
        """Of the spectra that it takes: the defaults of
        :class:`~cyclegan_media.speech.log_mel.LogMelConfig` are the published release's."""
        return {
            "sample_rate": self.sampling_rate,
            "n_fft": self.n_fft,
            "hop": self.hop_size,
            "bands": self.num_mels,
            "f_min": self.fmin,
            "f_max": self.fmax,
        }


class HiFiGANGenerator(nn.Module):
    """Maps log-mel spectra ``(batch, bands, frames)`` to waveforms ``(batch, frames · hop)``."""

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        self.kernels = len(config.resblock_kernel_sizes)
        block = ResidualBlock1 if config.resblock == "1" else ResidualBlock2
        channels = [
            config.upsample_initial_channel // 2**stage
            for stage in range(len(config.upsample_rates) + 1)
        ]
        self.conv_pre = nn.Conv1d(config.num_mels, channels[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, slim, kernel, stride=rate, padding=(kernel - rate) // 2)
            for (wide, slim), rate, kernel in zip(
                pairwise(channels), config.upsample_rates, config.upsample_kernel_sizes, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            block(width, kernel, dilations)
            for width in channels[1:]
            for kernel, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, 7, padding=3)

    def forward(self, log_mel: Tensor) -> Tensor:
        x = self.conv_pre(log_mel)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, _SLOPE))
            blocks = self.resblocks[stage * self.kernels : (stage + 1) * self.kernels]
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)
        return torch.tanh(self.conv_post(F.leaky_relu(x))).squeeze(1)


class ResidualBlock1(nn.Module):
    """Per dilation two convolutions, the second one not dilated (V1 and V2)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, _SLOPE)), _SLOPE))
        return x


class ResidualBlock2(nn.Module):
    """Per dilation one convolution (V3)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated in self.convs:
            x = x + dilated(F.leaky_relu(x, _SLOPE))
        return x


def _same(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding)
