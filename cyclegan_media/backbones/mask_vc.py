"""Generator and discriminator of MaskCycleGAN-VC: voices whose missing frames are filled in.

Kaneko, Kameoka, Tanaka, Hojo: "MaskCycleGAN-VC: Learning Non-parallel Voice Conversion with
Filling in Frames", ICASSP 2021, arXiv 2102.12841, section 3. The networks are those of
CycleGAN-VC2 (``vc2.py``, which see) on log-mel spectra of 80 bands. The generator's input has a
second plane: the mask m is 1 on known frames and 0 on those that it has to fill in, and it sees
``(x ⊙ m, m)``. In conversion nothing is missing and m is 1 throughout.

The community PyTorch release leaves the discriminator's last but one convolution out of its
computation, as that of CycleGAN-VC2 does; it has a kernel of 1 × 10 there, which would shorten
the scores in time. Here it is the 1 × 5 of CycleGAN-VC2 (``horizontal``), and an import sets it
to false.
"""

from __future__ import annotations

import torch
from pydantic import Field

from cyclegan_media.backbones.registry import register
from cyclegan_media.backbones.vc2 import (
    VC2Config,
    VC2Discriminator,
    VC2DiscriminatorConfig,
    VC2Generator,
)
from cyclegan_media.errors import UserError


class MaskVCConfig(VC2Config):
    coefficients: int = Field(80, ge=4, le=4096, multiple_of=4)
    """Mel bands per frame."""


class MaskVCDiscriminatorConfig(VC2DiscriminatorConfig):
    coefficients: int = Field(80, ge=1, le=4096)
    """Mel bands per frame."""


@register("mask_vc")
class MaskVCGenerator(VC2Generator):
    """Maps spectra ``(batch, coefficients, frames)`` and a mask to spectra of the same shape.

    The mask broadcasts to the spectra, for instance ``(batch, 1, frames)``; without one, no
    frame is missing. Sizes are those of :class:`VC2Generator`.
    """

    Config = MaskVCConfig
    masked = True
    planes = 2

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        self.check_input(x)
        if mask is None:
            mask = torch.ones_like(x)
        try:
            mask = mask.to(x.dtype).expand_as(x)
        except RuntimeError as error:
            raise UserError(
                f"backbone {self.name!r}: a mask of shape {tuple(mask.shape)} does not fit spectra"
                f" of shape {tuple(x.shape)}"
            ) from error
        return self.convert(torch.stack([x * mask, mask], dim=1))


@register("mask_vc_discriminator")
class MaskVCDiscriminator(VC2Discriminator):
    """Maps ``(batch, coefficients, frames)`` to raw scores; see :class:`VC2Discriminator`."""

    Config = MaskVCDiscriminatorConfig
