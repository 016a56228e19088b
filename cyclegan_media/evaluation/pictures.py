"""Pictures to measure on, as sets of tensors of one size, and the trivial method's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cyclegan_media.datasets.images import ImageCrops, expand_videos
from cyclegan_media.evaluation.tables import spread

FRAMES_PER_VIDEO = 32


@dataclass(frozen=True)
class PictureSet:
    """Centre crops of one side's files."""

    images: Tensor
    """``(n, 3, size, size)`` in −1…1."""
    names: list[str | None]
    """Of the files, without the suffix; ``None`` for a frame of a video."""


def read_pictures(paths: Sequence[Path], size: int, most: int) -> PictureSet:
    """At most ``most`` pictures and frames, evenly spread: the shorter side scaled to ``size``
    pixels, and the middle cut out.

    Raises:
        UserError: a file that cannot be read.
    """
    frames = expand_videos(paths, frames_per_video=FRAMES_PER_VIDEO, load_size=size)
    crops = ImageCrops(frames, load_size=size, crop_size=size, flip=False, cache_bytes=0)
    chosen = spread(len(frames), most)
    files = set(paths)
    return PictureSet(
        torch.stack([crops.centre(k) for k in chosen]),
        [frames[k].stem if frames[k] in files else None for k in chosen],
    )


def find_pairs(a: PictureSet, b: PictureSet) -> tuple[list[int], list[int]]:
    """Places in both of the pictures whose files have the same name."""
    place = {name: k for k, name in enumerate(b.names) if name is not None}
    pairs = [(k, place[name]) for k, name in enumerate(a.names) if name in place]
    return [k for k, _ in pairs], [k for _, k in pairs]


class ColourMatch:
    """Each colour channel's mean and deviation over the source's training pictures become the
    target's: what a translation can do without looking at what is shown.

    Reinhard, Ashikhmin, Gooch, Shirley: "Color Transfer between Images", 2001, eqs 10–11, in RGB
    and with the moments of whole domains.

    Args:
        source, target: training pictures ``(n, 3, height, width)`` in −1…1.
    """

    def __init__(self, source: Tensor, target: Tensor) -> None:
        (here, spread_here), (there, spread_there) = map(_moments, (source, target))
        self._scale = spread_there / spread_here.clamp_min(1e-6)
        self._shift = there - self._scale * here

    def __call__(self, pictures: Tensor) -> Tensor:
        return (pictures * self._scale + self._shift).clamp(-1, 1)


def _moments(pictures: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(pictures.double(), dim=(0, 2, 3), keepdim=True)
    return mean.float(), deviation.float()
