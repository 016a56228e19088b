"""Recordings → arrays: soundfile where it knows the format, PyAV for the rest and for videos."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media.kinds import SUFFIXES, check_input
from cyclegan_media.media.limits import MAX_HOURS_VARIABLE, SAMPLE_RATES, max_samples
from cyclegan_media.media.opening import open_local

if TYPE_CHECKING:
    import av

Samples = NDArray[np.float32]
NOT_BY_SOUNDFILE = SUFFIXES["video"] | {".mp3"}
"""libsndfile's MP3 decoder writes to the terminal whatever it dislikes in a file."""
_TAGS = {"author": "artist", "track": "tracknumber"}
"""FFmpeg's names of tags that libsndfile calls otherwise."""
_OF_THE_FILE = (
    *("encoder", "software", "duration", "vendor_id", "handler_name", "language", "timecode"),
    *("major_brand", "minor_version", "compatible_brands", "bps", "number_of_", "_statistics"),
)
"""How tags begin that describe the file they lie in."""
CUT_SHORT = re.compile(r"data : (?!0 |4294967295)(\d+) \(should be (\d+)\)")
"""In libsndfile's report on a WAV file. The excepted lengths are those of recordings that were
streamed by programs that could not know the length when they began."""


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
        stream: which of its sound streams, counted from 0; ``None`` for the one that players
            would choose.

    Raises:
        UserError: missing, empty, damaged, without sound, longer than the limit
            (``$CYCLEGAN_MEDIA_MAX_HOURS``, else 6), or holding values that are not finite.
    """
    path = check_input(path)
    try:
        audio = None
        if stream is None and path.suffix.lower() not in NOT_BY_SOUNDFILE:
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


def read_rate(path: str | os.PathLike[str]) -> int:
    """The samples per second of a recording, or of a video's sound, in Hz; none are decoded.

    Raises:
        UserError: missing, damaged, without sound, or of a rate that no recording has.
    """
    import av
    import soundfile

    path = check_input(path)
    if path.suffix.lower() not in NOT_BY_SOUNDFILE:
        try:
            return check_rate(path, soundfile.info(path).samplerate)
        except soundfile.LibsndfileError:
            pass
    try:
        with open_local(path) as container:
            source = choose_stream(path, container, None)
            return check_rate(path, source.codec_context.sample_rate)
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: is damaged or not a recording ({reason})") from error


def read_tags(path: str | os.PathLike[str]) -> dict[str, str]:
    """Title, artist, comment and the like of a recording or a video, by their names in lower case.

    Raises:
        UserError: it is damaged, or of no format that is read.
    """
    import av

    path = check_input(path)
    try:
        with open_local(path) as container:
            tags = {key.lower(): text for key, text in container.metadata.items()}
            if "ogg" in container.format.name:  # has its tags in the streams
                for stream in [*container.streams][:1]:
                    tags |= {key.lower(): text for key, text in stream.metadata.items()}
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: is damaged or not a recording ({reason})") from error
    known = {_TAGS.get(key, key): text for key, text in tags.items()}
    return {key: text for key, text in known.items() if not key.startswith(_OF_THE_FILE)}


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """``(channels, n)`` at ``rate`` Hz to ``(channels, ⌈n · new_rate / rate⌉)`` at ``new_rate``.

    By libsoxr in its very high quality.
    """
    if rate == new_rate:
        return samples
    import soxr

    wanted = -(-samples.shape[1] * new_rate // rate)
    # It rounds the length, so the last sample may need a bit of the silence that follows.
    padded = np.pad(samples, ((0, 0), (0, -(-rate // new_rate))))
    return np.ascontiguousarray(soxr.resample(padded.T, rate, new_rate, "VHQ").T[:, :wanted])


def check_rate(path: Path, rate: int) -> int:
    """The same rate.

    Raises:
        UserError: no recording has such a rate, and resampling from it would fill the memory.
    """
    if not rate:
        raise UserError(f"{path}: holds no sound that can be decoded: it states no sample rate")
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise UserError(
            f"{path}: states {rate} samples a second, but recordings with {lowest} to {highest} are"
            " read; it is damaged, or has to be resampled first"
        )
    return rate


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
            if file.frames > max_samples(check_rate(path, file.samplerate)):
                raise _refuse_length(path)
            cut = CUT_SHORT.search(file.extra_info)
            if cut:
                raise UserError(
                    f"{path}: is cut short: {cut[2]} of {cut[1]} bytes of sound are there; copy it"
                    " again, or repair it"
                )
            samples = file.read(dtype="float32", always_2d=True)
            return Audio(samples.T, file.samplerate) if samples.size else None
    except soundfile.LibsndfileError:
        return None


def _read_by_pyav(path: Path, stream: int | None) -> Audio:
    import av

    try:
        with open_local(path) as container:
            source = choose_stream(path, container, stream)
            rate = check_rate(path, source.codec_context.sample_rate)
            blocks = list(decoded_blocks(path, container, source))
    except ValueError as error:  # of the resampler
        raise UserError(
            f"{path}: its sound changes its rate or its channels on the way, or is damaged; convert"
            " it to WAV first"
        ) from error
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: is damaged or not a recording ({reason})") from error
    if not blocks:
        raise UserError(f"{path}: holds no sound that can be decoded")
    return Audio(np.concatenate(blocks, axis=1), rate)


def choose_stream(
    path: Path, container: av.container.InputContainer, stream: int | None
) -> av.AudioStream:
    if not container.streams.audio:
        raise UserError(f"{path}: holds no sound")
    if stream is None:
        chosen = container.streams.best("audio") or container.streams.audio[0]
    else:
        count = len(container.streams.audio)
        if not 0 <= stream < count:
            are = "is" if count == 1 else "are"
            raise UserError(
                f"{path}: has no sound stream {stream}; there {are} {count}, counted from 0"
            )
        chosen = container.streams.audio[stream]
    if chosen.codec_context is None:
        raise UserError(f"{path}: its sound is coded in a way that FFmpeg cannot decode here")
    return chosen  # type: ignore[return-value]


def decoded_blocks(
    path: Path, container: av.container.InputContainer, source: av.AudioStream
) -> Iterator[Samples]:
    """Blocks ``(channels, n)`` of the whole stream in one rate and layout."""
    import av

    rate = source.codec_context.sample_rate
    resampler = av.AudioResampler(format="fltp", layout=source.codec_context.layout, rate=rate)
    left = max_samples(rate)
    for frame in container.decode(source):
        frame.pts = None  # gaps in the timestamps are no silence in the recording
        for part in resampler.resample(frame):
            left -= part.samples
            if left < 0:
                raise _refuse_length(path)
            yield np.asarray(part.to_ndarray(), dtype=np.float32)
    for part in resampler.resample(None):
        yield np.asarray(part.to_ndarray(), dtype=np.float32)
