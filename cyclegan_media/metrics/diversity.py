"""How different a many-to-many model's translations of one input are, and what they still tell.

Diversity is the mean pairwise distance between several translations of one input, averaged over
inputs, as Zhu, Zhang, Pathak, Darrell, Efros, Wang, Shechtman 2017 report it ("Toward Multimodal
Image-to-Image Translation", arXiv 1711.11586, section 5) by a learned distance. Here the distance
is 1 − SSIM, which needs no weights, and LPIPS beside it for those who have them.

Noise is diverse, too. So each translation is translated back with the code that an encoder finds,
which must give the input again (Almahairi 2018, "Augmented CycleGAN", arXiv 1802.10151, section
3): ``a' = G_BA(b~, E_A(a, b~))`` with ``b~ = G_AB(a, z_b)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import check_pictures, psnr, ssim

if TYPE_CHECKING:
    from cyclegan_media.metrics.learned import Distance


@dataclass(frozen=True)
class ManyToManyScores:
    """What several translations of one input are worth, or their means over inputs."""

    diversity: float
    """Mean 1 − SSIM over pairs of translations; 0 where all are equal."""
    lpips: float | None
    """Mean LPIPS over the same pairs, where a distance was given."""
    psnr: float
    """dB, of the input found again from each translation; higher is closer."""
    ssim: float
    """Of the same, −1…1."""


def diversity(samples: Tensor, distance: Distance | None = None) -> float:
    """How different several translations of *one* input are: the mean distance over all pairs.

    0 where all are equal (a model that ignores its latent); by 1 − SSIM up to about 1.

    Args:
        samples: ``(k, 3, height, width)`` in −1…1.
        distance: ``None`` for 1 − SSIM, see :func:`.image.ssim`; or for instance
            :func:`.learned.lpips`.

    Raises:
        UserError: fewer than two samples, or see :func:`.image.ssim`.
    """
    check_pictures(samples)
    if len(samples) < 2:
        raise UserError("diversity: needs at least two samples of one input")
    total = 0.0
    for one, other in combinations(samples.split(1), 2):
        if not torch.equal(one, other):  # no distance is 0 to the last bit where they are
            total += 1 - ssim(one, other) if distance is None else distance(one, other)
    return total / math.comb(len(samples), 2)


def score_samples(
    picture: Tensor, samples: Tensor, found_again: Tensor, lpips: Distance | None = None
) -> ManyToManyScores:
    """Score several translations of one input.

    Args:
        picture: the input a, ``(3, height, width)`` in −1…1.
        samples: its translations b~, ``(k, 3, height, width)``.
        found_again: what each of them is translated back to, a', shaped likewise.

    Raises:
        UserError: fewer than two samples, or shapes that do not fit.
    """
    truth = picture.expand(len(samples), *picture.shape)
    return ManyToManyScores(
        diversity=diversity(samples),
        lpips=None if lpips is None else diversity(samples, lpips),
        psnr=psnr(found_again, truth),
        ssim=ssim(found_again, truth),
    )


def mean_scores(scores: Sequence[ManyToManyScores]) -> ManyToManyScores:
    """The mean over inputs.

    Raises:
        UserError: there are none.
    """
    if not scores:
        raise UserError("diversity: there is no input to average over")

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    learned = [one.lpips for one in scores if one.lpips is not None]
    return ManyToManyScores(
        diversity=mean([one.diversity for one in scores]),
        lpips=mean(learned) if learned else None,
        psnr=mean([one.psnr for one in scores]),
        ssim=mean([one.ssim for one in scores]),
    )
