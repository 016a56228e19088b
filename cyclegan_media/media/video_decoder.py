"""One pass over an open video file: its pictures with timestamps that rise, and other packets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Discard

from cyclegan_media.errors import RunError

_EXACT_STAMPS = ("mp4", "matroska")
_ONE_PICTURE_A_PACKET = frozenset({"h264", "hevc", "av1", "vp9", "prores", "dnxhd", "ffv1"})


class TimedPicture(NamedTuple):
    """A decoded picture, not converted, with its place in the video."""

    number: int
    pts: int
    duration: int
    picture: av.VideoFrame


class TrackPacket(NamedTuple):
    """A packet of another stream. It may outlive the file; its own ``stream`` may not be asked."""

    track: int
    """Index of its stream in the file."""
    packet: av.Packet


class DecodingPass:
    """Reads an open file from where it stands to its end.

    Args:
        stream: whose pictures are decoded; its packets are not handed out.
        origin: seconds that are taken from all timestamps.
        tell: is called with what a user should know.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: av.VideoStream,
        origin: Fraction,
        tell: Callable[[str], None],
    ) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._origin, self._tell = origin, tell
        self._count = 0
        self._last_pts: int | None = None
        self._next_pts = 0
        self._told = False
        self._faulty_pts = self._faulty_dts = 0
        self._previous: tuple[int, int] | None = None
        # Packets whose picture has not come: a picture can be lost without an error.
        self._awaited: set[int] = set()
        name = stream.codec_context.codec.canonical_name
        exact = any(known in container.format.name for known in _EXACT_STAMPS)
        self._counts_packets = exact and name in _ONE_PICTURE_A_PACKET
        stream.thread_type = "AUTO"

    def items(self, tracks: Collection[int] = ()) -> Iterator[TimedPicture | TrackPacket]:
        """Pictures, and packets of the streams with these indices, as they lie in the file.

        Each of ``tracks`` ends with an empty packet.

        Raises:
            RunError: a picture cannot be decoded, or reading fails; names the frame.
        """
        held: TimedPicture | None = None
        try:
            for item in self._items(tracks):
                if isinstance(item, TrackPacket):
                    yield item
                    continue
                if held is not None:
                    # What the file states is the distance in the order of decoding.
                    yield held._replace(duration=item.pts - held.pts)
                held = item
        except RunError:
            if held is not None:
                yield held
            raise
        if held is not None:
            yield held

    def _items(self, tracks: Collection[int]) -> Iterator[TimedPicture | TrackPacket]:
        for packet in self._packets({self._stream.index, *tracks}):
            if packet.stream is not self._stream:
                yield TrackPacket(packet.stream.index, self._shifted(packet))
                continue
            for picture in self._decode(packet):
                yield self._timed(picture)
        if self._awaited:
            raise self._damaged("it is missing")
        self._check_end()

    def _packets(self, wanted: Collection[int]) -> Iterator[av.Packet]:
        for stream in self._container.streams:
            if stream.index not in wanted:
                stream.discard = Discard.all
        try:
            yield from self._container.demux([self._container.streams[k] for k in sorted(wanted)])
        except av.FFmpegError as error:
            raise self._damaged(f"reading fails: {_reason(error)}") from error

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        if self._counts_packets and packet.pts is not None and not packet.is_discard:
            self._awaited.add(packet.pts)
        try:
            return self._stream.decode(packet)
        except EOFError:
            return []
        except av.error.InvalidDataError as error:
            if self._count == 0:  # a recording may begin between key frames
                return []
            raise self._damaged(_reason(error)) from error
        except av.FFmpegError as error:
            raise self._damaged(_reason(error)) from error

    def _timed(self, picture: av.VideoFrame) -> TimedPicture:
        self._check(picture)
        time_base = self._stream.time_base or Fraction(1, 90000)
        stamp = self._stamp(picture)
        pts = self._next_pts if stamp is None else stamp - round(self._origin / time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            if not self._told:
                self._told = True
                self._tell(
                    f"frame {self._count} and perhaps later ones are stamped no later than the"
                    " frames before them; they are moved behind them"
                )
            pts = self._last_pts + 1
        rate = self._stream.average_rate or self._stream.guessed_rate
        usual = round(1 / (rate * time_base)) if rate else 1
        duration = max(1, picture.duration or usual)
        self._last_pts, self._next_pts = pts, pts + duration
        self._count += 1
        return TimedPicture(self._count - 1, pts, duration, picture)

    def _stamp(self, picture: av.VideoFrame) -> int | None:
        """Its presentation time; or its decoding time, where the former is wrong more often.

        AVI and ASF store one time a packet, from which FFmpeg cannot always tell the other. This
        is the rule of FFmpeg's own ``best_effort_timestamp``.
        """
        if picture.pts is None or picture.dts is None:
            return picture.dts if picture.pts is None else picture.pts
        if self._previous is not None:
            self._faulty_pts += picture.pts <= self._previous[0]
            self._faulty_dts += picture.dts <= self._previous[1]
        self._previous = (picture.pts, picture.dts)
        return picture.pts if self._faulty_pts <= self._faulty_dts else picture.dts

    def _check(self, picture: av.VideoFrame) -> None:
        """Refuse a picture that the decoder made up, or after one that it lost."""
        if picture.is_corrupt:
            raise self._damaged("the decoder had to make parts of it up")
        if picture.interlaced_frame or picture.pts is None:
            self._counts_packets = False
            self._awaited.clear()
            return
        earlier = {pts for pts in self._awaited if pts < picture.pts}
        # Those before the first picture depend on what lies before the file.
        if earlier and self._count:
            raise self._damaged("it is missing")
        self._awaited -= {*earlier, picture.pts}

    def _check_end(self) -> None:
        # Where a block of Matroska is damaged, FFmpeg goes on at the next one that it finds.
        stated = _stated_end(self._stream)
        usual = self._stream.average_rate or Fraction(25)
        if stated is not None and self._count:
            time_base = self._stream.time_base or Fraction(1, 90000)
            if stated - self._next_pts * time_base > 2 / usual:
                raise self._damaged(f"it is missing, and {float(stated):.2f} s should be there")

    def _damaged(self, reason: str) -> RunError:
        return RunError(
            f"{self._path}: frame {self._count} cannot be decoded ({reason}); the file is damaged"
            " there, cut it before this frame or copy it again"
        )

    def _shifted(self, packet: av.Packet) -> av.Packet:
        if self._origin and packet.time_base:
            offset = round(self._origin / packet.time_base)
            if packet.pts is not None:
                packet.pts -= offset
            if packet.dts is not None:
                packet.dts -= offset
        return packet


def _reason(error: av.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _stated_end(stream: av.VideoStream) -> Fraction | None:
    """Seconds from the start of the file to the end of the stream, as a Matroska file tags it."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds.rstrip("\0"))
    except (KeyError, ValueError):
        return None
