"""The frames that a student learns from, and those that it is measured on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cyclegan_media.datasets.images import ImageCrops, expand_videos
from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.errors import UserError
from cyclegan_media.media import kind_of, list_media
from cyclegan_media.media.kinds import check_input

MOST_HELD_OUT = 32
_SHARE = 0.1
"""Of the frames, held out."""


def learning_crops(
    source: str | os.PathLike[str],
    *,
    count: int,
    size: int,
    load_size: int | None = None,
    seed: int = 0,
    progress: Callable[[Path], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Crops to learn from and crops to measure with, of frames that have no moment in common.

    Of each video the last tenth is held out, since neighbouring frames are all but equal; of
    pictures every tenth, by name.

    Args:
        source: a video, or a folder of pictures and videos.
        count: how many crops to learn from; each frame gives as many as any other, to one.
        size: side of the crops in pixels. Smaller frames are scaled up to it.
        load_size: the shorter side is scaled to this many pixels first; ``None`` keeps the size, at
            which a translation sees the frames, too.
        seed: of the crops' places.
        progress: is called with a video before it is decoded.

    Returns:
        uint8 ``(count, 3, size, size)`` and up to 32 crops from the middle of held-out frames.

    Raises:
        UserError: there is no such source, it holds no pictures or videos, or a single frame.
    """
    learning, held_out = _split(Path(source), count, load_size, progress)

    def crops(paths: list[Path]) -> ImageCrops:
        return ImageCrops(paths, load_size=load_size, crop_size=size, flip=False)

    domain, places = crops(learning), random_generator(seed, "distill")
    samples = [domain.sample(k % len(domain), places) for k in range(count)]
    middle = crops(held_out)
    return (
        torch.stack([_bytes(sample) for sample in samples if isinstance(sample, Tensor)]),
        torch.stack([_bytes(middle.centre(k)) for k in range(len(middle))]),
    )


def _split(
    source: Path, count: int, load_size: int | None, progress: Callable[[Path], None] | None
) -> tuple[list[Path], list[Path]]:
    pictures, videos = _media(source)
    groups = [
        # A video's frames are stored once; more of them than crops would not be used.
        expand_videos(
            [video],
            frames_per_video=max(2, -(-count // len(videos))),
            load_size=load_size,
            progress=progress,
        )
        for video in videos
    ]
    learning, held_out = [], []
    for frames in groups:
        out = _held_out(len(frames))
        learning += frames[: len(frames) - out]
        held_out += frames[len(frames) - out :]
    out = _held_out(len(pictures))
    chosen = {int((k + 0.5) * len(pictures) / out) for k in range(out)}
    learning += [path for k, path in enumerate(pictures) if k not in chosen]
    held_out += [path for k, path in enumerate(pictures) if k in chosen]
    if not learning or not held_out:
        raise UserError(
            f"{source}: needs at least two frames, one to learn from and one to measure"
        )
    step = max(1, -(-len(held_out) // MOST_HELD_OUT))
    return learning, held_out[::step]


def _held_out(count: int) -> int:
    return max(round(_SHARE * count), min(1, count // 2))


def _media(source: Path) -> tuple[list[Path], list[Path]]:
    if source.is_dir():
        pictures, videos = list_media(source, "image"), list_media(source, "video")
        if not pictures and not videos:
            raise UserError(f"{source}: holds no pictures or videos to learn from")
        return pictures, videos
    if kind_of(check_input(source)) != "video":
        raise UserError(f"{source}: give a video, or a folder of pictures and videos")
    return [], [source]


def _bytes(picture: Tensor) -> Tensor:
    return picture.add(1).mul(127.5).round().byte()
