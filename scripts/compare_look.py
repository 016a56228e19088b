"""The look that `compare_methods.py` gives to photographs: a known right answer to learn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CURVES = ((0.06, 0.90, 1.10), (0.05, 0.62, 1.30), (0.10, 0.42, 1.50))
"""For red, green and blue: black point, white point, gamma. Warm and of little contrast."""
_MUTING = 0.25
"""How far colours go towards grey."""
_WEAVE = 0.03
"""Amplitude of the canvas on 0…1."""
_INK = 0.6
"""Share of the light that the strongest edges lose."""


def painted(pictures: Tensor) -> Tensor:
    """The look: brush, muted warm tones, ink along the edges, and canvas.

    A function of each picture alone, ``(n, 3, height, width)`` in −1…1 to the same. Brush: of the
    four 3 × 3 neighbourhoods with a corner at a pixel, the mean of the calmest (Kuwahara 1976).
    Ink: where lightness changes fast. Canvas: a weave of period 4, fixed to the picture's corner.
    """
    x = _brush((pictures + 1) / 2)
    grey = x.mean(1, keepdim=True)
    ink = _edges(grey)
    x = x + _MUTING * (grey - x)
    toned = torch.stack(
        [
            black + (white - black) * x[:, channel].clamp(0, 1) ** gamma
            for channel, (black, white, gamma) in enumerate(_CURVES)
        ],
        dim=1,
    )
    inked = toned * (1 - _INK * ink)
    return (inked + _WEAVE * _weave(x)).clamp(0, 1) * 2 - 1


def _brush(x: Tensor) -> Tensor:
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    means = F.avg_pool2d(padded, 3, stride=1)
    grey = padded.mean(1, keepdim=True)
    unrest = F.avg_pool2d(grey**2, 3, stride=1) - F.avg_pool2d(grey, 3, stride=1) ** 2
    height, width = x.shape[2:]
    corners = [(top, left) for top in (0, 2) for left in (0, 2)]

    def quarters(of: Tensor) -> Tensor:
        cut = [of[:, :, top : top + height, left : left + width] for top, left in corners]
        return torch.stack(cut)

    calmest = quarters(unrest).argmin(0, keepdim=True).expand(1, *x.shape)
    return quarters(means).gather(0, calmest)[0]


def _edges(grey: Tensor) -> Tensor:
    """0…1 by the steepness of lightness: from 0.04 to 0.16 a pixel."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    steep = (across**2 + down**2).sqrt()
    return ((steep - 0.04) / 0.12).clamp(0, 1)


def _weave(like: Tensor) -> Tensor:
    """``(height, width)``, ±1: threads over and under, symmetric when mirrored."""
    down, across = (
        torch.cos(torch.pi * (torch.arange(side, device=like.device) + 0.5) / 2) * 2**0.5
        for side in like.shape[2:]
    )
    return down[:, None] * across[None, :]
