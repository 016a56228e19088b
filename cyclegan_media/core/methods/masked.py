"""Filling in frames: the generators see their input through a mask with a gap in time.

Kaneko, Kameoka, Tanaka, Hojo 2021: "MaskCycleGAN-VC: Learning Non-parallel Voice Conversion with
Filling in Frames", arXiv 2102.12841, section 3.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from cyclegan_media.core.translation import Translation, register_method


@register_method("masked")
class Masked(Translation):
    """``y' = G(x · m, m)`` with m from the extra ``mask``; ``x'' = F(y', m')`` with m' all ones.

    The gap is filled on the way there; on the way back nothing is missing any more, so the cycle
    is compared with the whole of x. The generators take ``(x, mask)``; a mask is 1 where a frame
    is known and 0 where it is to be filled in, and broadcasts to x.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"mask"})
    generators_take = "masked"

    @cached_property
    def fake_b(self) -> Tensor:
        """G(a · m, m)"""
        mask = self.extras["mask_a"]
        whole = torch.ones_like(self.extras["mask_b"])
        return self._beside_identity("b", (self.real_a * mask, mask), (self.real_b, whole))

    @cached_property
    def fake_a(self) -> Tensor:
        """F(b · m, m)"""
        mask = self.extras["mask_b"]
        whole = torch.ones_like(self.extras["mask_a"])
        return self._beside_identity("a", (self.real_b * mask, mask), (self.real_a, whole))

    @cached_property
    def cycle_a(self) -> Tensor:
        """F(G(a · m, m), 1), which should be a"""
        return self.networks.generator_b2a(self.fake_b, torch.ones_like(self.extras["mask_a"]))

    @cached_property
    def cycle_b(self) -> Tensor:
        """G(F(b · m, m), 1), which should be b"""
        return self.networks.generator_a2b(self.fake_a, torch.ones_like(self.extras["mask_b"]))

    @cached_property
    def identity_a(self) -> Tensor:
        """F(a, 1), which should be a"""
        return self.networks.generator_b2a(self.real_a, torch.ones_like(self.extras["mask_a"]))

    @cached_property
    def identity_b(self) -> Tensor:
        """G(b, 1), which should be b"""
        return self.networks.generator_a2b(self.real_b, torch.ones_like(self.extras["mask_b"]))
