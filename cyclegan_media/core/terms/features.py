"""Terms that compare what the discriminators see instead of, or beside, the examples' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.adversarial import ADVERSARIAL_LOSSES
from cyclegan_media.core.objective import Term, register_term
from cyclegan_media.core.schedules import Weight
from cyclegan_media.core.translation import Batch, Part, Roster, Translation


class _SeenByDiscriminators(Term):
    reads = frozenset({"cycle_a", "cycle_b"})

    def roster(self, method: type[Batch]) -> Roster:
        return {"discriminator_a": Part("discriminator"), "discriminator_b": Part("discriminator")}


@register_term("feature_cycle")
@dataclass(frozen=True)
class FeatureCycle(_SeenByDiscriminators):
    """``E q [γ ‖f_D(x̂) − f_D(x)‖₁ + (1 − γ) ‖x̂ − x‖₁]`` with x̂ the cycled x, in both domains.

    Wang & Lin 2018, "CycleGAN with Better Cycles", arXiv 2408.15374, section 4. f_D is the last
    layer before the scores of the domain's discriminator D; norms are means over elements, and
    over D's scales. The third of their changes, the decay of the cycle's weight, is the term's
    weight.

    Args:
        gamma: γ in 0…1, by step; the paper raises it linearly to nearly 1. 0 is the plain cycle.
        quality: what q, one number per example, measures. ``none``: q = 1. ``real``: D(x), the
            paper's equation. ``generated``: D of the translation that the cycle goes through,
            D_B(G(a)) for a, as the paper's text has it: what is not yet a likely example of
            the other domain need not be translated back well. No gradient flows through q.
        loss: the adversarial loss of the discriminators, which gives their scores a scale from
            0, fake, to 1, real.
    """

    gamma: Weight = Weight(0.0)  # noqa: RUF009 - frozen
    quality: Literal["none", "real", "generated"] = "none"
    loss: str = "lsgan"

    def __post_init__(self) -> None:
        ends = [
            self.gamma.value,
            self.gamma.value if self.gamma.final is None else self.gamma.final,
        ]
        if not all(0 <= end <= 1 for end in ends):
            raise ValueError("'gamma' must stay in 0…1")
        if self.loss not in ADVERSARIAL_LOSSES:
            known = ", ".join(ADVERSARIAL_LOSSES)
            raise ValueError(f"no adversarial loss is called {self.loss!r}; there are: {known}")
        if self.quality != "none":
            ADVERSARIAL_LOSSES[self.loss]().realness(torch.zeros(1))  # refuses scores without scale

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {f"feature_cycle_{domain}": self._cycle(t, domain) for domain in ("a", "b")}

    def _cycle(self, t: Translation, domain: str) -> Tensor:
        gamma = self.gamma(t.step)
        distance = (1 - gamma) * _l1(t.of("cycle", domain), t.of("real", domain))
        if gamma > 0:
            got = t.features(f"discriminator_{domain}", f"cycle_{domain}")
            wanted = t.features(f"discriminator_{domain}", f"real_{domain}")
            seen = [
                _l1(ours[-2], theirs[-2].detach()) for ours, theirs in zip(got, wanted, strict=True)
            ]
            distance = distance + gamma * torch.stack(seen).mean(0)
        return (self._quality(t, domain) * distance).mean()

    def _quality(self, t: Translation, domain: str) -> Tensor:
        """``(batch,)`` in 0…1"""
        if self.quality == "none":
            return torch.ones(len(t.real_a), device=t.real_a.device)
        if self.quality == "real":
            seen = t.features(f"discriminator_{domain}", f"real_{domain}")
        else:
            other = "b" if domain == "a" else "a"
            seen = t.features(f"discriminator_{other}", f"fake_{other}")
        rules = ADVERSARIAL_LOSSES[self.loss]()
        scores = [rules.realness(scale[-1].detach()).flatten(1).mean(1) for scale in seen]
        return torch.stack(scores).mean(0)


def _l1(got: Tensor, wanted: Tensor) -> Tensor:
    """The mean of each example, ``(batch,)``."""
    return (got - wanted).abs().flatten(1).mean(1)


@register_term("feature_matching")
@dataclass(frozen=True)
class FeatureMatching(_SeenByDiscriminators):
    """``Σ_k Σ_i 1/N_i ‖D_k^i(x) − D_k^i(x̂)‖₁`` over scales k and layers i, in both domains.

    Wang 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    arXiv 1711.11585, eq. 4. Without pairs, x̂ is the cycled x. As in the release, the scores
    themselves are no layer; the release divides by the number of scales, here the weight does.
    """

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {f"feature_matching_{domain}": self._match(t, domain) for domain in ("a", "b")}

    def _match(self, t: Translation, domain: str) -> Tensor:
        got = t.features(f"discriminator_{domain}", f"cycle_{domain}")
        wanted = t.features(f"discriminator_{domain}", f"real_{domain}")
        layers = [
            F.l1_loss(ours, theirs.detach())
            for scale, wanted_scale in zip(got, wanted, strict=True)
            for ours, theirs in zip(scale[:-1], wanted_scale[:-1], strict=True)
        ]
        return torch.stack(layers).sum()
