"""Features of pictures that need no weights: colours, and textures by a scattering network.

What they see: the distribution of colours; how much there is of each scale and orientation, per
colour axis; and how each scale's detail is arranged by the coarser ones (edges, strokes, noise).
What they do not see: *what* is shown and where. A picture with its parts swapped has nearly the
same features; so has one of another scene in the same light and style. They tell whether a
translation has the target's look, not whether it shows the source's content or a believable zebra.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import blur, check_pictures

LEVELS = 4
"""Octaves, from the pixels up."""
ORIENTATIONS = 4
SMALLEST = 32
"""Least side in pixels."""

_SIDE = 7
_WIDTH = 0.8
"""σ of the wavelet's envelope in pixels, and its centre frequency in radians a pixel: those of
Bruna & Mallat, section 2.1."""
_FREQUENCY = 3 * math.pi / 4
_FLOOR = 0.004
"""Amplitude below which detail is lost in the rounding to 8 bits, on the range −1…1."""
_BOUND = 3.0
"""Where a feature saturates, in natural logarithms of amplitude: a factor of 20."""
_SPREAD = (0.45, 0.12, 0.08)
"""Standard deviations of lightness, red–green and blue–yellow in photographs, roughly."""


def describe(images: Tensor) -> Tensor:
    """Features ``(n, 153)`` of pictures ``(n, 3, height, width)`` in −1…1, float32.

    Bruna, Mallat: "Invariant Scattering Convolution Networks", 2013: wavelets, modulus, mean over
    the picture, and once more wavelets of the modulus; no weight is learned. Computed on a
    Gaussian pyramid (Burt & Adelson 1983), on lightness and two opponent colour axes:

    - colours (9): mean, log-deviation and correlations of the three axes;
    - first order (48): ``log mean |x ⋆ ψ_jθ|`` per axis, octave *j* and orientation *θ*;
    - second order (96), on lightness: ``log mean ||x ⋆ ψ_jθ| ⋆ ψ_j'θ'| / mean |x ⋆ ψ_jθ|``, j' > j.

    0 is what noise with the spectrum and deviations of photographs (amplitude 1/f) gives. Extremes
    saturate, and the three groups are scaled to weigh alike in a distance. Scales are in *pixels*:
    compare sets of one size.

    Raises:
        UserError: not pictures, or a side below 32 pixels.
    """
    check_pictures(images)
    if min(images.shape[2:]) < SMALLEST:
        raise UserError(
            f"pictures of {images.shape[2]}×{images.shape[3]} pixels: their features need at least"
            f" {SMALLEST}×{SMALLEST}"
        )
    colours, first, second = _scatter(_opponent(images.float()))
    _, first_noise, second_noise = (part.to(images.device) for part in _noise())
    groups = (colours, first - first_noise, second - second_noise)
    total = sum(group.shape[1] for group in groups)
    return torch.cat(
        [_bounded(g) * math.sqrt(total / (len(groups) * g.shape[1])) for g in groups], dim=1
    )


def _bounded(values: Tensor) -> Tensor:
    """Within ±1.5, so that a few flat skies do not outweigh all other pictures of a set."""
    return _BOUND / 2 * (values / _BOUND).tanh()


def _opponent(images: Tensor) -> Tensor:
    """Lightness, red–green and blue–yellow, each an orthonormal axis of RGB over √3."""
    axes = images.new_tensor(
        [
            [1 / 3, 1 / 3, 1 / 3],
            [1 / math.sqrt(6), -1 / math.sqrt(6), 0],
            [math.sqrt(2) / 6, math.sqrt(2) / 6, -math.sqrt(2) / 3],
        ]
    )
    return torch.einsum("ac,nchw->nahw", axes, images)


def _scatter(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colours, first and second order of opponent pictures ``(n, 3, height, width)``."""
    first, second = [], []
    level = x
    for octave in range(LEVELS):
        modulus = _modulus(level)  # (n, 3, orientations, height, width)
        first.append(modulus.mean((-2, -1)).flatten(1))
        coarser = modulus[:, 0]
        for _ in range(octave + 1, LEVELS):
            coarser = _halve(coarser)
            arranged = _modulus(coarser).mean((-2, -1))  # (n, orientations, orientations)
            second.append(
                (_log(arranged) - _log(modulus[:, 0].mean((-2, -1)))[..., None]).flatten(1)
            )
        level = _halve(level)
    return _colours(x), _log(torch.cat(first, dim=1)), torch.cat(second, dim=1)


