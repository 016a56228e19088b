"""The tracks of a video beside its picture: copied into the output as they are, where it allows."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Protocol

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from cyclegan_media.errors import RunError

Tell = Callable[[str], None]

AUDIO_ENCODERS = ("aac", "libopus", "libmp3lame", "ac3", "mp2", "flac")
_SUBTITLE_ENCODERS = ("subrip", "mov_text", "webvtt", "ass")
_BITS_A_CHANNEL = 96_000
_TELEVISION = ("mp2", "mp3", "ac3", "dts", "dvb_subtitle", "dvb_teletext")
_TAKES = {
    "mpeg": frozenset(("mp2", "ac3")),
    "mpegts": frozenset((*_TELEVISION, "aac", "eac3", "truehd", "opus")),
}
"""What these containers can name; FFmpeg would write anything into them, unplayable."""
_OF_THE_FILE = ("encoder", "duration", "vendor_id", "bps", "number_of_", "_statistics")
"""How tags begin that describe the encoding of the file they lie in."""


class Track(Protocol):
    """A stream of the output that is fed with packets of a stream of the source."""

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        """Packets to write for one of the source; its last one is empty."""


def carry_over(source: Stream, container: OutputContainer, tell: Tell) -> Track | None:
    """Add a stream for a track of the source; ``None`` if nothing is to be fed into it.

    Sound and subtitles are copied where the container allows, and encoded anew where not;
    attachments (fonts) are copied or left out; all else is left out.

    Args:
        tell: is called with what a user should know.
    """
    label = f"{source.type} track {source.index}"
    if source.type not in ("audio", "subtitle", "attachment"):
        tell(f"{label} is left out")
        return None
    if can_be_copied(source, container.format.name):
        copy = container.add_stream_from_template(source)
        describe_like(copy, source)
        return None if source.type == "attachment" else CopiedTrack(copy)
    if isinstance(source, AudioStream) and source.codec_context is not None:
        return _encoded_audio(source, container, label, tell)
    if isinstance(source, SubtitleStream) and source.codec_context is not None:
        return _encoded_subtitles(source, container, label, tell)
    tell(f"{label} is left out: {container.format.name} cannot hold it")
    return None


def kept_tags(tags: dict[str, str]) -> dict[str, str]:
    """Those tags of a stream that stay true in another file."""
    return {key: text for key, text in tags.items() if not key.lower().startswith(_OF_THE_FILE)}


def describe_like(stream: Stream, source: Stream) -> None:
    """Give a stream the tags and the disposition of another."""
    stream.metadata.update(kept_tags(source.metadata))
    stream.disposition = source.disposition


def can_be_copied(source: Stream, format_name: str) -> bool:
    """Whether a container of this format takes the packets of a stream."""
    if source.type != "attachment" and source.codec_context is None:
        return False
    if format_name in _TAKES:
        context = source.codec_context
        return context is not None and context.codec.canonical_name in _TAKES[format_name]
    # Which codecs a container takes, with which parameters, only its writer knows.
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            trial.add_stream_from_template(source)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


class CopiedTrack:
    """Packets go over as they are, with their timestamps."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._last_dts: int | None = None

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            return []
        # Containers refuse time that runs backwards, which cut recordings have at the cuts.
        if self._last_dts is not None and dts <= self._last_dts:
            dts = self._last_dts + 1
        packet.pts = dts if packet.pts is None else max(packet.pts, dts)
        packet.dts = self._last_dts = dts
        packet.stream = self._stream
        return [packet]


def _encoded_audio(
    source: AudioStream, container: OutputContainer, label: str, tell: Tell
) -> EncodedAudio | None:
    for name in AUDIO_ENCODERS:
        settings = audio_settings(name, source, container.format.name)
        if settings is None:
            continue
        rate, layout = settings
        stream = container.add_stream(name, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = layout
        stream.codec_context.bit_rate = bit_rate_for(source)
        describe_like(stream, source)
        tell(
            f"{label} is encoded anew as {name}: {container.format.name} cannot hold"
            f" {source.codec_context.codec.canonical_name}"
        )
        return EncodedAudio(source, stream)
    tell(f"{label} is left out: {container.format.name} cannot hold it")
    return None


def bit_rate_for(source: AudioStream) -> int:
    """Bits per second at which sound is encoded anew without a loss that is heard."""
    return _BITS_A_CHANNEL * source.channels


def audio_settings(name: str, source: AudioStream, format_name: str) -> tuple[int, str] | None:
    """Sampling rate and channel layout nearest to the source's that codec and container take."""
    if format_name in _TAKES and name not in _TAKES[format_name]:
        return None
    try:
        rates = av.Codec(name, "w").audio_rates or [source.rate]
    except ValueError:  # this build of FFmpeg has no such encoder
        return None
    rate = min((r for r in rates if r >= source.rate), default=max(rates))
    for layout in (source.layout.name, "stereo", "mono"):
        try:
            with av.open(io.BytesIO(), "w", format=format_name) as trial:
                stream = trial.add_stream(name, rate=rate)
                assert isinstance(stream, AudioStream)
                stream.codec_context.layout = layout
                trial.start_encoding()
        except (av.FFmpegError, ValueError):
            continue
        return rate, layout
    return None


class EncodedAudio:
    """Sound that is decoded and encoded anew."""

    def __init__(self, source: AudioStream, stream: AudioStream) -> None:
        self._source, self._stream = source, stream

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        try:
            frames = self._source.codec_context.decode(packet)
        except EOFError:
            frames = []
        except av.FFmpegError as error:
            raise damaged(self._source, packet) from error
        encoded = [out for frame in frames for out in self._stream.encode(frame)]
        return encoded if packet.size else [*encoded, *self._stream.encode(None)]


def _encoded_subtitles(
    source: SubtitleStream, container: OutputContainer, label: str, tell: Tell
) -> EncodedSubtitles | None:
    context, format_name = source.codec_context, container.format.name
    names = [name for name in _SUBTITLE_ENCODERS if name in container.supported_codecs]
    if not context.codec.text_sub or not names:
        tell(f"{label} is left out: {format_name} cannot hold {context.codec.canonical_name}")
        return None
    context.open(strict=False)
    stream = container.add_stream(names[0])
    assert isinstance(stream, SubtitleStream)
    stream.codec_context.subtitle_header = context.subtitle_header
    describe_like(stream, source)
    tell(
        f"{label} is encoded anew as {names[0]}: {format_name} cannot hold"
        f" {context.codec.canonical_name}"
    )
    return EncodedSubtitles(source, stream)


class EncodedSubtitles:
    """Subtitles in text that are brought into another notation, at the same times."""

    def __init__(self, source: SubtitleStream, stream: SubtitleStream) -> None:
        self._source, self._stream = source, stream

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        if not packet.size or packet.pts is None:
            return []
        try:
            texts = self._source.codec_context.decode2(packet)
        except av.FFmpegError as error:
            raise damaged(self._source, packet) from error
        if texts is None or not len(texts):  # the pause between two texts
            return []
        texts.start_display_time = 0
        encoded = self._stream.codec_context.encode_subtitle(texts)
        encoded.pts = encoded.dts = packet.pts
        encoded.duration = packet.duration
        encoded.time_base = packet.time_base
        encoded.stream = self._stream
        return [encoded]


def damaged(source: Stream, packet: av.Packet) -> RunError:
    """What to raise where a packet cannot be decoded."""
    path = source.container.name.removeprefix("file:")
    time = float((packet.pts or 0) * (packet.time_base or 0))
    return RunError(f"{path}: {source.type} track {source.index} is damaged at {time:.2f} s")
