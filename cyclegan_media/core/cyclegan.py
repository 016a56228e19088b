"""CycleGAN: two generators, two discriminators, and one batch carried through them.

    generator_a2b  G: A → B        discriminator_b  tells B from G(A)
    generator_b2a  F: B → A        discriminator_a  tells A from F(B)

(Zhu, Park, Isola & Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", figure 3.) Tensors only: the same code serves pictures
``(batch, 3, height, width)`` and spectra ``(batch, coefficients, frames)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from torch import Tensor, nn


class CycleGAN(nn.Module):
    """The four networks. Each may be wrapped (data parallel, compiled) without a change here."""

    def __init__(
        self,
        generator_a2b: nn.Module,
        generator_b2a: nn.Module,
        discriminator_a: nn.Module,
        discriminator_b: nn.Module,
    ) -> None:
        super().__init__()
        self.generator_a2b = generator_a2b
        self.generator_b2a = generator_b2a
        self.discriminator_a = discriminator_a
        self.discriminator_b = discriminator_b

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.generator_a2b.parameters()
        yield from self.generator_b2a.parameters()

    def discriminator_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.discriminator_a.parameters()
        yield from self.discriminator_b.parameters()


class Translation:
    """One unpaired batch and all that the generators make of it, each computed on first use.

    A term of the objective asks for what it needs (``translation.cycle_a``); what no term asks
    for is never computed, and what two terms ask for is computed once.

    Args:
        networks: the four networks.
        real_a, real_b: examples of the two domains, not paired.
        extras: what else the data gives for this batch, by name (a mask, for instance).
    """

    def __init__(
        self,
        networks: CycleGAN,
        real_a: Tensor,
        real_b: Tensor,
        extras: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.networks = networks
        self.real_a = real_a
        self.real_b = real_b
        self.extras = dict(extras or {})

    @cached_property
    def fake_b(self) -> Tensor:
        """G(a)"""
        return self.networks.generator_a2b(self.real_a)

    @cached_property
    def fake_a(self) -> Tensor:
        """F(b)"""
        return self.networks.generator_b2a(self.real_b)

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

    @cached_property
    def identity_b(self) -> Tensor:
        """G(b), which should be b"""
        return self.networks.generator_a2b(self.real_b)
