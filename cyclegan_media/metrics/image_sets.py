"""Distances between two unpaired *sets* of pictures, in the space of some features.

The two distances of the literature, on any features: those of the Inception network, for those who
have its weights (:func:`cyclegan_media.metrics.learned.inception_features`), and such as need no
weights (:func:`cyclegan_media.metrics.image_features.describe`). Figures on different features
cannot be compared with each other; those on Inception's are the FID and KID of papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import check_pictures

Extractor = Callable[[Tensor], Tensor]
"""Pictures ``(n, 3, height, width)`` in −1…1 → features ``(n, dimensions)``."""


class KernelDistance(NamedTuple):
    """An estimate, and how much it varies."""

    mean: float
    """Around 0 for two samples of one domain: it may be a little below."""
    deviation: float
    """Standard deviation over the subsets."""


@torch.no_grad()
def features_of(images: Tensor, extractor: Extractor, batch: int = 16) -> Tensor:
    """``(n, dimensions)``, double precision, on the CPU; ``batch`` pictures at a time.

    Raises:
        UserError: not pictures, or features of another shape or not finite.
    """
    check_pictures(images)
    parts = []
    for part in images.split(batch):
        found = extractor(part)
        if found.dim() != 2 or len(found) != len(part):
            raise UserError(
                f"features of {len(part)} pictures have the shape {tuple(found.shape)}; the"
                " extractor must give (pictures, dimensions)"
            )
        parts.append(found.double().cpu())
    features = torch.cat(parts)
    if not features.isfinite().all():
        raise UserError("features of pictures hold values that are not finite")
    return features


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to two sets ``(n, d)`` and ``(m, d)``; 0 for equal sets.

    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter: "GANs Trained by a Two Time-Scale Update
    Rule Converge to a Local Nash Equilibrium", 2017, eq. 6 (FID, where the features are
    Inception's):

        ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½)

    It is biased upwards for small sets, by an amount that depends on their sizes: compare only
    sets of equal sizes, and of more pictures than features. Else use :func:`kernel_distance`.

    Raises:
        UserError: different numbers of features, or fewer than 2 pictures.
    """
    a, b = _checked(features_a, features_b, least=2)
    off_a, off_b = a - a.mean(0), b - b.mean(0)
    # With Σ = Xᵀ X / (n − 1), the eigenvalues of Σ_a Σ_b are the squared singular values of
    # X_a X_bᵀ, scaled, and QR decompositions keep those while they shrink the matrix.
    small = torch.linalg.qr(off_a, mode="r").R @ torch.linalg.qr(off_b, mode="r").R.T
    cross = torch.linalg.svdvals(small).sum() / math.sqrt((len(a) - 1) * (len(b) - 1))
    between = (a.mean(0) - b.mean(0)).square().sum()
    distance = between + a.var(0).sum() + b.var(0).sum() - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(
    features_a: Tensor,
    features_b: Tensor,
    *,
    subset: int = 1000,
    subsets: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """Squared maximum mean discrepancy of two sets ``(n, d)`` and ``(m, d)``, without bias.

    Bińkowski, Sutherland, Arbel, Gretton: "Demystifying MMD GANs", 2018, section 4 (KID, where the
    features are Inception's), with its kernel ``k(x, y) = (x·y / d + 1)³`` and the unbiased
    estimator over random subsets. Unlike the Fréchet distance it is fair to small sets.

    Args:
        subset: pictures of each set in a subset; half the smaller set, where that is less.
        seed: of the subsets; equal seeds give equal results.

    Raises:
        UserError: different numbers of features, or fewer than 4 pictures.
    """
    a, b = _checked(features_a, features_b, least=4)
    size = min(subset, len(a) // 2, len(b) // 2)
    random = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        x, y = (part[torch.randperm(len(part), generator=random)[:size]] for part in (a, b))
        values.append(_unbiased_discrepancy(x, y))
    estimates = torch.stack(values)
    return KernelDistance(float(estimates.mean()), float(estimates.std()))


def _unbiased_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Of two sets of one size: a point is compared with all others, but not with itself."""
    count = len(x)
    within = _kernel(x, x) + _kernel(y, y)
    others = (within.sum() - within.diagonal().sum()) / (count * (count - 1))
    return others - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _checked(features_a: Tensor, features_b: Tensor, least: int) -> tuple[Tensor, Tensor]:
    for features in (features_a, features_b):
        if features.dim() != 2 or len(features) < least:
            raise UserError(
                f"features of shape {tuple(features.shape)}: need (pictures, dimensions) with at"
                f" least {least} pictures"
            )
    if features_a.shape[1] != features_b.shape[1]:
        raise UserError(
            f"{features_a.shape[1]} and {features_b.shape[1]} features of a picture cannot be"
            " compared; use one extractor for both sets"
        )
    return features_a.double(), features_b.double()
