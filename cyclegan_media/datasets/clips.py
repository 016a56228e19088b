"""Random crops of clips: consecutive frames of videos, and the motion between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclegan_media.datasets.images import ImageCrops, frame_picture
from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_directory, cache_folder
from cyclegan_media.media import Image, kind_of, list_media, write_image
from cyclegan_media.media.flow import FlowFinder


class ClipCrops(ImageCrops):
    """Random crops of clips; one crop, mirrored or not, for all frames of a clip.

    Args:
        clips: per clip the pictures of its frames, in order, each clip of as many.
        flow: give ``flow``, too, by DIS optical flow (Kroeger 2016).
        options: those of :class:`ImageCrops`.

    Raises:
        UserError: ``flow`` is asked for and OpenCV is not installed.
    """

    def __init__(
        self, clips: Sequence[Sequence[Path]], *, flow: bool = False, **options: Any
    ) -> None:
        super().__init__([path for clip in clips for path in clip], **options)
        self.frames = len(clips[0])
        self._flow = FlowFinder() if flow else None

    def __len__(self) -> int:
        return len(self.paths) // self.frames

    def sample(self, index: int, rng: torch.Generator) -> dict[str, Tensor]:
        """A clip by name, a function of its arguments.

        ``real`` is ``(frames, 3, height, width)``, float32 in −1…1. ``flow``, if asked for, is
        ``(frames − 1, 2, height, width)``: from each pixel of a frame, in pixels to the right
        and down, to where it was in the frame before.
        """
        first = index * self.frames
        clip = torch.stack([self._picture(first + k) for k in range(self.frames)])
        clip = self._crop(clip, rng)
        example = {"real": clip.float().div(127.5).sub(1)}
        if self._flow is not None:
            example["flow"] = self._motion(clip)
        return example

    def centre(self, index: int) -> Tensor:
        """The middle of a clip's first frame: for previews and validation."""
        return super().centre(index * self.frames)

    def _motion(self, clip: Tensor) -> Tensor:
        assert self._flow is not None
        grey = clip.float().mean(1).round().byte().numpy()
        motion = [self._flow.to_previous(before, now) for before, now in pairwise(grey)]
        return torch.from_numpy(np.stack(motion)).permute(0, 3, 1, 2).contiguous()


def cut_clips(
    paths: Sequence[Path],
    *,
    frames: int,
    clips_per_video: int,
    load_size: int | None,
    progress: Callable[[Path], None] | None = None,
) -> list[list[Path]]:
    """Clips of ``frames`` consecutive frames, evenly spaced over each video.

    They are decoded once, into pictures in the cache folder.

    Args:
        clips_per_video: at most so many; they do not overlap.
        load_size: frames whose shorter side is larger are scaled down to it before they are
            stored; ``None`` keeps the size.

    Raises:
        UserError: a path is no video, or one of fewer frames.
    """
    clips: list[list[Path]] = []
    for path in paths:
        if kind_of(path) != "video":
            raise UserError(
                f"{path}: is no video, and a recipe with data.clip_frames trains on consecutive"
                " frames; remove it from the data"
            )
        if progress is not None:
            progress(path)
        pictures = _clips_of(path, frames, clips_per_video, load_size)
        clips += [pictures[k : k + frames] for k in range(0, len(pictures), frames)]
    return clips


def _clips_of(path: Path, frames: int, count: int, load_size: int | None) -> list[Path]:
    from cyclegan_media.media import VideoReader

    state = path.stat()
    key = (path.resolve(), state.st_size, state.st_mtime_ns, frames, count, load_size, "clips v1")
    name = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).hexdigest()
    folder = cache_folder() / "frames" / name
    if not folder.is_dir():
        with VideoReader(path) as video:
            total = sum(1 for _ in video) if video.frame_count is None else video.frame_count
        if total < frames:
            raise UserError(
                f"{path}: has {total} frames, fewer than a clip of {frames}; remove it from the"
                " data"
            )
        count = min(count, total // frames)
        parts = [k * total // count for k in range(count + 1)]  # each of at least ``frames``
        starts = [(a + b - frames) // 2 for a, b in pairwise(parts)]
        wanted = {start + k for start in starts for k in range(frames)}
        with atomic_directory(folder, overwrite=True) as partial, VideoReader(path) as video:
            for number, frame in enumerate(video):
                if number in wanted:
                    pixels = frame_picture(frame.pixels, load_size)
                    write_image(partial / f"{number:08d}.png", Image(pixels))
            written = len(list(partial.iterdir()))
            if written % frames:
                raise UserError(
                    f"{path}: ends before the {total} frames that it states; remove it from the"
                    " data"
                )
    return list_media(folder, "image")
