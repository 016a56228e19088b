"""Training on pictures and video frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from cyclegan_media.datasets.clips import ClipCrops, cut_clips
from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.face_crops import face_crops
from cyclegan_media.datasets.images import ImageCrops, expand_videos
from cyclegan_media.metrics.image import sliced_wasserstein
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import ImageData
from cyclegan_media.training.tasks import Generators, Preview

VALIDATION_PICTURES = 32
PREVIEW_PICTURES = 4

_WAYS: tuple[tuple[str, str, Direction, Direction], ...] = (
    # from, to, there, back
    ("a", "b", "a2b", "b2a"),
    ("b", "a", "b2a", "a2b"),
)


class ImageTask:
    """Random crops for training; centre crops of held-out pictures for the rest.

    Without held-out files the first training files stand in, so the score then says less.
    """

    def __init__(self, data: ImageData, files: Files, say: Callable[[str], None]) -> None:
        def crops(paths: list[Path]) -> ImageCrops:
            options: dict[str, Any] = {
                "load_size": data.load_size,
                "crop_size": data.crop,
                "flip": data.flip,
                "cache_bytes": data.cache_megabytes * 2**20 // 2,  # for each of two domains
            }
            frames: dict[str, Any] = {
                "load_size": data.load_size,
                "progress": lambda path: say(f"taking frames from {path.name}"),
            }
            if data.clip_frames > 1:
                count = data.frames_per_video
                clips = cut_clips(paths, frames=data.clip_frames, clips_per_video=count, **frames)
                return ClipCrops(clips, flow=data.flow, **options)
            pictures = expand_videos(paths, frames_per_video=data.frames_per_video, **frames)
            return ImageCrops(pictures, masks=data.face_masks, **options)

        first, second = face_crops(files.train_a), face_crops(files.train_b)
        self._face_crops = first if first == second else None
        self.domain_a, self.domain_b = crops(files.train_a), crops(files.train_b)
        self._validation = {
            "a": _centres(crops(files.held_out_a) if files.held_out_a else self.domain_a),
            "b": _centres(crops(files.held_out_b) if files.held_out_b else self.domain_b),
        }

    def validate(self, generators: Generators) -> dict[str, float]:
        """Sliced Wasserstein distance of each translated set to the real one, and cycle error.

        ``score`` is the mean of the distances.
        """
        distances: dict[str, float] = {}
        cycles: dict[str, float] = {}
        for source, target, there, back in _WAYS:
            if there in generators:
                real = self._validation[source]
                fake = _apply(generators[there], real)
                wanted = self._validation[target].to(fake.device)
                distances[f"distance_{there}"] = sliced_wasserstein(fake, wanted, seed=0)
                if back in generators:
                    again = _apply(generators[back], fake)
                    cycles[f"cycle_{source}"] = float(F.l1_loss(again, real.to(again.device)))
        score = sum(distances.values()) / len(distances)
        return {"score": score, **distances, **cycles}

    def preview(self, generators: Generators) -> Preview:
        """A grid for each direction, a column per picture: real, translated, and back."""
        pictures = {}
        for source, _, there, back in _WAYS:
            if there in generators:
                real = self._validation[source][:PREVIEW_PICTURES]
                rows = [real, _apply(generators[there], real)]
                if back in generators:
                    rows.append(_apply(generators[back], rows[1]))
                grid = make_grid(
                    torch.cat([row.cpu() for row in rows]),
                    nrow=len(real),
                    padding=2,
                    normalize=True,
                    value_range=(-1, 1),
                )
                pictures[str(there)] = (grid * 255).round().byte().permute(1, 2, 0).numpy()
        return Preview(pictures)

    def analysis(self) -> dict[str, Any] | None:
        """How faces were cut out of frames, where the crops say it and both domains agree."""
        return None if self._face_crops is None else {"faces": self._face_crops}

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
