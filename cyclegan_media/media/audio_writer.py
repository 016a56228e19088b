"""Arrays → recordings: soundfile where it knows the format, PyAV for the rest."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_file
from cyclegan_media.media.audio import Samples, resample
from cyclegan_media.media.provenance import Provenance, comment_with

logger = logging.getLogger("cyclegan_media")

_SOUNDFILE = {
    # suffix: libsndfile's format and coding
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".aif": ("AIFF", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
}
_PYAV = {
    # suffix: container, codec, bits per second and channel
    ".mp3": ("mp3", "libmp3lame", 96_000),
    ".m4a": ("ipod", "aac", 96_000),
    ".aac": ("adts", "aac", 96_000),
    ".opus": ("opus", "libopus", 64_000),
    ".mka": ("matroska", "flac", 0),
}
_WITHOUT_TAGS = (".au", ".w64")
_SOUNDFILE_TAGS = (
    *("title", "copyright", "software", "artist", "comment", "date", "album", "license"),
    *("tracknumber", "genre"),
)
"""Those that libsndfile writes, which are also its attributes' names."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_MAX_VORBIS_RATE = 200_000
"""Hz; libsndfile crashes beyond."""
_BLOCK = 1 << 16
"""Samples written or encoded at a time; libsndfile's Vorbis overflows its stack on long ones."""


def write_audio(
    path: str | os.PathLike[str],
    samples: NDArray[Any],
    sample_rate: int,
    overwrite: bool = False,
    *,
    tags: Mapping[str, str] | None = None,
    provenance: Sequence[Provenance] = (),
) -> Path:
    """Write a recording in the format of the path's suffix; the file is complete or absent.

    WAV, FLAC, AIFF, AU, CAF and W64 hold 16 bits. A recording beyond −1…1 is scaled down as a
    whole until it fits, with a message: nothing is clipped.

    Args:
        samples: ``(channels, n)`` or ``(n,)``, float, −1…1.
        sample_rate: Hz. A codec that lacks it (MP3, Opus) gets the next higher one that it has.
        tags: title, artist and the like, as :func:`cyclegan_media.media.audio.read_tags` gives
            them; those that the format knows are written.
        provenance: what is to be said of its making, in the comment; in formats without one (AU,
            W64) a message says that it is not.

    Raises:
        UserError: unknown suffix, a number of channels or a rate that the format cannot hold, no
            samples or values that are not finite, ``path`` exists and ``overwrite`` is false, or
            it cannot be written.
        RunError: the disk is full.
    """
    path = Path(path)
    check_audio_output(path)
    samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if samples.ndim != 2 or samples.size == 0:
        raise UserError(f"{path}: needs samples shaped (channels, n), not {samples.shape}")
    if sample_rate < 1:
        raise UserError(f"{path}: a sample rate of {sample_rate} Hz cannot be written")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: has samples that are not finite; nothing is written")
    samples = _within_range(samples, path)
    written = _tags_of(path, tags, provenance)
    samples, sample_rate = _at_known_rate(path, samples, sample_rate)
    with atomic_file(path, overwrite=overwrite) as partial:
        # Into memory first, so that what fails there is known to be no fault of the disk.
        encoded = io.BytesIO()
        _encode(path, encoded, [samples], len(samples), sample_rate, written)
        with open(partial, "wb") as file:
            file.write(encoded.getbuffer())
    return path


def write_audio_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[Samples],
    sample_rate: int,
    overwrite: bool = False,
    *,
    tags: Mapping[str, str] | None = None,
    provenance: Sequence[Provenance] = (),
) -> Path:
    """As :func:`write_audio`, of one channel that comes in blocks; memory holds one of them.

    All of it is in memory where a codec lacks the rate (MP3, Opus), and another has to be found.

    Args:
        blocks: ``(n,)`` each, within −1…1, finite.

    Raises:
        UserError: unknown suffix, a rate that the format cannot hold, ``path`` exists and
            ``overwrite`` is false, or it cannot be written.
        RunError: the disk is full.
    """
    path = Path(path)
    check_audio_output(path)
    if _known_rate(path, sample_rate) != sample_rate:
        samples = np.concatenate(list(blocks))
        return write_audio(path, samples, sample_rate, overwrite, tags=tags, provenance=provenance)
    written = _tags_of(path, tags, provenance)
    with atomic_file(path, overwrite=overwrite) as partial, open(partial, "wb+") as file:
        watched = _Watched(file)
        try:
            _encode(path, watched, (block[None] for block in blocks), 1, sample_rate, written)
        except (AssertionError, UserError):  # libsndfile does not pass on what the disk says
            if watched.error is not None:
                raise watched.error from None
            raise
        if watched.error is not None:
            raise watched.error
    return path


