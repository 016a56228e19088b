"""Recordings ↔ arrays: soundfile where it knows the format, PyAV for the rest and for videos."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import CycleganMediaError, RunError, UserError, from_os_error
from cyclegan_media.files import atomic_file
from cyclegan_media.media.kinds import check_input, kind_of

if TYPE_CHECKING:
    import av

logger = logging.getLogger("cyclegan_media")

Samples = NDArray[np.float32]

DEFAULT_MAX_HOURS = 6.0
MAX_HOURS_VARIABLE = "CYCLEGAN_MEDIA_MAX_HOURS"
"""Environment variable that raises the limit on the length of recordings held in memory."""

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
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_BLOCK = 1 << 16
"""Samples written or encoded at a time; libsndfile's Vorbis overflows its stack on long ones."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording in memory."""

    samples: Samples
    """``(channels, n)``, nominally −1…1."""
    sample_rate: int
    """Hz."""


def read_audio(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    stream: int | None = None,
) -> Audio:
    """Read a recording, or the sound of a video.

    Args:
        sample_rate: resample to this many Hz; ``None`` keeps the file's.
        mono: mix all channels into one (their mean).
        stream: which of the file's streams, as ``cyclegan-media info`` numbers them; ``None``
            for the one that players would choose.

    Raises:
        UserError: missing, empty, damaged, without sound, longer than the limit
            (``$CYCLEGAN_MEDIA_MAX_HOURS``, else 6), or holding values that are not finite.
    """
    path = check_input(path)
    try:
        audio = None
        if stream is None and kind_of(path) != "video":
            audio = _read_by_soundfile(path)
        if audio is None:
            audio = _read_by_pyav(path, stream)
    except MemoryError as error:
        raise RunError(f"{path}: not enough memory for a recording of this length") from error
    samples = audio.samples
    if samples.size == 0:
        raise UserError(f"{path}: holds no sound (0 samples)")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: has samples that are not finite; export it again")
    if mono:
        samples = samples.mean(axis=0, keepdims=True)
    if sample_rate is not None:
        samples = resample(samples, audio.sample_rate, sample_rate)
    return Audio(np.ascontiguousarray(samples), sample_rate or audio.sample_rate)


def write_audio(
    path: str | os.PathLike[str],
    samples: NDArray[Any],
    sample_rate: int,
    overwrite: bool = False,
) -> Path:
    """Write a recording in the format of the path's suffix; the file is complete or absent.

    WAV, FLAC, AIFF, AU, CAF and W64 hold 16 bits. A recording beyond −1…1 is scaled down as a
    whole until it fits, with a message: nothing is clipped.

    Args:
        samples: ``(channels, n)`` or ``(n,)``, float, −1…1.
        sample_rate: Hz. A codec that lacks it (MP3, Opus) gets the next higher one that it has.

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
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: has samples that are not finite; nothing is written")
    samples = _within_range(samples, path)
    with atomic_file(path, overwrite=overwrite) as partial:
        if path.suffix.lower() in _SOUNDFILE:
            _write_by_soundfile(partial, path, samples, sample_rate)
        else:
            _write_by_pyav(partial, path, samples, sample_rate)
    return path


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


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """``(channels, n)`` at ``rate`` Hz to ``(channels, ⌈n · new_rate / rate⌉)`` at ``new_rate``.

    Windowed sinc interpolation with a Kaiser window, 64 zero crossings wide.
    """
    if rate == new_rate:
        return samples
    import torch
    import torchaudio.functional

    # A ratio of large numbers (44101 : 16000) would need a filter of gigabytes; the nearest ratio
    # of small ones is off by less than one sample in a million.
    ratio = Fraction(new_rate, rate).limit_denominator(2000)
    resampled = torchaudio.functional.resample(
        torch.from_numpy(np.ascontiguousarray(samples)),
        ratio.denominator,
        ratio.numerator,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    ).numpy()
    wanted = -(-samples.shape[1] * new_rate // rate)
    missing = max(0, wanted - resampled.shape[1])
    return np.pad(resampled, ((0, 0), (0, missing)))[:, :wanted]


def _max_samples(rate: int) -> int:
    text = os.environ.get(MAX_HOURS_VARIABLE)
    try:
        hours = DEFAULT_MAX_HOURS if text is None else float(text)
    except ValueError as error:
        raise UserError(f"{MAX_HOURS_VARIABLE}: {text!r} is not a number") from error
    return int(hours * 3600 * rate)


def _refuse_length(path: Path) -> UserError:
    return UserError(
        f"{path}: is longer than recordings may be; cut it, or raise the limit by the environment"
        f" variable {MAX_HOURS_VARIABLE} (hours)"
    )


def _read_by_soundfile(path: Path) -> Audio | None:
    """``None`` where libsndfile does not know the format, or cannot make sense of the file."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > _max_samples(file.samplerate):
                raise _refuse_length(path)
            samples = file.read(dtype="float32", always_2d=True)
            return Audio(samples.T, file.samplerate)
    except soundfile.LibsndfileError:
        return None


