"""The file that a video is written to: how it is opened, what its format can hold, its tags."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.format import ContainerFormat, Flags

from cyclegan_media.errors import UserError, from_os_error

_ISO = ("mp4", "mov", "ipod", "3gp", "3g2")
_MATROSKA = ("matroska", "webm")
_BEFORE_ZERO: int = Flags.ts_negative.value  # type: ignore[assignment]
_ANY_RATE: int = Flags.variable_fps.value  # type: ignore[assignment]
_WITHOUT_TAGS = ("mpegts", "mpeg")
_WITHOUT_ASPECT = ("vp8", "vp9", "av1")
_FINEST_UNIT = 2**31 - 1
"""Of a second, that FFmpeg writes into MP4."""
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_CLASSIC_TAGS = frozenset(
    {
        *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
        *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
        *("network", "keywords", "creation_time", "track", "disc"),
    }
)
"""Tags that MP4 has places of their own for, which all players read."""


class OutputFile(io.FileIO):
    """A file whose ``write`` writes all, or raises: what FFmpeg expects of it."""

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        return len(data)


def open_output(path: str | os.PathLike[str], name: Path) -> tuple[OutputFile, OutputContainer]:
    """Open a file and the container of its suffix.

    The file is Python's, not FFmpeg's: errors then keep their ``errno``, and a container whose
    file is closed does not try to finish it.

    Args:
        name: what messages call the file.

    Raises:
        UserError: it cannot be written, or its suffix names no format.
    """
    try:
        file = OutputFile(path, "w")
    except OSError as error:
        raise from_os_error(error, name, "opening it for writing") from error
    try:
        return file, av.open(file, "w", metadata_errors="replace")
    except ValueError as error:
        file.close()
        raise UserError(
            f"{name}: {name.suffix or 'a name without suffix'} names no format that videos are"
            " written in; use .mp4, .mkv or .webm"
        ) from error


class Abilities:
    """What a container format keeps."""

    def __init__(self, form: ContainerFormat) -> None:
        self.is_iso = form.name in _ISO
        """Whether it is MP4 or a relative."""
        self.any_rate = self.is_iso or bool(form.flags & _ANY_RATE)
        """Whether frames are shown at any times, rather than at one rate."""
        self.turns = form.name in (*_ISO, *_MATROSKA)
        """Whether a display matrix is kept."""
        self.tags = form.name not in _WITHOUT_TAGS
        """Whether a comment is kept."""
        self.before_zero = bool(form.flags & _BEFORE_ZERO)
        """Whether times before 0 are; else all tracks are moved to begin later."""
        self.skips = self.before_zero or form.name in _MATROSKA
        """Whether sound that only gets an encoder going has a place of its own."""

    def keeps_aspect(self, codec: str) -> bool:
        """Whether a pixel aspect is kept beside a stream of this codec."""
        return self.is_iso or codec not in _WITHOUT_ASPECT


def merged_tags(tags: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The tags of a file made from one with ``tags``; both texts where a name is in both."""
    merged = {key: text for key, text in tags.items() if key.lower() not in _OF_THE_FILE}
    for name, text in added.items():
        # Matroska's names are in capitals.
        key = next((known for known in merged if known.lower() == name.lower()), name)
        merged[key] = f"{merged[key]}\n{text}" if merged.get(key) else text
    return merged


def mp4_options(
    tags: Iterable[str], time_base: Fraction, sample_rate: int | None = None
) -> dict[str, str]:
    """FFmpeg's options for a file with tags of these names and a video with this time base.

    Args:
        sample_rate: of sound that is encoded for it.
    """
    flags = "+faststart"  # the index first, so that playing can begin while it loads
    if not {name.lower() for name in tags} <= _CLASSIC_TAGS:
        flags += "+use_metadata_tags"
    # A track that begins late is stored with its delay in a unit of the file's own, milliseconds
    # unless told otherwise.
    unit = time_base.denominator
    unit = unit if 1000 <= unit <= 10**6 else 90000
    if sample_rate is not None:
        both = math.lcm(unit, sample_rate)
        unit = both if both <= _FINEST_UNIT else unit
    return {"movflags": flags, "movie_timescale": str(unit)}


def shifted_chapters(chapters: Iterable[Any], origin: Fraction) -> list[Any]:
    """Chapters with ``origin`` seconds taken from their times."""
    shifted = []
    for chapter in chapters:
        offset = round(origin / chapter["time_base"])
        times = {key: chapter[key] - offset for key in ("start", "end")}
        shifted.append({**chapter, **times})
    return shifted
