"""A video with other sound: its picture and its other tracks are copied as they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Stream

from cyclegan_media.errors import RunError, UserError, from_os_error
from cyclegan_media.files import atomic_file
from cyclegan_media.media.sound_track import NewSound, add_changed_audio
from cyclegan_media.media.streams import (
    CopiedTrack,
    Track,
    can_be_copied,
    carry_over,
    describe_like,
)
from cyclegan_media.media.video_container import (
    Abilities,
    merged_tags,
    mp4_options,
    open_output,
    shifted_chapters,
)
from cyclegan_media.media.video_source import open_container, origin_of

logger = logging.getLogger("cyclegan_media")

_BROADCAST = {"mpegts": ("h264", "hevc", "mpeg2video"), "mpeg": ("mpeg1video", "mpeg2video")}
"""What these containers can name; FFmpeg would write anything into them, unplayable."""


def copy_with_sound(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    sound: NewSound | None,
    *,
    tags: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write ``source`` with other sound; ``target`` is complete or absent.

    The pictures' packets are copied with their timestamps, as are the other tracks' where the
    container allows. Memory does not grow with the length.

    Args:
        sound: what takes the place of a sound stream; ``None`` for nothing.
        tags: added to the file's metadata; a tag that the source has too keeps both texts.

    Returns:
        What could not be kept as it was; each was logged as well.

    Raises:
        UserError: the source cannot be read, or the target's format cannot hold its pictures.
        RunError: a track is damaged, or the disk is full.
    """
    target = Path(target)
    path, reading = open_container(source)
    with reading, atomic_file(target, overwrite=overwrite) as partial:
        copying = _Copying(path, reading, target)
        file, writing = open_output(partial, target)
        try:
            with copying.told_as("beginning it"):
                copying.begin(writing, sound, tags or {})
            with copying.told_as("writing it"):
                copying.run(writing)
                writing.close()
        finally:
            file.close()  # a container without its file does not try to write its end
    return tuple(copying.messages)


class _CopiedPictures(CopiedTrack):
    """Packets go over as they are; the order of decoding is completed where a file leaves it open.

    Matroska does not state when a picture is decoded, and FFmpeg finds it out from the third or
    fourth packet on.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._held: list[av.Packet] = []
        self._stream, self._begun = stream, False

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        if not self._begun and packet.size and packet.dts is None:
            self._held.append(packet)
            return []
        held, self._held = self._held, []
        self._begun = True
        dts = packet.dts if packet.size else None
        for earlier in reversed(held):
            if dts is None:  # no packet has one: pictures are shown in the order of decoding
                earlier.dts = earlier.pts
            else:
                dts -= max(1, earlier.duration or 1)
                earlier.dts = dts
        if packet.size:
            held.append(packet)
        for one in held:
            one.stream = self._stream
        return held


class _Copying:
    def __init__(self, path: Path, reading: InputContainer, target: Path) -> None:
        self._path, self._reading, self._target = path, reading, target
        self._origin = origin_of(reading)
        self._tracks: dict[int, Track] = {}
        self.messages: dict[str, None] = {}

    def begin(
        self, writing: OutputContainer, sound: NewSound | None, tags: Mapping[str, str]
    ) -> None:
        self._abilities = Abilities(writing.format)
        for stream in self._reading.streams:
            track: Track | None = None
            if stream.discard == Discard.all:  # FFmpeg's own, such as MP4's list of chapters
                continue
            if sound is not None and stream.index == sound.stream:
                assert isinstance(stream, AudioStream)
                track = add_changed_audio(stream, writing, sound.change, self._tell)
            elif stream.type == "video":
                track = self._add_pictures(stream, writing)
            else:
                track = carry_over(stream, writing, self._tell)
            if track is not None:
                self._tracks[stream.index] = track
        writing.metadata.update(merged_tags(self._reading.metadata, tags))
        if tags and not self._abilities.tags:
            self._tell(f"{writing.format.name} has no place to say that it is synthetic")
        writing.set_chapters(shifted_chapters(self._reading.chapters(), self._origin))
        if self._abilities.is_iso:
            units = [s.time_base for s in self._reading.streams.video if s.time_base]
            options = mp4_options(
                writing.metadata,
                units[0] if units else Fraction(1, 90000),
                None if sound is None else sound.sample_rate,
            )
            writing.container_options.update(options)
        writing.start_encoding()

    def run(self, writing: OutputContainer) -> None:
        streams = [self._reading.streams[index] for index in sorted(self._tracks)]
        for stream in self._reading.streams:
            if stream.index not in self._tracks:
                stream.discard = Discard.all
        for packet in self._packets(streams):
            track = self._tracks[packet.stream.index]
            self._shift(packet)
            for written in track.packets(packet):
                if self._begins(written, isinstance(track, CopiedTrack)):
                    writing.mux(written)

    def _packets(self, streams: list[Stream]) -> Iterator[av.Packet]:
        try:
            yield from self._reading.demux(streams)
        except av.FFmpegError as error:
            reason = (error.strerror or str(error)).lower()
            raise RunError(
                f"{self._path}: reading fails ({reason}); the file is damaged"
            ) from error

    def _add_pictures(self, stream: Stream, writing: OutputContainer) -> Track:
        name, context = writing.format.name, stream.codec_context
        broadcast = name in _BROADCAST and context is not None
        if broadcast:
            fits = context.codec.canonical_name in _BROADCAST[name]
        else:
            fits = can_be_copied(stream, name)
        if not fits:
            raise UserError(
                f"{self._target}: this format cannot hold the source's pictures as they are; name"
                f" it {self._path.suffix} or .mkv"
            )
        copy = writing.add_stream_from_template(stream)
        describe_like(copy, stream)
        return _CopiedPictures(copy)

    def _shift(self, packet: av.Packet) -> None:
        if self._origin and packet.time_base:
            offset = round(self._origin / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - offset
            packet.dts = None if packet.dts is None else packet.dts - offset

    def _begins(self, packet: av.Packet, copied: bool) -> bool:
        """Whether a packet is written: not, where its format would move all tracks for its sake."""
        can = self._abilities.before_zero if copied else self._abilities.skips
        ends = (packet.pts or 0) + (packet.duration or 0)
        return can or packet.pts is None or packet.pts >= 0 or ends > 0

    def _tell(self, message: str) -> None:
        if message not in self.messages:
            self.messages[message] = None
            logger.warning("%s: %s", self._target, message)

    @contextmanager
    def told_as(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_os_error(error, self._target, doing) from error
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RunError(
                f"{self._target}: FFmpeg fails while {doing} ({reason.lower()})"
            ) from error
