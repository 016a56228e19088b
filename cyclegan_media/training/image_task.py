"""Training on pictures and video frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.images import ImageCrops, expand_videos
from cyclegan_media.metrics.image import sliced_wasserstein
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import ImageData
from cyclegan_media.training.tasks import Generators, Preview

VALIDATION_PICTURES = 32
PREVIEW_PICTURES = 4


class ImageTask:
    """Random crops for training; centre crops of held-out pictures for the rest.

    Without held-out files the first training files stand in, so the score then says less.
    """

    def __init__(self, data: ImageData, files: Files, say: Callable[[str], None]) -> None:
        def crops(paths: list[Path]) -> ImageCrops:
            pictures = expand_videos(
                paths,
                frames_per_video=data.frames_per_video,
                load_size=data.load_size,
                progress=lambda path: say(f"taking frames from {path.name}"),
            )
            return ImageCrops(
                pictures,
                load_size=data.load_size,
                crop_size=data.crop_size,
                flip=data.flip,
                cache_bytes=data.cache_megabytes * 2**20 // 2,  # for each of two domains
            )

        self.domain_a, self.domain_b = crops(files.train_a), crops(files.train_b)
        self._validation = {
            "a": _centres(crops(files.held_out_a) if files.held_out_a else self.domain_a),
            "b": _centres(crops(files.held_out_b) if files.held_out_b else self.domain_b),
        }

    def validate(self, generators: Generators) -> dict[str, float]:
        """Sliced Wasserstein distance of each translated set to the real one, and cycle error.

        ``score`` is the mean of the two distances.
        """
        a, b = self._validation["a"], self._validation["b"]
        fake_b, fake_a = _apply(generators["a2b"], a), _apply(generators["b2a"], b)
        a, b = a.to(fake_a.device), b.to(fake_b.device)
        distance_b = sliced_wasserstein(fake_b, b, seed=0)
        distance_a = sliced_wasserstein(fake_a, a, seed=0)
        return {
            "score": (distance_a + distance_b) / 2,
            "distance_a2b": distance_b,
            "distance_b2a": distance_a,
            "cycle_a": float(F.l1_loss(_apply(generators["b2a"], fake_b), a)),
            "cycle_b": float(F.l1_loss(_apply(generators["a2b"], fake_a), b)),
        }

    def preview(self, generators: Generators) -> Preview:
        """Two grids, a column per picture: real, translated, and back."""
        ways: tuple[tuple[str, Direction, Direction], ...] = (
            ("a", "a2b", "b2a"),
            ("b", "b2a", "a2b"),
        )
        pictures = {}
        for source, there, back in ways:
            real = self._validation[source][:PREVIEW_PICTURES]
            fake = _apply(generators[there], real)
            rows = torch.cat([real, fake.cpu(), _apply(generators[back], fake).cpu()])
            grid = make_grid(rows, nrow=len(real), padding=2, normalize=True, value_range=(-1, 1))
            pictures[str(there)] = (grid * 255).round().byte().permute(1, 2, 0).numpy()
        return Preview(pictures)

    def analysis(self) -> dict[str, Any] | None:
        return None

    def statistics(self) -> dict[str, Tensor]:
        return {}


def _centres(crops: ImageCrops) -> Tensor:
    count = min(len(crops), VALIDATION_PICTURES)
    # Evenly spaced, so that one video's frames do not fill the whole set.
    return torch.stack([crops.centre(k * len(crops) // count) for k in range(count)])


def _apply(generator: torch.nn.Module, pictures: Tensor) -> Tensor:
    device = next(generator.parameters()).device
    parts = [generator(part.to(device)).float() for part in pictures.split(8)]
    return torch.cat(parts).clamp(-1, 1)