def _colours(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    mean = flat.mean(2)
    spread = flat.new_tensor(_SPREAD)
    off = flat - mean[..., None]
    deviation = off.square().mean(2).sqrt()
    products = torch.einsum("nap,nbp->nab", off, off) / flat.shape[2]
    scale = deviation + _FLOOR
    correlation = products / (scale[:, :, None] * scale[:, None, :])
    pairs = torch.triu_indices(3, 3, offset=1)
    return torch.cat(
        [mean / spread, _log(deviation) - _log(spread), correlation[:, pairs[0], pairs[1]]], dim=1
    )


def _log(amplitude: Tensor) -> Tensor:
    return (amplitude + _FLOOR).log()


def _modulus(x: Tensor) -> Tensor:
    """``|x ⋆ ψ_θ|`` of each channel: ``(n, channels, orientations, height, width)``."""
    n, channels, height, width = x.shape
    pad = _SIDE // 2
    planes = F.pad(x.reshape(-1, 1, height, width), (pad,) * 4, mode="reflect")
    response = F.conv2d(planes, _wavelets().to(x))
    real, imaginary = response.split(ORIENTATIONS, dim=1)
    # Not torch.hypot: several times slower on a CPU.
    size = (real.square() + imaginary.square()).sqrt()
    return size.reshape(n, channels, ORIENTATIONS, height, width)


def _halve(x: Tensor) -> Tensor:
    return blur(x)[:, :, ::2, ::2]


@lru_cache(maxsize=1)
def _wavelets() -> Tensor:
    """Morlet wavelets ``(2 orientations, 1, 7, 7)``: real parts, then imaginary ones.

    A wave under a Gaussian envelope, less what makes its mean 0; each of sum of moduli 1.
    """
    offset = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    rows, columns = torch.meshgrid(offset, offset, indexing="ij")
    wavelets = []
    for k in range(ORIENTATIONS):
        angle = k * math.pi / ORIENTATIONS
        along = columns * math.cos(angle) + rows * math.sin(angle)
        across = rows * math.cos(angle) - columns * math.sin(angle)
        # Longer across than along the wave, so that four orientations are told apart.
        envelope = torch.exp(-(along**2 + (across / 2) ** 2) / (2 * _WIDTH**2))
        wave = torch.polar(envelope, _FREQUENCY * along)
        wave = wave - envelope * (wave.sum() / envelope.sum())
        wavelets.append(wave / wave.abs().sum())
    stacked = torch.stack(wavelets)
    return torch.cat([stacked.real, stacked.imag])[:, None].float()


@lru_cache(maxsize=1)
def _noise() -> tuple[Tensor, Tensor, Tensor]:
    """What noise of amplitude 1/f and the deviations of photographs scatters to, ``(1, …)``."""
    side, count = 256, 4
    random = torch.Generator().manual_seed(0)
    white = torch.randn(count, 3, side, side, generator=random)
    down, right = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    radius = (down.square() + right.square()).sqrt().clamp_min(1 / side)
    pink = torch.fft.irfft2(torch.fft.rfft2(white) / radius, s=(side, side))
    pink = pink / pink.std((2, 3), keepdim=True) * pink.new_tensor(_SPREAD)[:, None, None]
    colours, first, second = _scatter(pink)
    return colours.mean(0, keepdim=True), first.mean(0, keepdim=True), second.mean(0, keepdim=True)
