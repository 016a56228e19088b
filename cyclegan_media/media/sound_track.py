"""The sound of a video, sample by sample in its place in time: read, and written anew.

A stream is samples numbered from its first one, whose time the file states. Where time stamps leave
a gap it is silent, and where they overlap the later samples give way, so that the number of a
sample is its place in time throughout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from numpy.typing import NDArray

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media.audio import check_rate
from cyclegan_media.media.limits import MAX_HOURS_VARIABLE, max_samples
from cyclegan_media.media.streams import (
    AUDIO_ENCODERS,
    Tell,
    audio_settings,
    bit_rate_for,
    damaged,
    describe_like,
)
from cyclegan_media.media.video_source import open_container, origin_of

Samples = NDArray[np.float32]

_TOLERANCE = Fraction(1, 50)
"""Seconds that a time stamp may be off, as clocks that count in milliseconds are."""
_ENCODER_OF = {"opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame"}


class Block(NamedTuple):
    """Samples that follow one another."""

    number: int
    """Of the first one in its stream."""
    samples: Samples
    """``(channels, n)``, −1…1."""


@dataclass(frozen=True)
class NewSound:
    """What takes the place of a sound stream."""

    stream: int
    """Index of the stream in the file."""
    sample_rate: int
    """Hz, of the stream."""
    change: Callable[[Block], Samples]
    """Makes as many new samples of a block of the stream; blocks come in order."""


def choose_sound(path: Path, container: InputContainer, number: int | None) -> AudioStream:
    """The sound stream of that number, counted from 0; else the one that players would choose.

    Raises:
        UserError: there is none, or it is coded in a way that FFmpeg cannot decode.
    """
    streams = container.streams.audio
    if not streams:
        raise UserError(f"{path}: holds no sound to convert")
    if number is None:
        best = container.streams.best("audio")
        chosen = best if isinstance(best, AudioStream) else streams[0]
    elif 0 <= number < len(streams):
        chosen = streams[number]
    else:
        known = "there is 1" if len(streams) == 1 else f"there are {len(streams)}"
        raise UserError(f"{path}: has no sound stream {number}; {known}, counted from 0")
    if chosen.codec_context is None:
        raise UserError(f"{path}: its sound is coded in a way that FFmpeg cannot decode here")
    return chosen


class SoundReader:
    """A sound stream of a file; iterating it yields its blocks from the first to the last.

    Memory does not grow with its length.

    Args:
        number: see :func:`choose_sound`.

    Raises:
        UserError: the file cannot be read or has no such stream; or (while iterating) the stream
            is longer than ``$CYCLEGAN_MEDIA_MAX_HOURS``, else 6.
        RunError: (while iterating) it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], number: int | None = None) -> None:
        self.path = Path(path)
        self._number = number
        with open_container(path)[1] as container:
            stream = choose_sound(self.path, container, number)
            self.stream = stream.index
            """Index in the file."""
            self.sample_rate = check_rate(self.path, stream.codec_context.sample_rate)
            self.channels = stream.codec_context.channels

    def __iter__(self) -> Iterator[Block]:
        _, container = open_container(self.path)
        with container:
            stream = choose_sound(self.path, container, self._number)
            line = _Line(stream, origin_of(container))
            left = max_samples(self.sample_rate)
            try:
                for frame in container.decode(stream):
                    yield from line.blocks(frame)
                    if line.count > left:
                        raise UserError(
                            f"{self.path}: its sound is longer than what is converted at once; cut"
                            " it, or raise the limit by the environment variable"
                            f" {MAX_HOURS_VARIABLE}"
                        )
                yield from line.rest()
            except av.FFmpegError as error:
                raise RunError(
                    f"{self.path}: its sound is damaged at {line.count / self.sample_rate:.2f} s"
                ) from error


