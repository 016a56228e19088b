"""One unpaired batch and all that the networks make of it, each computed on first use.

A term of the objective asks for what it needs (``translation.cycle_a``); what no term asks for
is never computed, and what two terms ask for is computed once.

:class:`Translation` is CycleGAN's. Methods that translate otherwise are small classes beside it
(``core/methods/``), registered under the name that a recipe's ``method`` gives. Such a class says
which networks it needs (``roster``) and what the data must give (``needs``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar, NamedTuple, TypeVar

from torch import Tensor

from cyclegan_media.core.cyclegan import CycleGAN
from cyclegan_media.core.together import together


class Part(NamedTuple):
    """A network that a method or a term needs."""

    role: str
    """The kind of backbone, and where a recipe's model states it."""
    section: str = ""
    """Where it may be stated apart; a recipe without that section means the role's."""


Roster = dict[str, Part]
"""Networks by the name that they have in :class:`CycleGAN`."""


class Direction(NamedTuple):
    """One way of translating: ``a2b`` leads from ``a`` to ``b``."""

    name: str
    source: str
    target: str


A2B = Direction("a2b", "a", "b")
B2A = Direction("b2a", "b", "a")


class Batch:
    """Examples of both domains, not paired, and the networks; the base of every method.

    Args:
        networks: at least those of the roster.
        real_a, real_b: examples of the two domains.
        extras: what else the data gives for this batch: ``{"mask_a": …, "mask_b": …}`` where the
            method or a term needs ``mask``.
        step: counted from 0; schedules read it.
    """

    directions: ClassVar[tuple[Direction, ...]] = (A2B, B2A)
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the data must give beside the two batches."""
    generators_take: ClassVar[str] = ""
    """The attribute that says of a generator that it takes what this method gives it beside x."""
    roster: ClassVar[Roster] = {
        "generator_a2b": Part("generator"),
        "generator_b2a": Part("generator"),
    }

    def __init__(
        self,
        networks: CycleGAN,
        real_a: Tensor,
        real_b: Tensor,
        extras: Mapping[str, Tensor] | None = None,
        step: int = 0,
    ) -> None:
        self.networks = networks
        self.real_a = real_a
        self.real_b = real_b
        self.extras = dict(extras or {})
        self.step = step
        self.expected: frozenset[str] = frozenset()
        """What terms will ask for, as far as they say so (``Term.reads``): what is computed by one
        network may then go through it in one pass."""
        self._features: dict[tuple[str, str], list[list[Tensor]]] = {}

    def of(self, what: str, domain: str) -> Tensor:
        """``of("fake", "b")`` is ``fake_b``, for terms that run over domains."""
        return getattr(self, f"{what}_{domain}")

    def features(self, discriminator: str, what: str) -> list[list[Tensor]]:
        """What a discriminator computes of a tensor of this batch.

        Args:
            discriminator: its name, ``discriminator_a`` for instance.
            what: the tensor's name, ``cycle_a`` for instance.

        Returns:
            Per scale, the output of each layer; the last are the scores.
        """
        key = discriminator, what
        if key not in self._features:
            network = self.networks[discriminator]
            self._features[key] = network.features(getattr(self, what))  # type: ignore[operator]
        return self._features[key]


METHODS: dict[str, type[Batch]] = {}
"""Every known method by the name that recipes use."""

M = TypeVar("M", bound=type[Batch])


def register_method(name: str) -> Callable[[M], M]:
    """Class decorator: make a method known under ``name``."""

    def add(cls: M) -> M:
        if METHODS.setdefault(name, cls) is not cls:
            raise ValueError(f"two methods are registered as {name!r}: {METHODS[name]} and {cls}")
        return cls

    return add


@register_method("one_sided")
class OneSided(Batch):
    """G alone, from A to B (as in Park 2020, "Contrastive Learning for Unpaired Image-to-Image
    Translation", arXiv 2007.15651): half the networks, no cycle."""

    directions: ClassVar[tuple[Direction, ...]] = (A2B,)
    roster: ClassVar[Roster] = {"generator_a2b": Part("generator")}

    @cached_property
    def fake_b(self) -> Tensor:
        """G(a)"""
        return self._beside_identity("b", (self.real_a,), (self.real_b,))

    @cached_property
    def identity_b(self) -> Tensor:
        """G(b), which should be b"""
        return self.networks.generator_a2b(self.real_b)

    def _beside_identity(
        self, target: str, source: tuple[Tensor, ...], identity: tuple[Tensor, ...]
    ) -> Tensor:
        """The translation of ``source``; that of the target's own example, if it will be asked for.

        Args:
            source, identity: what the generator of the target's domain takes for each.
        """
        generator = self.networks["generator_a2b" if target == "b" else "generator_b2a"]
        if not self.expected & {"identity_a", "identity_b"}:
            return generator(*source)
        fake, same = together(generator, source, identity)
        setattr(self, f"identity_{target}", same)
        return fake


@register_method("cyclegan")
class Translation(OneSided):
    """G and F, and the cycles through both (Zhu 2017, figure 3)."""

    directions: ClassVar[tuple[Direction, ...]] = (A2B, B2A)
    roster: ClassVar[Roster] = Batch.roster

    @cached_property
    def fake_a(self) -> Tensor:
        """F(b)"""
        return self._beside_identity("a", (self.real_b,), (self.real_a,))

    @cached_property
    def cycle_a(self) -> Tensor:
        """F(G(a)), which should be a"""
        return self.networks.generator_b2a(self.fake_b)

    @cached_property
    def cycle_b(self) -> Tensor:
        """G(F(b)), which should be b"""
        return self.networks.generator_a2b(self.fake_a)

    @cached_property
    def identity_a(self) -> Tensor:
        """F(a), which should be a"""
        return self.networks.generator_b2a(self.real_a)
