"""The generators' objective: a sum of named terms, each with a weight and a schedule.

    L(G, F) = L_adv(G, D_B) + L_adv(F, D_A) + λ L_cyc(G, F) + λ_id L_identity(G, F)

(Zhu 2017, equations 1 to 3 and section 5.2.) A term is a small frozen dataclass; its fields are
the keys that a recipe may give. To add one, in one file:

    @register_term("my_term")
    @dataclass(frozen=True)
    class MyTerm:
        sharpness: float = 1.0
        needs: ClassVar[frozenset[str]] = frozenset()

        def __call__(self, t: Translation) -> dict[str, Tensor]:
            return {"my_term_a": ..., "my_term_b": ...}

The values it returns are not weighted; each is logged, weighted, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from cyclegan_media.core.cyclegan import Translation
from cyclegan_media.core.schedules import Weight


class Term(Protocol):
    """One summand; ``needs`` names what the data must give beside the two batches."""

    needs: ClassVar[frozenset[str]]

    def __call__(self, t: Translation) -> dict[str, Tensor]: ...


TERMS: dict[str, type[Any]] = {}
"""Every known term by the name that recipes use."""

T = TypeVar("T", bound=type[Any])


def register_term(name: str) -> Callable[[T], T]:
    """Class decorator: make a term known under ``name``."""

    def add(cls: T) -> T:
        if TERMS.setdefault(name, cls) is not cls:
            raise ValueError(f"two terms are registered as {name!r}: {TERMS[name]} and {cls}")
        return cls

    return add


@register_term("adversarial")
@dataclass(frozen=True)
class Adversarial:
    """``L_adv(G, D_B) + L_adv(F, D_A)`` (Zhu 2017, eq. 1), by default with least squares.

    Args:
        loss: ``lsgan``, ``bce``, ``hinge`` or ``wgan-gp``; the discriminators play the same game.
    """

    loss: str = "lsgan"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.loss not in ADVERSARIAL_LOSSES:
            known = ", ".join(ADVERSARIAL_LOSSES)
            raise ValueError(f"no adversarial loss is called {self.loss!r}; there are: {known}")

    @property
    def game(self) -> AdversarialLoss:
        return ADVERSARIAL_LOSSES[self.loss]()

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            "adversarial_a2b": self.game.generator(t.networks.discriminator_b(t.fake_b)),
            "adversarial_b2a": self.game.generator(t.networks.discriminator_a(t.fake_a)),
        }


@register_term("cycle")
@dataclass(frozen=True)
class Cycle:
    """``E‖F(G(a)) − a‖₁ + E‖G(F(b)) − b‖₁`` (Zhu 2017, eq. 2), as means over all elements."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            "cycle_a": F.l1_loss(t.cycle_a, t.real_a),
            "cycle_b": F.l1_loss(t.cycle_b, t.real_b),
        }


@register_term("identity")
@dataclass(frozen=True)
class Identity:
    """``E‖G(b) − b‖₁ + E‖F(a) − a‖₁`` (Zhu 2017, section 5.2; Kaneko & Kameoka 2017, eq. 4)."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            "identity_a2b": F.l1_loss(t.identity_b, t.real_b),
            "identity_b2a": F.l1_loss(t.identity_a, t.real_a),
        }


class Objective:
    """The weighted sum that the generators minimise, and the game that the discriminators play.

    Args:
        terms: by name, each with its weight. ``adversarial`` must be among them, since it says
            which game the discriminators play.
    """

    def __init__(self, terms: Mapping[str, tuple[Term, Weight]]) -> None:
        adversarial = terms.get("adversarial")
        if adversarial is None or not isinstance(adversarial[0], Adversarial):
            raise ValueError("an objective needs the term 'adversarial'")
        self.terms = dict(terms)
        self.game = adversarial[0].game

    @property
    def needs(self) -> dict[str, frozenset[str]]:
        """What each term needs from the data beside the two batches."""
        return {name: term.needs for name, (term, _) in self.terms.items()}

    def generators(self, translation: Translation, step: int) -> dict[str, Tensor]:
        """Every weighted summand at ``step``, by name; their sum is what the generators minimise.

        A term whose weight is 0 at this step is not computed.
        """
        summands: dict[str, Tensor] = {}
        for term, weight in self.terms.values():
            at = weight(step)
            if at != 0:
                summands.update({name: at * value for name, value in term(translation).items()})
        return summands
