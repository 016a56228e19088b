"""Made-up photographs for the tests of the comparison of methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photograph(seed: int, height: int = 208, width: int = 240) -> np.ndarray:
    """Blots of light and colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC))


def write_photographs(folder: Path) -> Path:
    """Four of them."""
    for number in range(4):
        Image.fromarray(photograph(number)).save(folder / f"photo-{number}.png")
    return folder
