"""The terms of the published objectives; importing this registers them all."""

from cyclegan_media.core.terms.adversarial import (
    Adversarial,
    LatentAdversarial,
    SecondAdversarial,
    TwoStepAdversarial,
)
from cyclegan_media.core.terms.contrastive import IdentityNCE, PatchNCE
from cyclegan_media.core.terms.cycle import Cycle, Identity, LatentCycle, MaskedCycle, SSIMCycle
from cyclegan_media.core.terms.features import FeatureCycle, FeatureMatching
from cyclegan_media.core.terms.video import Recurrent, Recycled, Temporal

__all__ = [
    "Adversarial",
    "Cycle",
    "FeatureCycle",
    "FeatureMatching",
    "Identity",
    "IdentityNCE",
    "LatentAdversarial",
    "LatentCycle",
    "MaskedCycle",
    "PatchNCE",
    "Recurrent",
    "Recycled",
    "SSIMCycle",
    "SecondAdversarial",
    "Temporal",
    "TwoStepAdversarial",
]
