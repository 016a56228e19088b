"""Random crops of pictures and of video frames."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as tvf
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info
from torchvision.transforms import InterpolationMode

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_directory, cache_folder
from cyclegan_media.media import Image, kind_of, list_media, read_image, write_image

Pixels = NDArray[np.uint8 | np.uint16]

MOST_ELONGATED = 50
"""Longer side over shorter side beyond which a picture is refused."""


class ImageCrops:
    """Random crops of a list of pictures.

    Args:
        paths: pictures (not videos: see :func:`expand_videos`).
        load_size: the shorter side is scaled to this many pixels first, keeping the aspect
            (bicubic, antialiased); ``None`` keeps the size. A picture smaller than the crop is
            scaled up to it in any case.
        crop_size: side of the crops, or their height and width, in pixels.
        flip: mirror half of the crops, left to right.
        masks: give ``face_mask``, too: the pictures' alpha channel.
        cache_bytes: decoded pictures kept in memory by all loading processes together, the least
            recently used ones dropped.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        load_size: int | None = 286,
        crop_size: int | tuple[int, int] = 256,
        flip: bool = True,
        masks: bool = False,
        cache_bytes: int = 2**30,
    ) -> None:
        self.paths = list(paths)
        self.load_size, self.flip, self.masks = load_size, flip, masks
        self.crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._cached_bytes, self._cache_bytes = 0, cache_bytes

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int, rng: torch.Generator) -> Tensor | dict[str, Tensor]:
        """A crop ``(3, height, width)``, float32 in −1…1; a function of its arguments.

        With masks, that is ``real`` beside ``face_mask``, ``(1, height, width)`` in 0…1.
        """
        crop = self._crop(self._picture(index), rng)
        real = crop[:3].float().div(127.5).sub(1)
        if not self.masks:
            return real
        return {"real": real, "face_mask": crop[3:].float().div(255)}

    def centre(self, index: int) -> Tensor:
        """The crop in the middle, not mirrored: for previews and validation."""
        picture = self._picture(index)[:3]
        return tvf.center_crop(picture, list(self.crop_size)).float().div(127.5).sub(1)

    def _crop(self, picture: Tensor, rng: torch.Generator) -> Tensor:
        """A random crop of ``(…, height, width)``, mirrored or not."""
        top, left = (
            int(torch.randint(side - crop + 1, (), generator=rng))
            for side, crop in zip(picture.shape[-2:], self.crop_size, strict=True)
        )
        height, width = self.crop_size
        crop = picture[..., top : top + height, left : left + width]
        if self.flip and torch.rand((), generator=rng).item() < 0.5:
            crop = crop.flip(-1)
        return crop

    def _picture(self, index: int) -> Tensor:
        cached = self._cache.get(index)
        if cached is not None:
            self._cache.move_to_end(index)
            return cached
        picture = self._read(self.paths[index])
        worker = get_worker_info()
        budget = self._cache_bytes // (1 if worker is None else worker.num_workers)
        if picture.nbytes <= budget:
            self._cache[index] = picture
            self._cached_bytes += picture.nbytes
            while self._cached_bytes > budget:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return picture

    def _read(self, path: Path) -> Tensor:
        """The picture ``(3, height, width)``, uint8, scaled; with masks, the mask below it."""
        image = read_image(path)
        pixels = image.pixels
        if self.masks:
            if image.alpha is None:
                raise UserError(
                    f"{path}: has no alpha channel, where data.face_masks looks for the mask of"
                    " the face; prepare the faces again, or remove it from the data"
                )
            pixels = np.concatenate([pixels, image.alpha[..., None]], axis=2)
        picture = _tensor(pixels)
        shorter, longer = sorted(picture.shape[1:])
        if longer > MOST_ELONGATED * shorter:
            raise UserError(
                f"{path}: {picture.shape[2]} × {picture.shape[1]} pixels are too elongated to take"
                " square crops from; remove it from the data"
            )
        fitting = (
            -(-shorter * crop // side)  # rounded up
            for side, crop in zip(picture.shape[1:], self.crop_size, strict=True)
        )
        wanted = max(self.load_size or shorter, *fitting)
        return picture if shorter == wanted else _scale(picture, wanted)


def expand_videos(
    paths: Sequence[Path],
    *,
    frames_per_video: int,
    load_size: int | None,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Replace each video by pictures of its frames, decoded once into the cache folder.

    Args:
        frames_per_video: at most so many, evenly spaced over the clip.
        load_size: frames whose shorter side is larger are scaled down to it before they are
            stored; ``None`` keeps the size.
    """
    pictures: list[Path] = []
    for path in paths:
        if kind_of(path) == "video":
            if progress is not None:
                progress(path)
            pictures += _frames(path, frames_per_video, load_size)
        else:
            pictures.append(path)
    return pictures


def _frames(path: Path, count: int, load_size: int | None) -> list[Path]:
    from cyclegan_media.media import VideoReader

    state = path.stat()
    key = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\0{count}\0{load_size}\0v1"
    folder = cache_folder() / "frames" / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    if not folder.is_dir():
        with VideoReader(path) as video:
            total = sum(1 for _ in video) if video.frame_count is None else video.frame_count
        wanted = {int((k + 0.5) * total / count) for k in range(count)}
        with atomic_directory(folder, overwrite=True) as partial, VideoReader(path) as video:
            for number, frame in enumerate(video):
                if number in wanted:
                    pixels = frame_picture(frame.pixels, load_size)
                    write_image(partial / f"{number:08d}.png", Image(pixels))
            if not any(partial.iterdir()):
                raise UserError(
                    f"{path}: no frame of this video could be decoded; remove it from the data"
                )
    return list_media(folder, "image")


def frame_picture(pixels: Pixels, load_size: int | None) -> NDArray[np.uint8]:
    """A frame as it is kept: 8 bits, and no larger than ``load_size`` on its shorter side."""
    picture = _tensor(pixels)
    if load_size is not None and min(picture.shape[1:]) > load_size:
        picture = _scale(picture, load_size)
    return picture.permute(1, 2, 0).numpy()


def _tensor(pixels: Pixels) -> Tensor:
    """``(height, width, channels)`` of 8 or 16 bits as ``(channels, height, width)`` of 8 bits."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous()


def _scale(picture: Tensor, shorter: int) -> Tensor:
    """Scale to this many pixels on the shorter side, keeping the aspect (bicubic, antialiased)."""
    now = min(picture.shape[1:])
    size = [max(shorter, round(side * shorter / now)) for side in picture.shape[1:]]
    return tvf.resize(picture, size, InterpolationMode.BICUBIC, antialias=True)
