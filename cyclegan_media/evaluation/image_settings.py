"""What of pictures is measured, and by which networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cyclegan_media.errors import UserError
from cyclegan_media.evaluation.inputs import StrPath
from cyclegan_media.evaluation.tables import Measure
from cyclegan_media.metrics.image_features import SMALLEST, describe
from cyclegan_media.metrics.image_sets import Extractor
from cyclegan_media.metrics.learned import Distance, inception_features, lpips

UNCONVERTED = "unconverted"
COLOURS = "mean-variance colours"
REAL = "real pictures of the target"
RESERVED = (UNCONVERTED, COLOURS, REAL)

LEAST = 4
"""Pictures of a set, without which the kernel distance cannot be estimated."""


@dataclass(frozen=True)
class ImageSettings:
    """How pictures are measured."""

    size: int = 256
    """Pixels: the shorter side is scaled to it, and the middle cut out."""
    pictures: int = 200
    """Of each set, at most; distances of sets depend on how many there are."""
    paired: bool = True
    """Whether held-out files of one name show the same in both domains."""
    inception: StrPath | None = None
    """torch-fidelity's Inception weights, for the FID and KID of papers."""
    lpips: StrPath | None = None
    """torchvision's AlexNet weights."""
    clips: int = 2
    """Held-out videos of each domain whose steadiness is measured."""
    frames: int = 48
    """Of each of them, from the start."""

    def __post_init__(self) -> None:
        if self.size < SMALLEST:
            raise UserError(
                f"size: {self.size} pixels are too few to measure on; {SMALLEST} or more"
            )
        if self.pictures < LEAST:
            raise UserError(f"pictures: {self.pictures} are too few to measure on; {LEAST} or more")


def measures(settings: ImageSettings) -> tuple[Measure, ...]:
    """All that a table may have; figures on built-in features say so in their heading."""
    note = "" if settings.inception else " (built-in)"
    return (
        Measure("fid", f"FID{note}", "lower"),
        Measure("kid", f"KID{note}", "lower", factor=1000),
        Measure("sliced_wasserstein", "sliced Wasserstein", "lower"),
        Measure("psnr", "PSNR", "higher", "dB"),
        Measure("ssim", "SSIM", "higher"),
        Measure("lpips", "LPIPS", "lower"),
        Measure("cycle_psnr", "cycle PSNR", "higher", "dB"),
        Measure("cycle_ssim", "cycle SSIM", "higher"),
        Measure("cycle_lpips", "cycle LPIPS", "lower"),
    )


def features_name(settings: ImageSettings) -> str:
    """What FID and KID are measured on."""
    if settings.inception is not None:
        return "Inception-v3, as in papers"
    return "colours and textures without weights, which no published FID or KID compares with"


def load_networks(
    settings: ImageSettings, device: torch.device | str
) -> tuple[Extractor, Distance | None]:
    """What gives the features of pictures, and the learned distance, if any.

    Raises:
        UserError: a package is not installed, or a file is missing or of another network.
    """
    inception, backbone = settings.inception, settings.lpips
    extract = describe if inception is None else inception_features(inception, device)
    return extract, None if backbone is None else lpips(backbone, device)