def _read_by_pyav(path: Path, stream: int | None) -> Audio:
    import av

    try:
        with av.open(str(path)) as container:
            source = _choose_stream(path, container, stream)
            rate = source.codec_context.sample_rate
            blocks = list(_decoded(path, container, source))
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: is damaged or not a recording ({reason})") from error
    if not blocks:
        raise UserError(f"{path}: holds no sound that can be decoded")
    return Audio(np.concatenate(blocks, axis=1), rate)


def _choose_stream(
    path: Path, container: av.container.InputContainer, stream: int | None
) -> av.AudioStream:
    if not container.streams.audio:
        raise UserError(f"{path}: holds no sound")
    if stream is None:
        best = container.streams.best("audio")
        return best or container.streams.audio[0]  # type: ignore[return-value]
    for candidate in container.streams.audio:
        if candidate.index == stream:
            return candidate
    numbers = ", ".join(str(candidate.index) for candidate in container.streams.audio)
    raise UserError(f"{path}: stream {stream} is not sound; the sound streams are: {numbers}")


def _decoded(
    path: Path, container: av.container.InputContainer, source: av.AudioStream
) -> Iterator[Samples]:
    """Blocks ``(channels, n)`` of the whole stream in one rate and layout."""
    import av

    rate = source.codec_context.sample_rate
    resampler = av.AudioResampler(format="fltp", layout=source.codec_context.layout, rate=rate)
    left = _max_samples(rate)
    for frame in container.decode(source):
        frame.pts = None  # gaps in the timestamps are no silence in the recording
        for part in resampler.resample(frame):
            left -= part.samples
            if left < 0:
                raise _refuse_length(path)
            yield np.asarray(part.to_ndarray(), dtype=np.float32)
    for part in resampler.resample(None):
        yield np.asarray(part.to_ndarray(), dtype=np.float32)


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


def _write_by_soundfile(partial: Path, path: Path, samples: Samples, rate: int) -> None:
    import soundfile

    container, coding = _SOUNDFILE[path.suffix.lower()]
    try:
        with soundfile.SoundFile(
            partial, "w", rate, len(samples), coding, format=container
        ) as file:
            for start in range(0, samples.shape[1], _BLOCK):
                file.write(samples[:, start : start + _BLOCK].T)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: {len(samples)} channels at {rate} Hz cannot be written as {container}:"
            f" {str(error.error_string).rstrip('.').lower()}"
        ) from error


def _write_by_pyav(partial: Path, path: Path, samples: Samples, rate: int) -> None:
    import av

    container_name, codec, bit_rate = _PYAV[path.suffix.lower()]
    layout = _LAYOUTS.get(len(samples))
    if layout is None:
        raise UserError(
            f"{path}: {len(samples)} channels cannot be written here; use .wav or .flac"
        )
    rates = sorted(av.Codec(codec, "w").audio_rates or [])
    if rates and rate not in rates:
        new_rate = next((known for known in rates if known >= rate), rates[-1])
        samples, rate = resample(samples, rate, new_rate), new_rate
        samples = _within_range(samples, path)
    try:
        with av.open(str(partial), "w", format=container_name) as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            if bit_rate:
                stream.bit_rate = bit_rate * len(samples)
            for start in range(0, samples.shape[1], _BLOCK):
                block = np.ascontiguousarray(samples[:, start : start + _BLOCK])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise _from_ffmpeg(error, path) from error


def _from_ffmpeg(error: av.FFmpegError, path: Path) -> CycleganMediaError:
    return from_os_error(OSError(error.errno, error.strerror), path, "writing it")
