"""Adversarial losses: what a discriminator minimises and what its generator minimises.

A discriminator gives raw scores (no sigmoid), of any shape with the batch first; every loss is
the mean over all of them. Two conventions of the CycleGAN release are kept: the discriminator's
least-squares and cross-entropy losses are halved, "which slows down the rate at which D learns
relative to G" (Zhu 2017, section 7.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Discriminator = Callable[[Tensor], Tensor]


class AdversarialLoss(ABC):
    """The two sides of one game. All methods return a scalar."""

    @abstractmethod
    def generator(self, score_fake: Tensor) -> Tensor:
        """What the generator minimises, given the scores of its output."""

    @abstractmethod
    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        """What the discriminator minimises, given both scores."""

    def discriminator(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises; ``fake`` must be detached from its generator."""
        return self._discriminator(discriminator(real), discriminator(fake))


class LeastSquares(AdversarialLoss):
    """LSGAN (Mao 2017, eq. 9 with a=0, b=c=1), the choice of CycleGAN."""

    def generator(self, score_fake: Tensor) -> Tensor:
        return (score_fake - 1).square().mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return 0.5 * ((score_real - 1).square().mean() + score_fake.square().mean())


class CrossEntropy(AdversarialLoss):
    """The original game (Goodfellow 2014, eq. 1), with the non-saturating generator loss."""

    def generator(self, score_fake: Tensor) -> Tensor:
        return F.softplus(-score_fake).mean()  # −log σ(s)

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return 0.5 * (F.softplus(-score_real).mean() + F.softplus(score_fake).mean())


class Hinge(AdversarialLoss):
    """Hinge loss (Lim & Ye 2017; Miyato 2018, eqs. 16 and 17)."""

    def generator(self, score_fake: Tensor) -> Tensor:
        return -score_fake.mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return F.relu(1 - score_real).mean() + F.relu(1 + score_fake).mean()


class WassersteinGradientPenalty(AdversarialLoss):
    """WGAN-GP (Gulrajani 2017, eq. 3): ``E D(fake) − E D(real) + λ E(‖∇D(x̂)‖₂ − 1)²``.

    Args:
        penalty: λ, 10 in the paper.

    The points between real and fake are drawn from the global random state of torch, so a
    resumed run draws the same.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def generator(self, score_fake: Tensor) -> Tensor:
        return -score_fake.mean()

    def _discriminator(self, score_real: Tensor, score_fake: Tensor) -> Tensor:
        return score_fake.mean() - score_real.mean()

    def discriminator(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        loss = super().discriminator(discriminator, real, fake)
        return loss + self.penalty * gradient_penalty(discriminator, real, fake)


def gradient_penalty(discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
    """``E (‖∇_x̂ D(x̂)‖₂ − 1)²`` at points x̂ drawn evenly between each real and fake example."""
    shape = (real.shape[0],) + (1,) * (real.dim() - 1)
    mix = torch.rand(shape, device=real.device, dtype=real.dtype)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    scores = discriminator(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


ADVERSARIAL_LOSSES: dict[str, Callable[[], AdversarialLoss]] = {
    "lsgan": LeastSquares,
    "bce": CrossEntropy,
    "hinge": Hinge,
    "wgan-gp": WassersteinGradientPenalty,
}
"""The names that a recipe uses."""
