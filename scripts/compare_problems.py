"""The two problems that `compare_methods.py` compares on: photographs, a look, and tiles on disk.

*known*: photographs, and **other** photographs under a look that is a function of the picture, so
that the right answer to every translation is known. *monet*: a photograph and a painting of the
same cliffs, without a right answer.

A strip in the middle of each photograph, a quarter of its width, is for tests: nothing was trained
from there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from compare_look import painted
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.datasets.discover import Files
from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_directory
from cyclegan_media.media import (
    Image,
    VideoReader,
    kind_of,
    list_media,
    read_image,
    write_image,
)

SIDE = 64
"""Of a tile, in pixels."""
SHORTER = 208
"""What the shorter side of a photograph is scaled to, at most, before tiles are cut."""
FLAT = 0.08
"""Tiles whose lightness (0…1) deviates by less say nothing and are left out."""
TEST_SHARE = 0.25
_EXPOSURE = 0.45
FRAMES = 8
"""Taken from each video."""

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Reference data that may lie beside the checkout."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """One photograph, or frames of one video: it is on one side only."""

    name: str
    pictures: list[Picture]
    """``(height, width, 3)`` each."""


# --- photographs -------------------------------------------------------------------------------

_INSTALLED = {
    # package: its photographs, by path within it
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "sklearn": ("china.jpg", "flower.jpg"),
    "matplotlib": ("grace_hopper.jpg",),
}
_FOLDERS = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
}
_SIDE_A = ("etretat", "nasa_13013", "astronaut", "coffee", "flower")
"""Of the photographs at hand; each side has skies, skin, dark and bright. The others are B's."""


def photographs(folder: Path | None) -> tuple[list[Path], list[Path]]:
    """Pictures and videos for side A and side B.

    Args:
        folder: the user's own, dealt out by turns in the order of their names; ``None`` for those
            beside the checkout and those that installed libraries bring.

    Raises:
        UserError: fewer than two are found.
    """
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of photographs")
        found = [*list_media(folder, "image"), *list_media(folder, "video")]
        sides = found[::2], found[1::2]
        where = str(folder)
    else:
        wanted = [SHARED / "images" / "etretat.jpg", SHARED / "video" / "nasa_13013.mp4"]
        found = [path for path in [*wanted, *_installed()] if path.is_file()]
        sides = (
            [path for path in found if path.stem in _SIDE_A],
            [path for path in found if path.stem not in _SIDE_A],
        )
        where = str(SHARED)
    if not all(sides):
        raise UserError(
            f"{where}: holds too few photographs to compare methods on; name a folder with two or"
            " more of your own by --photos"
        )
    return sides


def _installed() -> list[Path]:
    paths = []
    for package, names in _INSTALLED.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            paths += [Path(spec.origin).parent / _FOLDERS[package] / name for name in names]
    return paths


