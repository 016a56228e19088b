"""Recordings read and joined piece by piece, so that memory does not grow with their length."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media.audio import (
    CUT_SHORT,
    NOT_BY_SOUNDFILE,
    Samples,
    check_rate,
    choose_stream,
    decoded_blocks,
)
from cyclegan_media.media.kinds import check_input
from cyclegan_media.media.limits import max_samples
from cyclegan_media.media.opening import open_local

_BLOCK = 1 << 16
LEVEL_SECONDS = 0.02
_QUIET_FRAMES = 5
"""Levels that are averaged to find a quiet place, 0.1 s."""


class Levels(NamedTuple):
    """How loud a recording is."""

    sample_rate: int
    """Hz."""
    samples: int
    """Its length."""
    frame: int
    """Samples that each level is of."""
    power: Samples
    """``(frames,)``: mean square of the mix of all channels."""


def mono_blocks(path: str | os.PathLike[str], stream: int | None = None) -> Iterator[Samples]:
    """The mean of a recording's channels ``(n,)``, block by block.

    Args:
        stream: as of :func:`cyclegan_media.media.audio.read_audio`.

    Raises:
        UserError: it cannot be read, or holds values that are not finite.
    """
    path = check_input(path)
    for block in _blocks(path, stream):
        if not np.isfinite(block).all():
            raise UserError(f"{path}: has samples that are not finite; export it again")
        yield block.mean(axis=0)


def measure_levels(path: str | os.PathLike[str], stream: int | None = None) -> Levels | None:
    """Read a recording once; ``None`` where it cannot be read in this way.

    Then :func:`cyclegan_media.media.audio.read_audio` reads it in another, or says what is wrong.
    """
    import av

    path = check_input(path)
    powers: list[Samples] = []
    total = 0
    rest = np.empty(0, dtype=np.float32)
    try:
        rate = _rate(path, stream)
        frame = max(1, round(LEVEL_SECONDS * rate))
        for block in mono_blocks(path, stream):
            total += len(block)
            if total > max_samples(rate):
                return None
            rest = np.concatenate([rest, block])
            whole = len(rest) // frame * frame
            powers.append(np.square(rest[:whole]).reshape(-1, frame).mean(axis=1))
            rest = rest[whole:]
    except (CycleganMediaError, av.FFmpegError, OSError, ValueError, RuntimeError):
        return None  # libsndfile's errors are RuntimeErrors
    if len(rest):
        powers.append(np.square(rest).mean(keepdims=True))
    return Levels(rate, total, frame, np.concatenate(powers)) if total else None


def quiet_cuts(levels: Levels, seconds: float) -> list[int]:
    """Where sections of at most ``seconds`` begin and end, in samples: 0, …, the length.

    Each cut is at the quietest place of what the last third of a section may be.
    """
    longest = round(seconds * levels.sample_rate / levels.frame)
    kernel = np.ones(_QUIET_FRAMES) / _QUIET_FRAMES
    power = np.convolve(levels.power, kernel, mode="same")
    cuts = [0]
    while (left := len(power) - cuts[-1]) > longest:
        # What remains is a third of a section at least.
        latest = min(longest, left - longest // 3)
        earliest = latest * 2 // 3
        part = power[cuts[-1] + earliest : cuts[-1] + latest]
        cuts.append(cuts[-1] + earliest + int(part.argmin()))
    return [*(cut * levels.frame for cut in cuts), levels.samples]


def pieces(blocks: Iterable[Samples], bounds: Sequence[tuple[int, int]]) -> Iterator[Samples]:
    """Cut what comes in blocks into ``bounds``, which may overlap, in samples, in order."""
    source = iter(blocks)
    held, first = np.empty(0, dtype=np.float32), 0
    for start, stop in bounds:
        parts, length = [held[start - first :]], len(held) - (start - first)
        first = start
        while length < stop - start and (block := next(source, None)) is not None:
            parts.append(block)
            length += len(block)
        held = np.concatenate(parts)
        yield held[: stop - start].copy()


def join(parts: Iterable[Samples], overlap: int) -> Iterator[Samples]:
    """Parts that share ``overlap`` samples with the next, where one fades into the other."""
    rise = (np.arange(overlap, dtype=np.float32) + 0.5) / max(1, overlap)
    tail: Samples | None = None
    for part in parts:
        if tail is not None:
            head = rise * part[:overlap] + (1 - rise) * tail
            part = np.concatenate([head, part[overlap:]])
        tail = part[len(part) - overlap :]
        yield part[: len(part) - overlap]
    if tail is not None:
        yield tail


def _rate(path: Path, stream: int | None) -> int:
    import soundfile

    if _by_soundfile(path, stream):
        with soundfile.SoundFile(path) as file:
            if CUT_SHORT.search(file.extra_info):
                raise UserError(f"{path}: is cut short")
            return check_rate(path, file.samplerate)
    with open_local(path) as container:
        return check_rate(path, choose_stream(path, container, stream).codec_context.sample_rate)


def _blocks(path: Path, stream: int | None) -> Iterator[Samples]:
    """``(channels, n)``"""
    import soundfile

    if _by_soundfile(path, stream):
        with soundfile.SoundFile(path) as file:
            for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
                yield block.T
        return
    with open_local(path) as container:
        yield from decoded_blocks(path, container, choose_stream(path, container, stream))


def _by_soundfile(path: Path, stream: int | None) -> bool:
    import soundfile

    if stream is not None or path.suffix.lower() in NOT_BY_SOUNDFILE:
        return False
    try:
        soundfile.info(path)
    except soundfile.LibsndfileError:
        return False  # a format that it does not know
    return True
