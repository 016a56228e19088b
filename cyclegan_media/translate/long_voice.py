"""A long recording converted section by section, so that memory does not grow with its length."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.media.audio_blocks import Levels, join, mono_blocks, pieces, quiet_cuts
from cyclegan_media.speech.statistics import ACTIVE_RANGE_DB

Samples = NDArray[np.float32]
Convert = Callable[[Samples, float], Samples]
"""Converts ``(n,)``, where frames within so many dB of its loudest are speech; below 0, none is."""

WHOLE_SECONDS = 30.0
"""What is no longer is converted at once."""
_SECTION_SECONDS = 20.0
_CONTEXT_SECONDS = 0.5
"""Of the neighbours on both sides, which a section is converted with; it is cut off again."""
_FADE_SECONDS = 0.02
"""From one section to the next, at a quiet place."""


def convert_sections(
    convert: Convert,
    source: str | os.PathLike[str],
    levels: Levels,
    stream: int | None = None,
) -> Iterator[Samples]:
    """Blocks ``(n,)`` of the converted recording, as many samples as it has in all.

    What is speech is judged by the loudest place of the whole recording: a section with nothing
    within 30 dB of that is a pause.

    Args:
        levels: of ``source``, by :func:`cyclegan_media.media.audio_blocks.measure_levels`.
        stream: of its sound.
    """
    cuts = quiet_cuts(levels, _SECTION_SECONDS)
    context = round(_CONTEXT_SECONDS * levels.sample_rate)
    half = round(_FADE_SECONDS / 2 * levels.sample_rate)
    sections = list(pairwise(cuts))
    bounds = [
        (max(0, start - context), min(levels.samples, stop + context)) for start, stop in sections
    ]

    def converted() -> Iterator[Samples]:
        read = pieces(mono_blocks(source, stream), bounds)
        for (start, stop), (left, _), piece in zip(sections, bounds, read, strict=True):
            range_db = ACTIVE_RANGE_DB - _below_loudest(levels, start, stop)
            out = convert(piece, range_db)
            first = max(0, start - half)
            yield out[first - left : min(levels.samples, stop + half) - left]

    return join(converted(), 2 * half)


def _below_loudest(levels: Levels, start: int, stop: int) -> float:
    """dB by which a section's loudest place is below the recording's."""
    section = levels.power[start // levels.frame : -(-stop // levels.frame)].max()
    loudest = levels.power.max()
    return float(10 * np.log10(loudest / section)) if section > 0 else np.inf
