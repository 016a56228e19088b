"""How close pictures are to the truth, and how close two unpaired sets of pictures are.

All functions take ``(n, 3, height, width)`` float tensors in −1…1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from cyclegan_media.errors import UserError

PATCH = 7
"""Side of a descriptor's patch in pixels (Karras 2018, section 5)."""
COARSEST = 16
"""Shorter side of the smallest pyramid level in pixels (Karras 2018, section 5)."""


def psnr(images: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, the mean over the pictures; higher is closer.

    ``10 log₁₀(peak² / mean squared error)`` with the peak of the range −1…1, which is 2. A
    picture equal to its truth has no error to speak of and counts as 100 dB, so that one perfect
    picture does not make the mean infinite.

    Raises:
        UserError: the shapes differ, or are not those of pictures.
    """
    check_pair(images, truth)
    each = [
        float(peak_signal_noise_ratio(one, other, data_range=(-1.0, 1.0)))
        for one, other in zip(images.float(), truth.float(), strict=True)
    ]
    return sum(min(value, 100.0) for value in each) / len(each)


def ssim(images: Tensor, truth: Tensor) -> float:
    """Structural similarity, −1…1, the mean over the pictures; 1 is equal.

    Wang, Bovik, Sheikh, Simoncelli: "Image Quality Assessment: From Error Visibility to
    Structural Similarity", 2004, eq. 13, with the paper's Gaussian window (11 × 11, σ = 1.5),
    on the three colour channels. Computed on 0…1: its luminance term (eq. 6) compares means and
    has no meaning where they are negative.

    Raises:
        UserError: the shapes differ, or a side is below the window's 11 pixels.
    """
    check_pair(images, truth)
    if min(images.shape[-2:]) < 11:
        raise UserError(
            f"pictures of {images.shape[-2]}×{images.shape[-1]} pixels: SSIM needs at least 11×11"
        )
    # In double precision: variances are differences, which single precision blurs in flat areas.
    images, truth = ((x.double().clamp(-1, 1) + 1) / 2 for x in (images, truth))
    value = structural_similarity_index_measure(images, truth, data_range=1.0)
    assert isinstance(value, Tensor)  # the other form is returned only on request
    return float(value)


def sliced_wasserstein(images_a: Tensor, images_b: Tensor, seed: int = 0) -> float:
    """Distance between two unpaired *sets* of pictures, without weights of any network.

    The mean over the levels of :func:`sliced_wasserstein_levels`, which see. 0 for equal sets and
    above it for two samples of one domain (the noise of sampling), so compare it with that.
    """
    levels = sliced_wasserstein_levels(images_a, images_b, seed)
    return sum(levels.values()) / len(levels)


def sliced_wasserstein_levels(
    images_a: Tensor,
    images_b: Tensor,
    seed: int = 0,
    *,
    patches: int = 128,
    directions: int = 512,
) -> dict[int, float]:
    """Sliced Wasserstein distance over Laplacian-pyramid patches, by level.

    Karras, Aila, Laine, Lehtinen: "Progressive Growing of GANs for Improved Quality, Stability,
    and Variation", 2018, section 5: from each level of a Laplacian pyramid, random patches of
    7 × 7 pixels, normalised by the mean and standard deviation of each colour channel; then the
    Wasserstein-1 distance between the two clouds of patches along random directions, averaged.
    Small means that the two sets look alike at that scale.

    One thing differs on purpose: the paper normalises each set by itself, which hides a tint of
    a whole set. A domain is as much its colours as its structure, so here both sets are
    normalised by the moments of the two together.

    Args:
        images_a, images_b: ``(n, 3, height, width)`` and ``(m, 3, height, width)``.
        seed: of patches and directions; equal seeds give equal results. Both sets are looked at
            in the same places, which makes the distance symmetric, and 0 for equal sets.
        patches: how many per picture of the smaller set and level (the paper has 128).
        directions: how many in all (the paper has 4 × 128).

    Returns:
        The distance by the level's shorter side in pixels: ``{64: …, 32: …, 16: …}``.

    Raises:
        UserError: not pictures, an empty set, different sizes, or a side below 16 pixels.
    """
    for images in (images_a, images_b):
        check_pictures(images)
    if images_a.shape[2:] != images_b.shape[2:]:
        raise UserError(
            f"pictures of {_size(images_a)} and of {_size(images_b)} pixels cannot be compared; "
            "bring both sets to one size"
        )
    if min(images_a.shape[2:]) < COARSEST:
        raise UserError(
            f"pictures of {_size(images_a)} pixels: the smallest pyramid level needs "
            f"{COARSEST}×{COARSEST}"
        )
    device = images_a.device
    images_b = images_b.to(device)
    random = torch.Generator().manual_seed(seed)
    count = patches * min(len(images_a), len(images_b))
    result = {}
    for level_a, level_b in zip(_laplacian(images_a), _laplacian(images_b), strict=True):
        places = torch.rand(3, count, generator=random).to(device)
        cloud_a, cloud_b = _patches(level_a, places), _patches(level_b, places)
        cloud_a, cloud_b = _normalise(cloud_a, cloud_b)
        axes = torch.randn(3 * PATCH * PATCH, directions, generator=random).to(device)
        axes = axes / axes.norm(dim=0)
        total = 0.0
        for part in axes.split(64, dim=1):  # a large set times all directions would not fit
            shadow_a, shadow_b = (cloud_a @ part).sort(0).values, (cloud_b @ part).sort(0).values
            total += float((shadow_a - shadow_b).abs().mean(0).sum())
        result[min(level_a.shape[2:])] = total / directions
    return result


def _laplacian(images: Tensor) -> list[Tensor]:
    """Band-pass levels from fine to coarse; the last is the low-pass rest (Burt & Adelson 1983)."""
    depth = 0
    while min(images.shape[2:]) >> (depth + 1) >= COARSEST:
        depth += 1
    height, width = (side >> depth << depth for side in images.shape[2:])
    top, left = ((images.shape[2] - height) // 2, (images.shape[3] - width) // 2)
    current = images[:, :, top : top + height, left : left + width].float()
    levels = []
    for _ in range(depth):
        smaller = blur(current)[:, :, ::2, ::2]
        spread = torch.zeros_like(current)
        spread[:, :, ::2, ::2] = 4 * smaller
        levels.append(current - blur(spread))
        current = smaller
    return [*levels, current]


def blur(planes: Tensor) -> Tensor:
    """``(n, channels, height, width)`` under the binomial 5 × 5 filter of Burt & Adelson 1983."""
    taps = planes.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    channels = planes.shape[1]
    kernel = (taps[:, None] * taps[None, :]).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(planes, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _patches(level: Tensor, places: Tensor) -> Tensor:
    """Patches ``(count, 3, 7, 7)`` at ``places`` (3, count): picture, row, column as 0…1."""
    n, _, height, width = level.shape
    last = level.new_tensor([n, height - PATCH + 1, width - PATCH + 1])[:, None]
    which, row, column = (places * last).long().minimum(last.long() - 1)
    inside = torch.arange(PATCH, device=level.device)
    rows = (row[:, None] + inside)[:, None, :, None]
    columns = (column[:, None] + inside)[:, None, None, :]
    channels = torch.arange(3, device=level.device)[None, :, None, None]
    return level[which[:, None, None, None], channels, rows, columns]


def _normalise(cloud_a: Tensor, cloud_b: Tensor) -> tuple[Tensor, Tensor]:
    """Both to mean 0 and deviation 1 per channel of the two together, as ``(count, 147)``."""
    both = torch.cat([cloud_a, cloud_b])
    mean = both.mean((0, 2, 3), keepdim=True)
    deviation = both.std((0, 2, 3), keepdim=True).clamp_min(1e-3)  # flat pictures have none
    a, b = ((cloud - mean) / deviation for cloud in (cloud_a, cloud_b))
    return a.flatten(1), b.flatten(1)


def check_pictures(images: Tensor) -> None:
    """Raise ``UserError`` unless ``images`` has the shape (n, 3, height, width) with n > 0."""
    if images.dim() != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(
            f"a tensor of shape {tuple(images.shape)} is no set of pictures (n, 3, height, width)"
        )


def check_pair(images: Tensor, truth: Tensor) -> None:
    """Raise ``UserError`` unless both are pictures, of one shape."""
    check_pictures(images)
    if images.shape != truth.shape:
        raise UserError(
            f"pictures of shape {tuple(images.shape)} and truth of shape {tuple(truth.shape)} "
            "cannot be compared; both need the same number and size"
        )


def _size(images: Tensor) -> str:
    return f"{images.shape[2]}×{images.shape[3]}"
