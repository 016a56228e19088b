"""Adversarial losses: what a discriminator minimises and what its generator minimises.

A discriminator gives raw scores (no sigmoid): a tensor of any shape with the batch first, or a
list of them, one per scale. A loss is the mean over all scores of a scale, and the sum over the
scales (Wang 2018, "High-Resolution Image Synthesis", arXiv 1711.11585, eq. 3). Two conventions of
the CycleGAN release are kept: the discriminator's least-squares and cross-entropy losses are
halved, "which slows down the rate at which D learns relative to G" (Zhu 2017, section 7.1).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.together import together

Scores = Tensor | Sequence[Tensor]
Discriminator = Callable[[Tensor], Scores]


def scales(scores: Scores) -> Sequence[Tensor]:
    """The score tensor of each scale."""
    return [scores] if isinstance(scores, Tensor) else scores


class AdversarialLoss(ABC):
    """The two sides of one game. Losses are scalars."""

    def generator(self, score_fake: Scores) -> Tensor:
        """What the generator minimises, given the scores of its output."""
        return _sum(self._generator(fake) for fake in scales(score_fake))

    def discriminator(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises; ``fake`` must be detached from its generator."""
        score_real, score_fake = together(discriminator, (real,), (fake,))
        pairs = zip(scales(score_real), scales(score_fake), strict=True)
        return _sum(self._discriminator(*pair) for pair in pairs)

    def realness(self, scores: Tensor) -> Tensor:
        """The same scores in 0…1, 1 being what this game gives to real examples.

        Raises:
            ValueError: this game gives its scores no such scale.
        """
        raise ValueError("this adversarial loss gives its scores no scale from fake to real")

    @abstractmethod
    def _generator(self, score_fake: Tensor) -> Tensor: ...

    @abstractmethod
    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor: ...


class LeastSquares(AdversarialLoss):
    """LSGAN (Mao 2017, eq. 9 with a=0, b=c=1), the choice of CycleGAN."""

    def _generator(self, score_fake: Tensor) -> Tensor:
        return (score_fake - 1).square().mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return 0.5 * ((score_real - 1).square().mean() + score_fake.square().mean())

    def realness(self, scores: Tensor) -> Tensor:
        return scores.clamp(0, 1)


class CrossEntropy(AdversarialLoss):
    """The original game (Goodfellow 2014, eq. 1), with the non-saturating generator loss."""

    def _generator(self, score_fake: Tensor) -> Tensor:
        return F.softplus(-score_fake).mean()  # −log σ(s)

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return 0.5 * (F.softplus(-score_real).mean() + F.softplus(score_fake).mean())

    def realness(self, scores: Tensor) -> Tensor:
        return scores.sigmoid()


class Hinge(AdversarialLoss):
    """Hinge loss (Lim & Ye 2017; Miyato 2018, eqs. 16 and 17)."""

    def _generator(self, score_fake: Tensor) -> Tensor:
        return -score_fake.mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return F.relu(1 - score_real).mean() + F.relu(1 + score_fake).mean()

    def realness(self, scores: Tensor) -> Tensor:
        return ((scores + 1) / 2).clamp(0, 1)


class WassersteinGradientPenalty(AdversarialLoss):
    """WGAN-GP (Gulrajani 2017, eq. 3): ``E D(fake) − E D(real) + λ E(‖∇D(x̂)‖₂ − 1)²``.

    Args:
        penalty: λ, 10 in the paper.

    The points between real and fake are drawn from the global random state of torch, so a
    resumed run draws the same.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def _generator(self, score_fake: Tensor) -> Tensor:
        return -score_fake.mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return score_fake.mean() - score_real.mean()

    def discriminator(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        loss = super().discriminator(discriminator, real, fake)
        return loss + self.penalty * gradient_penalty(discriminator, real, fake)


def gradient_penalty(discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
    """``E (‖∇_x̂ D(x̂)‖₂ − 1)²`` at points x̂ drawn evenly between each real and fake example.

    Summed over the scales of D, each of which is to have slope 1.
    """
    shape = (real.shape[0],) + (1,) * (real.dim() - 1)
    mix = torch.rand(shape, device=real.device, dtype=real.dtype)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)

    def penalty(scores: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()

    return _sum(penalty(scores) for scores in scales(discriminator(between)))


def _sum(values: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, values)


ADVERSARIAL_LOSSES: dict[str, Callable[[], AdversarialLoss]] = {
    "lsgan": LeastSquares,
    "bce": CrossEntropy,
    "hinge": Hinge,
    "wgan-gp": WassersteinGradientPenalty,
}
"""The names that a recipe uses."""
