"""Many-to-many translation: each generator also takes a latent code that says which of the many.

Almahairi, Rajeswar, Sordoni, Bachman, Courville 2018: "Augmented CycleGAN: Learning Many-to-Many
Mappings from Unpaired Data", arXiv 1802.10151. With

    G_AB: A × Z_B → B    E_A: A × B → Z_A    z_a, z_b ~ N(0, 1)
    G_BA: B × Z_A → A    E_B: B × A → Z_B

the cycle from ``(a, z_b)`` is ``b~ = G_AB(a, z_b)``, ``z~_a = E_A(a, b~)``, and back
``a' = G_BA(b~, z~_a)``, ``z_b' = E_B(b~, a)``; the cycle from ``(b, z_a)`` mirrors it.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from cyclegan_media.core.translation import Batch, Part, Roster, register_method


@register_method("augmented")
class Augmented(Batch):
    """Generators called as ``(x, z)``, encoders as ``(own domain, other domain)``.

    Codes are ``(batch, latent)`` with the length that the generator states as ``latent``, drawn
    from the global random state of torch. There is no identity mapping: a generator would need
    the code that leaves its input as it is.
    """

    generators_take = "latent"
    roster: ClassVar[Roster] = {
        **Batch.roster,
        "encoder_a": Part("encoder"),
        "encoder_b": Part("encoder"),
    }

    @cached_property
    def latent_a(self) -> Tensor:
        """z_a ~ N(0, 1)"""
        return _prior(self.networks.generator_b2a, self.real_b)

    @cached_property
    def latent_b(self) -> Tensor:
        """z_b ~ N(0, 1)"""
        return _prior(self.networks.generator_a2b, self.real_a)

    @cached_property
    def fake_b(self) -> Tensor:
        """b~ = G_AB(a, z_b)"""
        return self.networks.generator_a2b(self.real_a, self.latent_b)

    @cached_property
    def fake_a(self) -> Tensor:
        """a~ = G_BA(b, z_a)"""
        return self.networks.generator_b2a(self.real_b, self.latent_a)

    @cached_property
    def encoded_a(self) -> Tensor:
        """z~_a = E_A(a, b~), which should be distributed as z_a"""
        return self.networks["encoder_a"](self.real_a, self.fake_b)

    @cached_property
    def encoded_b(self) -> Tensor:
        """z~_b = E_B(b, a~), which should be distributed as z_b"""
        return self.networks["encoder_b"](self.real_b, self.fake_a)

    @cached_property
    def cycle_a(self) -> Tensor:
        """a' = G_BA(b~, z~_a), which should be a"""
        return self.networks.generator_b2a(self.fake_b, self.encoded_a)

    @cached_property
    def cycle_b(self) -> Tensor:
        """b' = G_AB(a~, z~_b), which should be b"""
        return self.networks.generator_a2b(self.fake_a, self.encoded_b)

    @cached_property
    def latent_cycle_a(self) -> Tensor:
        """z_a' = E_A(a~, b), which should be z_a"""
        return self.networks["encoder_a"](self.fake_a, self.real_b)

    @cached_property
    def latent_cycle_b(self) -> Tensor:
        """z_b' = E_B(b~, a), which should be z_b"""
        return self.networks["encoder_b"](self.fake_b, self.real_a)


def _prior(generator: nn.Module, like: Tensor) -> Tensor:
    length: int = generator.latent  # type: ignore[assignment]
    return torch.randn(len(like), length, device=like.device, dtype=like.dtype)
