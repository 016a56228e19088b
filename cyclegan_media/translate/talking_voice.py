"""The voice in the sound of a clip, converted; what is no speech stays as it was."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.media.sound_track import Block, NewSound, SoundReader
from cyclegan_media.speech import limit
from cyclegan_media.speech.activity import measure_activity, speech_of
from cyclegan_media.translate.options import Options

if TYPE_CHECKING:
    from cyclegan_media.translate.translator import Translator

logger = logging.getLogger("cyclegan_media")

Samples = NDArray[np.float32]

_FADE_SECONDS = 0.02
"""From the original sound to the new voice and back."""
_PART_SECONDS = 60.0
"""Of what is converted at once, where there are pauses to cut it at."""


def convert_sound(
    voice: Translator,
    source: str | os.PathLike[str],
    options: Options | None = None,
    *,
    stream: int | None = None,
    gate: bool = True,
) -> NewSound | None:
    """Convert the voice in a clip, to take the place of its sound.

    All channels are mixed to one (their mean), which is converted, and the new voice is laid into
    each channel at the level that the old one has there (the factor by which the mix comes nearest
    to the channel while somebody speaks).

    With a gate, only what :mod:`cyclegan_media.speech.activity` takes for speech goes through the
    model. Between the stretches of speech the original samples stay; the change from one to the
    other takes 20 ms. Background under speech is not kept: it is part of what is converted.

    Returns:
        The new sound; ``None`` where a gate finds no speech at all, which is logged.

    Raises:
        UserError: the clip has no such sound, or it is too long.
        RunError: the sound is damaged.
    """
    reader = SoundReader(source, stream)
    rate = reader.sample_rate
    track = _mixed(reader)
    if not len(track):
        raise UserError(f"{source}: holds no sound that can be decoded")
    seconds = speech_of(measure_activity([track], rate), len(track) / rate)
    stretches = [(round(start * rate), round(stop * rate)) for start, stop in seconds]
    if gate and not stretches:
        logger.warning("%s: no speech is found; its sound stays as it is", source)
        return None
    fades = _Fades([(0, len(track))], 0)
    if gate:
        fades = _Fades(stretches, round(_FADE_SECONDS * rate))
    gains = _gains(reader, fades)
    loudest = np.float32(max(1.0, float(np.abs(gains).max())))
    longest = round(_PART_SECONDS * rate)
    for start, stop in parts_of(stretches, longest, None if gate else len(track)):
        part = track[start:stop] * fades.weights(start, stop - start)
        converted = voice.convert_samples(part, rate, options or Options())
        track[start:stop] = limit(converted * loudest, rate) / loudest

    def change(block: Block) -> Samples:
        length = block.samples.shape[1]
        new = np.zeros(length, dtype=np.float32)
        there = track[block.number : block.number + length]
        new[: len(there)] = there
        share = fades.weights(block.number, length)
        return (1 - share) * block.samples + share * (gains[:, None] * new)

    return NewSound(reader.stream, rate, change)


def parts_of(
    stretches: Sequence[tuple[int, int]], longest: int, total: int | None = None
) -> list[tuple[int, int]]:
    """Starts and stops of what is converted at once: stretches that lie within ``longest``.

    So memory does not grow with what converting takes. A single longer stretch is a part.

    Args:
        stretches: of speech, in order.
        total: of samples, where the parts are to cover all; they then meet in the middle of pauses.
    """
    parts: list[tuple[int, int]] = []
    for start, stop in stretches:
        if parts and stop - parts[-1][0] <= longest:
            parts[-1] = (parts[-1][0], stop)
        else:
            parts.append((start, stop))
    if total is None:
        return parts
    cuts = [(stop + start) // 2 for (_, stop), (start, _) in pairwise(parts)]
    return list(pairwise([0, *cuts, total]))


def _mixed(reader: SoundReader) -> Samples:
    """``(n,)``: the mean of the channels."""
    blocks = deque(_mix(block) for block in reader)
    track = np.empty(sum(map(len, blocks)), dtype=np.float32)
    place = 0
    while blocks:  # each is freed as it is copied, so that memory holds the track once
        block = blocks.popleft()
        track[place : place + len(block)] = block
        place += len(block)
    return track


def _mix(block: Block) -> Samples:
    return block.samples.mean(axis=0, dtype=np.float32)


def _gains(reader: SoundReader, fades: _Fades) -> Samples:
    """``(channels,)``: the factors by which the mix comes nearest to each channel, where speech is.

    By least squares, ⟨channel, mix⟩ / ⟨mix, mix⟩; another pass through the sound.
    """
    if reader.channels == 1:
        return np.ones(1, dtype=np.float32)
    products, square = np.zeros(reader.channels), 0.0
    for block in reader:
        share = fades.weights(block.number, block.samples.shape[1])
        mixed = (_mix(block) * share).astype(np.float64)
        products += (block.samples * share) @ mixed
        square += float(mixed @ mixed)
    if square == 0:
        return np.ones(reader.channels, dtype=np.float32)
    return (products / square).astype(np.float32)


class _Fades:
    """The share of the new voice at each sample: 1 in stretches, rising and falling at their ends.

    The slopes are those of a raised cosine, and lie within the stretches.
    """

    def __init__(self, stretches: Sequence[tuple[int, int]], length: int) -> None:
        self._stretches, self._length = stretches, length
        self._stops = [stop for _, stop in stretches]

    def weights(self, start: int, count: int) -> Samples:
        """``(count,)``, 0…1, from sample ``start``."""
        share = np.zeros(count, dtype=np.float32)
        for first, last in self._stretches[bisect_right(self._stops, start) :]:
            left, right = max(first, start), min(last, start + count)
            if left >= right:
                break
            place = np.arange(left, right)
            # From the middle of a sample to the nearer end of the stretch.
            inside = np.minimum(place - first, last - 1 - place) + 0.5
            part = np.clip(inside / self._length, 0, 1) if self._length else np.ones(right - left)
            share[left - start : right - start] = 0.5 - 0.5 * np.cos(np.pi * part)
        return share
