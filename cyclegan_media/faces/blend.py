"""Which pixels of a crop are the face, and whose colours they take when it is put back."""

from __future__ import annotations

import torch
from torch import Tensor

from cyclegan_media.faces.placement import DEFAULT_MARGIN

_CENTRE = (0.0, 0.04)
_RADII = (0.52, 0.66)
"""Of the ellipse, in units of the face: from ear to ear, from the upper forehead below the chin."""
_SOFT = (0.75, 1.1)
"""Where the mask begins to fall from 1 and where it is 0, in radii."""
_EDGE = 0.06
"""Share of the crop's side over which the mask falls to 0 where the ellipse reaches its edge."""

# Luma and two colour differences, orthogonal up to scale, so that each can be scaled alone.
_OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
_MOST_CONTRAST = 2.0


def soft_mask(size: int, margin: float = DEFAULT_MARGIN) -> Tensor:
    """The face in an aligned crop: 1 in an ellipse, falling smoothly to 0, ``(size, size)``."""
    u = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    own = (u - 0.5) * (1 + 2 * margin)
    x, y = (own - _CENTRE[0]) / _RADII[0], (own - _CENTRE[1]) / _RADII[1]
    radius = torch.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
    ellipse = _smooth((_SOFT[1] - radius) / (_SOFT[1] - _SOFT[0]))
    to_edge = (torch.minimum(u, 1 - u) - 0.5 / size) / _EDGE
    return (ellipse * _smooth(to_edge)[None, :] * _smooth(to_edge)[:, None]).float()


def _smooth(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def match_colours(crop: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Give ``crop`` the mean and contrast that ``wanted`` has where the mask is.

    Reinhard 2001, "Color transfer between images": ``c' = (c − μ_c) σ_w / σ_c + μ_w``, each in a
    luma and two colour-difference channels. Contrast grows at most twofold.

    Args:
        crop, wanted: ``(3, size, size)``, −1…1.
        mask: ``(size, size)`` in 0…1, with some of it above 0.
    """
    to = _OPPONENT.to(crop)
    share = (mask / mask.sum()).flatten()
    got, goal = ((to @ picture.flatten(1)) for picture in (crop, wanted))
    got_mean, goal_mean = ((values @ share)[:, None] for values in (got, goal))
    got_spread, goal_spread = (
        torch.sqrt(((values - mean) ** 2) @ share)[:, None]
        for values, mean in ((got, got_mean), (goal, goal_mean))
    )
    contrast = (goal_spread / got_spread.clamp(min=1e-6)).clamp(max=_MOST_CONTRAST)
    matched = torch.linalg.solve(to, (got - got_mean) * contrast + goal_mean)
    return matched.reshape(crop.shape).clamp(-1, 1)


def sharpness(crop: Tensor, mask: Tensor) -> float:
    """Variance of the Laplacian of the luma (0…255) of the face, at 128 × 128 pixels.

    Pech-Pacheco 2000, "Diatom autofocusing in brightfield microscopy". At one fixed size it says
    how much a face shows, however many pixels the video spent on it.
    """
    small = _at_128(torch.cat([crop, mask[None]]))
    luma = (small[:3].mean(0) + 1) * 127.5
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    return float(laplacian[small[3, 1:-1, 1:-1] > 0.5].var())


def _at_128(layers: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(
        layers[None], (128, 128), mode="bicubic", antialias=True, align_corners=False
    )[0]