class _Line:
    """Decoded frames → blocks of floats without gaps."""

    def __init__(self, stream: AudioStream, origin: Fraction = Fraction(0)) -> None:
        context = stream.codec_context
        self._rate, self._origin = context.sample_rate, origin
        self._path = stream.container.name.removeprefix("file:")
        self._resampler = av.AudioResampler(format="fltp", layout=context.layout, rate=self._rate)
        self._channels = context.channels
        self._end = _stated_end(stream)
        self.start: Fraction | None = None
        """Seconds, of the first sample."""
        self.count = 0

    def blocks(self, frame: av.AudioFrame) -> Iterator[Block]:
        gap = 0
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * frame.time_base - self._origin
            if self.start is None:
                self.start = time
            off = time - self.start - Fraction(self.count, self._rate)
            if abs(off) > _TOLERANCE:
                gap = round(off * self._rate)
                if gap > max_samples(self._rate):
                    raise UserError(
                        f"{self._path}: its sound is interrupted for {float(off) / 3600:.0f} hours;"
                        " cut it, or raise the limit by the environment variable"
                        f" {MAX_HOURS_VARIABLE}"
                    )
        elif self.start is None:
            self.start = Fraction(0)
        frame.pts = None  # so that the resampler takes frames as they come
        if gap > 0:
            yield from self._silence(gap)
        try:
            parts = self._resampler.resample(frame)
        except ValueError as error:
            raise RunError(
                f"{self._path}: its sound changes its rate or its channels at"
                f" {self.count / self._rate:.2f} s, or is damaged there; convert it to WAV first"
            ) from error
        for part in parts:
            samples = np.asarray(part.to_ndarray(), dtype=np.float32)
            given_way = min(max(0, -gap), samples.shape[1])
            gap += given_way
            yield from self._block(samples[:, given_way:])

    def rest(self) -> Iterator[Block]:
        if self.start is not None:
            for part in self._resampler.resample(None):
                yield from self._block(np.asarray(part.to_ndarray(), dtype=np.float32))

    def _silence(self, count: int) -> Iterator[Block]:
        most = self._rate
        for _ in range(count // most):
            yield from self._block(np.zeros((self._channels, most), dtype=np.float32))
        yield from self._block(np.zeros((self._channels, count % most), dtype=np.float32))

    def _block(self, samples: Samples) -> Iterator[Block]:
        if self._end is not None and self.start is not None:
            left = round((self._end - self._origin - self.start) * self._rate) - self.count
            samples = samples[:, : max(0, left)]
        if samples.shape[1]:
            yield Block(self.count, samples)
            self.count += samples.shape[1]


def _stated_end(stream: AudioStream) -> Fraction | None:
    """Seconds up to the end of a stream, where it ends before the padding of its last packet."""
    if "mp4" not in stream.container.format.name or stream.duration is None:
        return None
    assert stream.time_base is not None
    return ((stream.start_time or 0) + stream.duration) * stream.time_base


class ChangedAudio:
    """A track of a video whose samples are changed between decoding and encoding."""

    def __init__(
        self, source: AudioStream, stream: AudioStream, change: Callable[[Block], Samples]
    ) -> None:
        self._source, self._stream, self._change = source, stream, change
        self._line = _Line(source)
        self._rate = source.codec_context.sample_rate
        self._layout = _layout_of(source)

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        """See :class:`cyclegan_media.media.streams.Track`."""
        try:
            frames = self._source.codec_context.decode(packet)
        except EOFError:
            frames = []
        except av.FFmpegError as error:
            raise damaged(self._source, packet) from error
        encoded = []
        for frame in frames:
            for block in self._line.blocks(frame):
                encoded += self._encoded(block)
        if packet.size:
            return encoded
        for block in self._line.rest():
            encoded += self._encoded(block)
        return [*encoded, *self._stream.encode(None)]

    def _encoded(self, block: Block) -> list[av.Packet]:
        samples = np.ascontiguousarray(self._change(block), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        assert self._line.start is not None
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = round(self._line.start * self._rate) + block.number
        return self._stream.encode(frame)


def _layout_of(source: AudioStream) -> str:
    """The name of a stream's channel layout; of one without, that which players assume."""
    context = source.codec_context
    usual = {1: "mono", 2: "stereo"}.get(context.channels)
    name: str = context.layout.name
    return usual if usual and name.endswith("channels") else name


def add_changed_audio(
    source: AudioStream,
    container: OutputContainer,
    change: Callable[[Block], Samples],
    tell: Tell,
) -> ChangedAudio:
    """Add a stream for the changed samples of ``source``: in its codec where that can be encoded.

    Args:
        tell: is called with what a user should know.

    Raises:
        UserError: the format holds no codec that is at hand.
    """
    codec = source.codec_context.codec.canonical_name
    same = codec if codec.startswith("pcm_") else _ENCODER_OF.get(codec, codec)
    for name in dict.fromkeys((same, *AUDIO_ENCODERS)):
        settings = audio_settings(name, source, container.format.name)
        if settings is None:
            continue
        rate, layout = settings
        layout = _layout_of(source) if layout == source.layout.name else layout
        stream = container.add_stream(name, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = layout
        if not name.startswith("pcm_"):
            stream.codec_context.bit_rate = bit_rate_for(source)
        describe_like(stream, source)
        if name != same:
            tell(f"the new sound is encoded as {name}, not as {codec}")
        if rate != source.rate:
            tell(f"the new sound has {rate} Hz, since {name} has no {source.rate}")
        return ChangedAudio(source, stream, change)
    raise UserError(
        f"{container.format.name}: this format holds no sound that can be written here; write .mp4"
        " or .mkv"
    )
