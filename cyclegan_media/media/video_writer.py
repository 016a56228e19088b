"""Frames with exact timestamps → videos, with the other tracks of the video they come from."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.sidedata.sidedata import Type as SideData

from cyclegan_media.errors import RunError, from_os_error
from cyclegan_media.media.sound_track import NewSound, add_changed_audio
from cyclegan_media.media.streams import CopiedTrack, Track, carry_over, kept_tags
from cyclegan_media.media.video import VideoFrame, VideoReader
from cyclegan_media.media.video_container import (
    Abilities,
    merged_tags,
    mp4_options,
    open_output,
    shifted_chapters,
)
from cyclegan_media.media.video_decoder import TrackPacket
from cyclegan_media.media.video_encoder import (
    EncoderSettings,
    choose_codec,
    encoder_options,
    fit_to_encoder,
)
from cyclegan_media.media.video_format import tags_to_write
from cyclegan_media.media.video_orientation import UPRIGHT

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("cyclegan_media")

_FINE = Fraction(1, 10_000)
"""Seconds; nobody sees or hears that a time was rounded to less."""
_LOST = {
    SideData.A53_CC: "closed captions within the picture are",
    SideData.MASTERING_DISPLAY_METADATA: "the mastering display of HDR is",
    SideData.CONTENT_LIGHT_LEVEL: "the light level of HDR is",
    SideData.DOVI_METADATA: "Dolby Vision is",
}


class VideoWriter:
    """A video in the making, as like ``source`` as the container allows.

    Size, pixel aspect, orientation, colour tags, bit depth, chroma sampling, timestamps, chapters,
    tags, sound and subtitles are the source's; a frame that is turned for display is stored as it
    was and keeps its display matrix. What cannot be kept is told in :attr:`messages` and logged.

    Args:
        path: where to write, the format chosen by the suffix. It is overwritten, and left
            incomplete after an error: give it a name from :func:`cyclegan_media.files.atomic_file`.
        source: the open video that the frames come from.
        codec: an encoder or codec by FFmpeg's name; ``None`` for H.264 where the container holds
            it.
        crf: constant rate factor, smaller is better; ``None`` for little visible loss (18 for
            H.264). NVENC takes it for its ``cq``.
        preset: how thoroughly to search, by the encoder's own names.
        tags: added to the file's metadata; a tag that the source has too keeps both texts.
        name: what messages call the file; ``None`` for ``path``.
        sound: what takes the place of a sound stream of the source.

    Raises:
        UserError: format, codec, crf or preset are unknown or do not go together.
        RunError: the disk is full, or the encoder fails; names the frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        source: VideoReader,
        *,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        tags: Mapping[str, str] | None = None,
        name: str | os.PathLike[str] | None = None,
        sound: NewSound | None = None,
    ) -> None:
        self.name = Path(path if name is None else name)
        self.frames = 0
        self._last_pts = -(2**62)
        self._messages: dict[str, None] = {}
        self._tracks: dict[int, Track] = {}
        self._durations: dict[int, int] = {}
        self._file, self._container = open_output(path, self.name)
        self._abilities = Abilities(self._container.format)
        try:
            self._choose_settings(source, codec, crf, preset)
            self._add_streams(source, sound)
            self._describe(source, tags or {}, sound)
            with self._told_as("beginning it"):
                self._container.start_encoding()
        except BaseException:
            self.abandon()
            raise

    @property
    def messages(self) -> tuple[str, ...]:
        """What could not be kept as it was; each was logged as well."""
        return tuple(self._messages)

    @property
    def tracks(self) -> tuple[int, ...]:
        """Indices of the source's streams whose packets :meth:`copy` wants."""
        return tuple(self._tracks)

    def write(self, frame: VideoFrame, rgb: Tensor) -> None:
        """Write a frame: the times of ``frame``, with the colours ``rgb`` (see :meth:`picture`)."""
        self.encode(self.picture(rgb), frame.time, frame.duration * frame.time_base)

    def picture(self, rgb: Tensor) -> av.VideoFrame:
        """Colours as :meth:`encode` takes them.

        Args:
            rgb: ``(3, height, width)``, −1…1, upright, on any device.
        """
        return self.layout.picture(self.planes(rgb))

    def planes(self, rgb: Tensor) -> list[Tensor]:
        """The planes of :attr:`layout`'s pictures, made on the device of ``rgb``.

        Args:
            rgb: ``(…, 3, height, width)``, −1…1, upright.

        Returns:
            ``(…, rows, columns)`` each, for ``layout.picture``.
        """
        from cyclegan_media.media.video_colour import planes_from_rgb

        stored = self._orientation.stored(rgb)
        return planes_from_rgb(stored, self.layout.coding, self.layout.block)

    def keep(self, frame: VideoFrame) -> None:
        """Write a frame as it is: its stored samples, where they are of :attr:`layout`."""
        if frame.layout != self.layout or frame.orientation != self._orientation:
            self.write(frame, frame.tensor())
            return
        picture = self.layout.picture(frame.planes())
        self.encode(picture, frame.time, frame.duration * frame.time_base)

    def encode(self, picture: av.VideoFrame, time: Fraction, duration: Fraction) -> None:
        """Write a picture that is already in the stored orientation and in :attr:`layout`.

        Args:
            time: when it is shown, in seconds.
            duration: seconds.
        """
        picture.pts = max(round(time / self.settings.time_base), self._last_pts + 1)
        self._last_pts = picture.pts
        picture.time_base = self.settings.time_base
        tags = self.settings.tags  # some encoders take them from here, not from their settings
        picture.colorspace, picture.color_range = tags.matrix, tags.range
        picture.color_primaries, picture.color_trc = tags.primaries, tags.transfer
        self._durations[picture.pts] = round(duration / self.settings.time_base)
        unit = self._stream.time_base or self.settings.time_base
        if unit > _FINE and (time / unit).denominator != 1:
            self._tell(f"{self._container.format.name} rounds times to {unit} s")
        with self._told_as(f"writing frame {self.frames}"):
            self._mux(self._stream.encode(picture))
        self.frames += 1

    def copy(self, item: TrackPacket) -> None:
        """Write a packet of another track of the source (see :meth:`VideoReader.demux`)."""
        with self._told_as(f"writing track {item.track} beside frame {self.frames}"):
            track = self._tracks[item.track]
            for packet in track.packets(item.packet):
                if self._begins(packet, isinstance(track, CopiedTrack)):
                    self._container.mux(packet)

    def _begins(self, packet: av.Packet, copied: bool) -> bool:
        """Whether a packet is written: not, where it ends before a beginning that it cannot have.

        MP4 hides such packets. Most often it is sound that only gets a decoder going.
        """
        can = self._abilities.before_zero if copied else self._abilities.skips
        if can or packet.pts is None or packet.pts >= 0:
            return True
        name = self._container.format.name
        if copied and packet.pts + (packet.duration or 0) <= 0:
            self._tell(f"{name} cannot hide what lies before 0; it is left out")
            return False
        self._tell(
            f"{name} cannot begin before 0, where a track of the source does; all begin later by"
            " as much"
        )
        return True

    def close(self) -> None:
        """Finish the file."""
        if self._file.closed:
            return
        try:
            with self._told_as("finishing it"):
                rest = self._stream.encode(None)
                if self.frames <= 2:
                    # x265 takes the decoding times of so short a clip from memory nobody wrote to.
                    for packet in rest:
                        packet.dts = packet.pts
                self._mux(rest)
                self._container.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop without finishing the file."""
        # A container without its file does not try to write its end.
        self._file.close()
        with suppress(av.FFmpegError):
            self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, 0)
            self._container.mux(packet)

    def _choose_settings(
        self, source: VideoReader, codec: str | None, crf: float | None, preset: str | None
    ) -> None:
        form = self._container.format
        size, aspect = source.stored_size, source.pixel_aspect
        self._orientation, self._matrix = source.orientation, source.display_matrix
        if self._matrix is not None and not self._abilities.turns:
            size = (source.height, source.width)
            if self._orientation.transposed and aspect:
                aspect = 1 / aspect
            self._orientation, self._matrix = UPRIGHT, None
        rate = source.frame_rate or Fraction(25)
        time_base = source.time_base
        if not self._abilities.any_rate:
            time_base = 1 / rate
            self._tell(f"{form.name} has one frame rate; the frames are put on a grid of {rate}/s")
        name = choose_codec(self.name, self._container, codec)
        if codec is None and not name.endswith("x264"):
            self._tell(f"{form.name} cannot hold H.264; it is encoded by {name}")
        self.settings, self.layout = fit_to_encoder(
            EncoderSettings(
                codec=name,
                tags=tags_to_write(source.tags, source.layout, name),
                size=size,
                pixel_aspect=aspect,
                time_base=time_base,
                frame_rate=rate,
                options=encoder_options(name, form.name, crf, preset),
            ),
            source.layout,
        )
        wanted, given = source.layout, self.layout
        if given.coding.bits < wanted.coding.bits:
            self._tell(f"{wanted.coding.bits} bits become {given.coding.bits} in codec {name}")
        if given.block != wanted.block:
            self._tell(f"is stored as {self.settings.pixel_format}, not as {wanted.format}")

    def _add_streams(self, source: VideoReader, sound: NewSound | None) -> None:
        for stream in source.tracks:
            if stream.index == source.stream.index:
                self._stream = self._add_video(source)
                continue
            track: Track | None
            if sound is not None and stream.index == sound.stream:
                assert isinstance(stream, AudioStream)
                track = add_changed_audio(stream, self._container, sound.change, self._tell)
            else:
                track = carry_over(stream, self._container, self._tell)
            if track is not None:
                self._tracks[stream.index] = track

    def _add_video(self, source: VideoReader) -> av.VideoStream:
        settings = self.settings
        stream = self._container.add_stream(
            settings.codec, rate=settings.frame_rate, time_base=settings.time_base
        )
        assert isinstance(stream, av.VideoStream)
        settings.apply(stream.codec_context)
        codec = stream.codec_context.codec.canonical_name
        if codec == "hevc" and self._abilities.is_iso:
            stream.codec_context.codec_tag = "hvc1"  # the one of two that all players know
        stream.set_display_matrix(self._matrix)
        stream.metadata.update(kept_tags(source.stream.metadata))
        stream.disposition = source.stream.disposition
        for kind, words in _LOST.items():
            if kind in source.side_data:
                self._tell(f"{words} left out")
        if settings.pixel_aspect not in (None, 1) and not self._abilities.keeps_aspect(codec):
            self._tell(f"{codec} in this format cannot keep the pixel aspect")
        return stream

    def _describe(
        self, source: VideoReader, tags: Mapping[str, str], sound: NewSound | None
    ) -> None:
        self._container.metadata.update(merged_tags(source.container.metadata, tags))
        if tags and not self._abilities.tags:
            self._tell(f"{self._container.format.name} has no place to say that it is synthetic")
        chapters = source.container.chapters()
        self._container.set_chapters(shifted_chapters(chapters, source.origin))
        if self._abilities.is_iso:
            self._container.container_options.update(
                mp4_options(
                    self._container.metadata,
                    self.settings.time_base,
                    None if sound is None else sound.sample_rate,
                )
            )

    def _tell(self, message: str) -> None:
        if message not in self._messages:
            self._messages[message] = None
            logger.warning("%s: %s", self.name, message)

    @contextmanager
    def _told_as(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_os_error(error, self.name, doing) from error
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RunError(f"{self.name}: FFmpeg fails while {doing} ({reason.lower()})") from error
