"""Draw an unpaired problem that has no single answer: grey scenes, and scenes of one hue each.

    python scripts/make_hue_scenes.py data/hue

Domain A shows made-up scenes in greys, domain B other scenes in shades of a hue that is drawn for
each picture. What a picture of B has that one of A does not tell is one number: the hue.
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from cyclegan_media.demo.scenes import still
from cyclegan_media.errors import CycleganMediaError
from cyclegan_media.files import atomic_directory

SIZE = (72, 72)
HELD_OUT = 16


def grey(seed: int) -> NDArray[np.floating[Any]]:
    """Luma (BT.601) of the scene of ``seed``, ``(height, width)`` in 0…1."""
    values: NDArray[np.floating[Any]] = still(seed, "a", SIZE) @ np.array([0.299, 0.587, 0.114])
    return values / 255


def tinted(luma: NDArray[np.floating[Any]], hue: float) -> NDArray[np.floating[Any]]:
    """From black over the colour of ``hue`` (0…1) to white: ``(height, width, 3)`` in 0…1."""
    colour = np.array(colorsys.hsv_to_rgb(hue, 0.8, 0.9))
    dark, light = 2 * luma[..., None] * colour, colour + (2 * luma[..., None] - 1) * (1 - colour)
    return np.where(luma[..., None] < 0.5, dark, light)


def hue_of(seed: int) -> float:
    """The hue that the scene of ``seed`` has in domain B."""
    return float(np.random.default_rng(seed).random())


def write(folder: Path, seeds: Iterable[int], coloured: bool) -> None:
    folder.mkdir(parents=True)
    for seed in seeds:
        luma = grey(seed)
        values = tinted(luma, hue_of(seed)) if coloured else np.stack([luma] * 3, -1)
        pixels = (values * 255).round().astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"scene_{seed:05d}.png")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="for trainA, trainB, testA and testB")
    parser.add_argument("--pictures", type=int, default=200, help="a domain (default: 200)")
    args = parser.parse_args(arguments)
    count = args.pictures
    try:
        with atomic_directory(args.folder) as partial:
            write(partial / "trainA", range(count), False)
            write(partial / "trainB", range(count, 2 * count), True)
            write(partial / "testA", range(2 * count, 2 * count + HELD_OUT), False)
            write(partial / "testB", range(2 * count + HELD_OUT, 2 * count + 2 * HELD_OUT), True)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
