"""Long recordings cut into utterances, where nobody speaks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.activity import find_speech

Stretch = tuple[float, float]
"""Start and end in seconds."""

_LEVEL_SECONDS = 0.02


def find_utterances(
    samples: NDArray[np.floating[Any]],
    sample_rate: int,
    *,
    shortest: float,
    longest: float,
    pause: float = 0.5,
    around: float = 0.1,
) -> list[Stretch]:
    """Utterances in a recording ``(n,)``: speech between pauses, of a length to train on.

    Stretches of speech that a pause shorter than ``pause`` parts are joined while they stay within
    ``longest``. What is longer by itself is cut where it is quietest, in the middle half of what
    is left. What is shorter than ``shortest`` is left out.

    Args:
        shortest, longest: seconds.
        around: seconds of background that each keeps before and after, where there are such.

    Raises:
        UserError: see :func:`find_speech`.
    """
    joined: list[Stretch] = []
    for start, stop in find_speech(samples, sample_rate):
        if joined and start - joined[-1][1] < pause and stop - joined[-1][0] <= longest:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    cut: list[Stretch] = []
    for stretch in joined:
        cut += _cut(samples, sample_rate, stretch, longest)
    kept = [(start, stop) for start, stop in cut if stop - start >= shortest]
    end = len(samples) / sample_rate
    wider: list[Stretch] = []
    for k, (start, stop) in enumerate(kept):
        # Never into what the neighbour says: half of the gap at most.
        before = kept[k - 1][1] if k else -around
        after = kept[k + 1][0] if k + 1 < len(kept) else end + around
        first = start - min(around, (start - before) / 2)
        last = stop + min(around, (after - stop) / 2)
        wider.append((max(0.0, first), min(end, last)))
    return wider


def _cut(
    samples: NDArray[np.floating[Any]], rate: int, stretch: Stretch, longest: float
) -> list[Stretch]:
    """Halves of halves, each no longer than ``longest``."""
    start, stop = stretch
    length = stop - start
    if length <= longest:
        return [stretch]
    hop = max(1, round(_LEVEL_SECONDS * rate))
    first, last = (round((start + part * length) * rate) for part in (0.25, 0.75))
    inner = np.asarray(samples[first:last], dtype=np.float64)
    count = max(1, len(inner) // hop)
    levels = np.square(inner[: count * hop].reshape(count, -1)).mean(axis=1)
    place = (first + (int(levels.argmin()) + 0.5) * hop) / rate
    return [
        *_cut(samples, rate, (start, place), longest),
        *_cut(samples, rate, (place, stop), longest),
    ]
