"""The generators' objective, a sum of named terms, and the games that the discriminators play.

    L(G, F) = L_adv(G, D_B) + L_adv(F, D_A) + λ L_cyc(G, F) + λ_id L_identity(G, F)

(Zhu 2017, equations 1 to 3 and section 5.2.) A term is a small frozen dataclass; its fields are
the keys that a recipe may give. To add one, in one file:

    @register_term("my_term")
    @dataclass(frozen=True)
    class MyTerm(Term):
        sharpness: float = 1.0
        reads = frozenset({"cycle_a", "cycle_b"})

        def __call__(self, t: Translation) -> dict[str, Tensor]:
            return {"my_term_a": ..., "my_term_b": ...}

The values it returns are not weighted; each is logged, weighted, under its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import Tensor

from cyclegan_media.core.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from cyclegan_media.core.history import Histories
from cyclegan_media.core.schedules import Weight
from cyclegan_media.core.translation import Batch, Roster, Translation


class Game(NamedTuple):
    """What one discriminator is to tell apart. Each game has a discriminator of its own."""

    discriminator: str
    """Its name in :class:`CycleGAN`; the discriminator's loss is logged under it, too."""
    real: Tensor
    fake: Tensor


class Term(ABC):
    """One summand of the objective."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the data must give beside the two batches (``mask``: the extras mask_a, mask_b)."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """What the method must compute, by the names of its attributes."""

    def roster(self, method: type[Batch]) -> Roster:
        """The networks that the term needs beside those of ``method``."""
        return {}

    @abstractmethod
    def __call__(self, t: Any) -> dict[str, Tensor]:
        """The summands for the translation ``t``, scalars by name."""


@dataclass(frozen=True)
class AdversarialTerm(Term):
    """A term that is the generators' side of games; the discriminators play the other side.

    Args:
        loss: ``lsgan``, ``bce``, ``hinge`` or ``wgan-gp``.
    """

    loss: str = "lsgan"

    def __post_init__(self) -> None:
        if self.loss not in ADVERSARIAL_LOSSES:
            known = ", ".join(ADVERSARIAL_LOSSES)
            raise ValueError(f"no adversarial loss is called {self.loss!r}; there are: {known}")

    @property
    def rules(self) -> AdversarialLoss:
        return ADVERSARIAL_LOSSES[self.loss]()

    @abstractmethod
    def games(self, t: Any) -> dict[str, Game]:
        """The games on the translation ``t``, by the name of the generators' summand."""

    def __call__(self, t: Any) -> dict[str, Tensor]:
        return {
            name: self.rules.generator(t.networks[game.discriminator](game.fake))
            for name, game in self.games(t).items()
        }


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


def lacks(method: type[Batch], term: Term) -> list[str]:
    """What ``term`` reads and ``method`` does not compute."""
    return sorted(what for what in term.reads if not hasattr(method, what))


class Objective:
    """The weighted sum that the generators minimise, and the games of the discriminators.

    Args:
        terms: by name, each with its weight. One of them must bring games, or nothing would
            pull the generated examples towards the other domain.
        method: how the batches are translated.

    Raises:
        ValueError: no term brings games, or a term reads what the method does not compute.
    """

    def __init__(
        self, terms: Mapping[str, tuple[Term, Weight]], method: type[Batch] = Translation
    ) -> None:
        self.terms = dict(terms)
        self.method = method
        if not any(isinstance(term, AdversarialTerm) for term, _ in self.terms.values()):
            raise ValueError("an objective needs a term that brings games, such as 'adversarial'")
        for name, (term, _) in self.terms.items():
            if lacking := lacks(method, term):
                raise ValueError(f"{name}: reads {', '.join(lacking)}, which its method lacks")

    @property
    def needs(self) -> dict[str, frozenset[str]]:
        """What each term needs from the data beside the two batches."""
        return {name: term.needs for name, (term, _) in self.terms.items()}

    @property
    def roster(self) -> Roster:
        """All networks that the method and the terms need, by name."""
        roster = dict(self.method.roster)
        for term, _ in self.terms.values():
            roster.update(term.roster(self.method))
        return roster

    def _active(self, step: int) -> dict[str, tuple[Term, float]]:
        # A term whose weight is 0 at this step is not computed, nor are its games played.
        weights = {name: weight(step) for name, (_, weight) in self.terms.items()}
        return {name: (self.terms[name][0], at) for name, at in weights.items() if at != 0}

    def generators(self, t: Batch) -> dict[str, Tensor]:
        """Every weighted summand by name; their sum is what the generators' side minimises."""
        summands: dict[str, Tensor] = {}
        active = self._active(t.step).values()
        t.expected = frozenset().union(*(term.reads for term, _ in active))
        for term, weight in active:
            summands.update({name: weight * value for name, value in term(t).items()})
        return summands

    def discriminators(self, t: Batch, histories: Histories) -> dict[str, Tensor]:
        """What each discriminator minimises, by its name.

        A term's weight says how much the generators listen to its discriminators; these play
        their games in full as long as it is not 0.
        """
        played = [
            (game, term.rules)
            for term, _ in self._active(t.step).values()
            if isinstance(term, AdversarialTerm)
            for game in term.games(t).values()
        ]
        losses: dict[str, Tensor] = {}
        for (name, real, fake), rules in sorted(played, key=lambda each: each[0].discriminator):
            if name in losses:
                raise ValueError(f"{name}: two terms bring it a game; each needs one of its own")
            fake = histories[name](fake.detach())
            losses[name] = rules.discriminator(t.networks[name], real.detach(), fake)
        return losses