class _Watched:
    """A file that remembers what went wrong, since libsndfile forgets it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None
        self.tell, self.read = file.tell, file.read

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            return 0

    def seek(self, place: int, whence: int = 0) -> int:
        try:
            return self._file.seek(place, whence)  # writes what is held back
        except OSError as error:
            self.error = error
            return -1


def check_audio_output(path: str | os.PathLike[str]) -> None:
    """Check that recordings can be written under this name.

    Raises:
        UserError: its suffix names no format that recordings are written in.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SOUNDFILE and suffix not in _PYAV:
        shown = repr(suffix) if suffix else "a file without a suffix"
        known = ", ".join([*_SOUNDFILE, *_PYAV])
        raise UserError(f"{path}: cannot write a recording as {shown}; use one of {known}")


def _within_range(samples: Samples, path: Path) -> Samples:
    peak = float(np.abs(samples).max())
    if peak <= 1:
        return samples
    logger.warning(
        "%s: the peak is %.2f; the recording is made %.1f dB quieter so that nothing clips",
        path,
        peak,
        20 * np.log10(peak),
    )
    return samples / np.float32(peak)


def _tags_of(
    path: Path, tags: Mapping[str, str] | None, provenance: Sequence[Provenance]
) -> dict[str, str]:
    """What is written, with what is to be said of the making."""
    written = dict(tags or {})
    if provenance:
        written["comment"] = comment_with(provenance, written.get("comment", ""))
    if path.suffix.lower() in _WITHOUT_TAGS:
        written = {}
        if provenance:
            logger.warning(
                "%s: this format has no place to say that the recording is synthetic; .wav has",
                path,
            )
    return written


def _known_rate(path: Path, rate: int) -> int:
    """The rate, or the next higher one that the format's codec has."""
    if path.suffix.lower() in _SOUNDFILE:
        return rate
    import av

    rates = sorted(av.Codec(_PYAV[path.suffix.lower()][1], "w").audio_rates or [])
    if not rates or rate in rates:
        return rate
    return next((known for known in rates if known >= rate), rates[-1])


def _at_known_rate(path: Path, samples: Samples, rate: int) -> tuple[Samples, int]:
    new_rate = _known_rate(path, rate)
    if new_rate == rate:
        return samples, rate
    return _within_range(resample(samples, rate, new_rate), path), new_rate


def _encode(
    path: Path,
    file: Any,
    parts: Iterable[Samples],
    channels: int,
    rate: int,
    tags: Mapping[str, str],
) -> None:
    """Encode parts ``(channels, n)`` into an open file, in the format of the path's suffix."""
    blocks = (
        part[:, start : start + _BLOCK]
        for part in parts
        for start in range(0, part.shape[1], _BLOCK)
    )
    encode = _by_soundfile if path.suffix.lower() in _SOUNDFILE else _by_pyav
    encode(path, file, blocks, channels, rate, tags)


def _by_soundfile(
    path: Path,
    encoded: Any,
    blocks: Iterable[Samples],
    channels: int,
    rate: int,
    tags: Mapping[str, str],
) -> None:
    import soundfile

    container, coding = _SOUNDFILE[path.suffix.lower()]
    if coding == "VORBIS" and rate > _MAX_VORBIS_RATE:
        raise UserError(f"{path}: {rate} Hz cannot be written as OGG; use .flac")
    try:
        with soundfile.SoundFile(encoded, "w", rate, channels, coding, format=container) as file:
            for name, text in tags.items():
                if name in _SOUNDFILE_TAGS:
                    setattr(file, name, text)
            for block in blocks:
                file.write(block.T)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: {channels} channels at {rate} Hz cannot be written as {container}:"
            f" {str(error.error_string).rstrip('.').lower()}"
        ) from error


def _by_pyav(
    path: Path,
    encoded: Any,
    blocks: Iterable[Samples],
    channels: int,
    rate: int,
    tags: Mapping[str, str],
) -> None:
    import av

    container_name, codec, bit_rate = _PYAV[path.suffix.lower()]
    layout = _LAYOUTS.get(channels)
    if layout is None:
        raise UserError(f"{path}: {channels} channels cannot be written here; use .wav or .flac")
    try:
        # ADTS has no tags of its own: they stand before it, as they do in MP3.
        options = {"write_id3v2": "1"} if container_name == "adts" and tags else {}
        with av.open(encoded, "w", format=container_name, options=options) as container:
            container.metadata.update(tags)
            stream = container.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            if bit_rate:
                stream.bit_rate = bit_rate * channels
            place = 0
            for block in blocks:
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(block), format="fltp", layout=layout
                )
                frame.sample_rate, frame.pts = rate, place
                place += block.shape[1]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path}: {channels} channels at {rate} Hz cannot be written as {container_name}:"
            f" {reason}"
        ) from error