def read_source(path: Path) -> Source:
    """A photograph, or frames of a video evenly spaced, scaled to 256 pixels or less."""
    if kind_of(path) == "video":
        with VideoReader(path) as video:
            frames = [np.asarray(frame.pixels) for frame in video]
        pictures = [frames[k * len(frames) // FRAMES] for k in range(FRAMES)]
    else:
        pictures = [read_image(path).pixels]
    return Source(path.name, [_shrunk(picture) for picture in pictures])


def _shrunk(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Picture:
    picture = _tensor(pixels)[None]
    shorter = min(picture.shape[2:])
    if shorter > SHORTER:
        size = [round(side * SHORTER / shorter) for side in picture.shape[2:]]
        picture = F.interpolate(picture, size, mode="bicubic", antialias=True)
    return as_pixels(picture)[0]


def _tensor(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Tensor:
    peak = np.iinfo(pixels.dtype).max
    values = torch.from_numpy(pixels[..., :3].astype(np.float32) / peak)
    return values.permute(2, 0, 1) * 2 - 1


def as_tensor(pictures: Iterable[Picture]) -> Tensor:
    """Pictures of one size as ``(n, 3, height, width)`` in −1…1."""
    return torch.stack([_tensor(picture) for picture in pictures])


def as_pixels(pictures: Tensor) -> list[Picture]:
    """The inverse of :func:`as_tensor`, rounded to 8 bits."""
    levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
    return list(levels.permute(0, 2, 3, 1).numpy())


# --- tiles -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiles:
    """A problem as folders of tiles: ``trainA``, ``trainB``, ``testA``, ``testB``, and where the
    truth is known ``truthA2B`` and ``truthB2A``, named as what they are the truth of."""

    name: str
    """``known`` or ``monet``."""
    folder: Path
    sources: dict[str, list[str]]
    """Names of the photographs by domain."""

    def files(self) -> Files:
        """For the trainer, which holds nothing out: it is to be given no test tile."""
        return Files(self._list("trainA"), self._list("trainB"), [], [])

    def pictures(self, part: str) -> Tensor:
        """``(n, 3, 64, 64)`` in −1…1."""
        return as_tensor(read_image(path).pixels for path in self._list(part))  # type: ignore[misc]

    @cached_property
    def digest(self) -> str:
        """Changes with any pixel."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(self.folder.rglob("*.png")):
            digest.update(path.relative_to(self.folder).as_posix().encode())
            digest.update(read_image(path).pixels.tobytes())
        return digest.hexdigest()

    def _list(self, part: str) -> list[Path]:
        return list_media(self.folder / part, "image")


def known_problem(folder: Path, photos: Path | None, train: int, test: int) -> Tiles:
    """Photographs against other photographs under the look :func:`painted`.

    Args:
        folder: where the tiles go; replaced.
        train, test: tiles of each domain.

    Raises:
        UserError: too few photographs, or one cannot be read.
    """
    a, b = ([exposed(read_source(path)) for path in side] for side in photographs(photos))
    parts = {
        "trainA": cut(a, train, held_out=False),
        "testA": cut(a, test, held_out=True),
        "truthB2A": cut(b, test, held_out=True),
    }
    other = cut(b, train, held_out=False)
    parts["trainB"] = as_pixels(painted(as_tensor(other)))
    parts["truthA2B"] = as_pixels(painted(as_tensor(parts["testA"])))
    parts["testB"] = as_pixels(painted(as_tensor(parts["truthB2A"])))
    return _write("known", folder, parts, {"a": a, "b": b})


def monet_problem(folder: Path, train: int, test: int) -> Tiles:
    """A photograph of the cliffs of Étretat against Monet's painting of them.

    Raises:
        UserError: the two pictures are not beside the checkout.
    """
    paths = [SHARED / "images" / name for name in ("etretat.jpg", "monet.jpg")]
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"{path}: is missing; the problem 'monet' needs it: put the reference data there,"
                " or compare by --only known"
            )
    a, b = ([read_source(path)] for path in paths)
    parts = {
        "trainA": cut(a, train, held_out=False),
        "testA": cut(a, test, held_out=True),
        "trainB": cut(b, train, held_out=False),
        "testB": cut(b, test, held_out=True),
    }
    return _write("monet", folder, parts, {"a": a, "b": b})


def exposed(source: Source) -> Source:
    """With lightness brought to a mean of 0.45 by a power of 0.5 to 2, as a camera would.

    A handful of photographs differ in light and colour by chance; without this, that would be the
    greatest difference between the two domains.
    """
    pictures = []
    for picture in source.pictures:
        power = math.log(_EXPOSURE) / math.log(min(max(picture.mean() / 255, 0.01), 0.99))
        values = (picture / 255) ** min(max(power, 0.5), 2.0)
        pictures.append((values * 255).round().astype(np.uint8))
    return Source(source.name, pictures)


def cut(sources: list[Source], count: int, *, held_out: bool) -> list[Picture]:
    """Tiles at random places (always the same), as many of each source, half of them mirrored.

    Args:
        held_out: from the strip in the middle of each picture, or else from beside it.
    """
    random = np.random.default_rng(1 if held_out else 0)
    tiles = []
    for number, source in enumerate(sources):
        share = (number + 1) * count // len(sources) - number * count // len(sources)
        tiles += _tiles_of(source, share, held_out, random)
    return tiles


def regions(width: int, held_out: bool) -> list[tuple[int, int]]:
    """First and beyond-last columns of where tiles may lie in a picture so wide."""
    strip = max(SIDE + 1, round(TEST_SHARE * width))
    first = (width - strip) // 2
    last = first + strip
    return [(first, last)] if held_out else [(0, first), (last, width)]


def _tiles_of(
    source: Source, count: int, held_out: bool, random: np.random.Generator
) -> list[Picture]:
    tiles: list[Picture] = []
    for _ in range(50 * count):
        if len(tiles) == count:
            return tiles
        picture = source.pictures[random.integers(len(source.pictures))]
        height, width = picture.shape[:2]
        columns = [c for first, last in regions(width, held_out) for c in range(first, last - SIDE)]
        if not columns or height < SIDE:
            raise UserError(
                f"{source.name}: is too small to take tiles of {SIDE} pixels from, for training and"
                " tests apart; leave it out"
            )
        top, left = int(random.integers(height - SIDE + 1)), int(random.choice(columns))
        tile = picture[top : top + SIDE, left : left + SIDE]
        if tile.mean(2).std() / 255 >= FLAT:
            tiles.append(np.ascontiguousarray(tile[:, ::-1] if random.random() < 0.5 else tile))
    raise UserError(f"{source.name}: shows too little to take {count} tiles from; leave it out")


def _write(
    name: str, folder: Path, parts: dict[str, list[Picture]], sides: dict[str, list[Source]]
) -> Tiles:
    with atomic_directory(folder, overwrite=True) as partial:
        for part, tiles in parts.items():
            (partial / part).mkdir()
            for number, tile in enumerate(tiles):
                write_image(partial / part / f"{number:04d}.png", Image(tile))
    return Tiles(name, folder, {side: [source.name for source in sides[side]] for side in sides})
