"""How recordings are read for analysis; free of torch, since analysing processes import it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.media.audio import read_audio


def read_samples(path: Path, sample_rate: int) -> NDArray[np.floating[Any]]:
    """The best audio stream of a file, mixed to mono, ``(n,)`` in −1…1 at ``sample_rate``."""
    return read_audio(path, sample_rate=sample_rate, mono=True).samples[0]
