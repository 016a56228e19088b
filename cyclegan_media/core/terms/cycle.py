"""Terms that compare a tensor with what it should be: cycles and identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.methods import Augmented
from cyclegan_media.core.objective import Term, register_term
from cyclegan_media.core.translation import Batch, Translation


@register_term("cycle")
@dataclass(frozen=True)
class Cycle(Term):
    """``E‖F(G(a)) − a‖₁ + E‖G(F(b)) − b‖₁`` (Zhu 2017, eq. 2), as means over all elements."""

    reads = frozenset({"cycle_a", "cycle_b"})

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            "cycle_a": F.l1_loss(t.cycle_a, t.real_a),
            "cycle_b": F.l1_loss(t.cycle_b, t.real_b),
        }


@register_term("identity")
@dataclass(frozen=True)
class Identity(Term):
    """``E‖G(b) − b‖₁ + E‖F(a) − a‖₁`` (Zhu 2017, section 5.2; Kaneko & Kameoka 2017, eq. 4)."""

    reads = frozenset({"identity_b"})

    def __call__(self, t: Batch) -> dict[str, Tensor]:
        return {
            f"identity_{way.name}": F.l1_loss(
                t.of("identity", way.target), t.of("real", way.target)
            )
            for way in t.directions
        }


@register_term("masked_cycle")
@dataclass(frozen=True)
class MaskedCycle(Term):
    """``Σ m |F(G(a)) − a| / Σ m``, and the same for b: the cycle where the mask is.

    Jin, Qi, Wu 2017, "CycleGAN Face-off", arXiv 1712.03451: the reconstruction error weighted by
    a mask of the face, so that the networks spend themselves there. Beside ``cycle``, the weight
    of a pixel is λ_cycle + λ_masked · m. The extra ``face_mask`` is ``(batch, 1, height, width)``
    in 0…1; where it is empty the summand is 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"face_mask"})
    reads = frozenset({"cycle_a", "cycle_b"})

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            f"masked_cycle_{domain}": _masked_l1(
                t.of("cycle", domain), t.of("real", domain), t.extras[f"face_mask_{domain}"]
            )
            for domain in ("a", "b")
        }


def _masked_l1(got: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    weight = mask.expand_as(wanted)
    total = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return ((got - wanted).abs() * weight).sum() / total


@register_term("ssim_cycle")
@dataclass(frozen=True)
class SSIMCycle(Term):
    """``1 − SSIM(F(G(a)), a)``, and the same for b, 0 for equal pictures.

    Jin, Qi, Wu 2017, "CycleGAN Face-off", arXiv 1712.03451. SSIM is that of Wang 2004 (Gaussian
    window of 11 × 11, σ 1.5), of pictures taken to 0…1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})
    reads = frozenset({"cycle_a", "cycle_b"})

    def __call__(self, t: Translation) -> dict[str, Tensor]:
        return {
            "ssim_cycle_a": 1 - _ssim(t.cycle_a, t.real_a),
            "ssim_cycle_b": 1 - _ssim(t.cycle_b, t.real_b),
        }


def _ssim(got: Tensor, wanted: Tensor) -> Tensor:
    # Imported here: the rest of the core needs torch alone.
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure((got + 1) / 2, (wanted + 1) / 2, data_range=1.0)
    assert isinstance(value, Tensor)
    return value


@register_term("latent_cycle")
@dataclass(frozen=True)
class LatentCycle(Term):
    """``E‖E_B(b~, a) − z_b‖₁ + E‖E_A(a~, b) − z_a‖₁``: no code may be lost on the way.

    Almahairi 2018, arXiv 1802.10151, section 3. Without it a generator is free to ignore z.
    """

    reads = frozenset({"latent_a", "latent_b", "latent_cycle_a", "latent_cycle_b"})

    def __call__(self, t: Augmented) -> dict[str, Tensor]:
        return {
            "latent_cycle_a": F.l1_loss(t.latent_cycle_a, t.latent_a),
            "latent_cycle_b": F.l1_loss(t.latent_cycle_b, t.latent_b),
        }
