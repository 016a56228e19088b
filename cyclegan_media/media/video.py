"""Videos → frames with exact timestamps, one at a time, with the file's other tracks if wanted."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Discard
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media.video_decoder import DecodingPass, TimedPicture, TrackPacket
from cyclegan_media.media.video_device import planes_in_place
from cyclegan_media.media.video_format import ColourTags, PlaneLayout, layout_of
from cyclegan_media.media.video_orientation import (
    UPRIGHT,
    Orientation,
    orientation_of,
    read_display_matrix,
)
from cyclegan_media.media.video_source import choose_stream, find_nvdec, open_container, origin_of

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("cyclegan_media")

Decoder = Literal["cpu", "nvdec"]


@dataclass(eq=False, slots=True)
class VideoFrame:
    """One picture of a video."""

    number: int
    """Of the frame in its video, from 0."""
    pts: int
    """When it is shown, in units of ``time_base``."""
    duration: int
    """Up to the next frame, in units of ``time_base``; of the last one, as the file states it."""
    time_base: Fraction
    """Seconds."""
    decoded: av.VideoFrame
    """The planes as they are stored: not turned, in the format of ``layout``."""
    layout: PlaneLayout
    orientation: Orientation
    in_place: list[Tensor] | None = None
    """The planes in a GPU's memory, where they have stayed there; ``decoded`` lies there, too."""

    @property
    def time(self) -> Fraction:
        """When it is shown, in seconds."""
        return self.pts * self.time_base

    def planes(self) -> list[Tensor]:
        """The stored planes ``(rows, columns)``, uint8 or uint16, where the decoder put them.

        :meth:`VideoReader.rgb` makes RGB of them, on the device that they are moved to.
        """
        return self.layout.planes(self.decoded) if self.in_place is None else self.in_place

    def tensor(self) -> Tensor:
        """RGB ``(3, height, width)``, float32 in −1…1, upright, in the computer's memory.

        Computed from the planes without rounding to 8 bits in between.
        """
        planes = [plane.cpu() for plane in self.planes()]
        return _upright_rgb(planes, self.layout, self.orientation)

    @property
    def pixels(self) -> NDArray[Any]:
        """RGB ``(height, width, 3)``, upright: uint8, or uint16 (0…65535) for deeper sources."""
        import torch

        top, dtype = (65535, torch.uint16) if self.layout.coding.bits > 8 else (255, torch.uint8)
        values = self.tensor().add_(1).mul_(top / 2).round_().to(dtype)
        return np.ascontiguousarray(values.permute(1, 2, 0).numpy())


class VideoReader:
    """An open video; iterating it yields a :class:`VideoFrame` after the other, as they are shown.

    Each iteration begins at the start of the file. Memory does not grow with its length.

    Args:
        stream: which of its video streams, counted from 0; ``None`` for the largest. Cover
            pictures do not count.
        decoder: ``cpu``, or ``nvdec`` for a GPU's, of what it can decode.
        gpu: number of the GPU that decodes and that planes stay on, where they can; ``None`` for
            the first one, which sends them back.

    Raises:
        UserError: missing, empty, truncated, damaged, or without a video stream or a frame; or
            there is no such GPU.
        RunError: (while iterating) a frame cannot be decoded; names it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        stream: int | None = None,
        decoder: Decoder = "cpu",
        gpu: int | None = None,
    ) -> None:
        self._hardware = find_nvdec(gpu) if decoder == "nvdec" else None
        self.path, self.container = open_container(path)
        self._messages: dict[str, None] = {}
        self._reformatter = VideoReformatter()
        self._rescaling = False
        try:
            self.stream = choose_stream(self.path, self.container, stream)
            self.origin = origin_of(self.container)
            self.tracks = tuple(s for s in self.container.streams if s.discard != Discard.all)
            """All streams but those that FFmpeg keeps to itself, such as MP4's list of chapters."""
            self._look_up_times()
            self._look_at(self._first_picture())
        except BaseException:
            self.container.close()
            raise

    def _first_picture(self) -> av.VideoFrame:
        try:
            for item in self._pass(self.container, self.stream).items():
                assert isinstance(item, TimedPicture)
                return item.picture
        except RunError as error:
            raise UserError(str(error)) from error
        raise UserError(f"{self.path}: holds no frame that can be decoded")

    def _pass(self, container: InputContainer, stream: av.VideoStream) -> DecodingPass:
        return DecodingPass(self.path, container, stream, self.origin, self._tell)

    def _look_up_times(self) -> None:
        stream, whole = self.stream, self.container.duration
        self.time_base = stream.time_base or Fraction(1, 90000)
        """Seconds of a unit of the timestamps."""
        self.frame_rate = stream.average_rate or stream.guessed_rate
        """Mean frames per second; ``None`` where the file does not say."""
        self.frame_count = stream.frames or None
        """As the file's index or header states it; ``None`` where they do not."""
        if "mp4" in self.container.format.name:
            # Frames that an edit list leaves out are in the header's count.
            self.frame_count = sum(not entry.is_discard for entry in stream.index_entries) or None
        self.duration = None if whole is None else Fraction(whole, 10**6)
        """Seconds that the video stream, or else the file, says it lasts."""
        if stream.duration is not None:
            self.duration = stream.duration * self.time_base

    def _look_at(self, first: av.VideoFrame) -> None:
        self.tags = ColourTags.of(first)
        self.layout = layout_of(self.path, first, self.tags)
        self.stored_size = (first.height, first.width)
        self.side_data = frozenset(data.type for data in first.side_data)  # type: ignore[attr-defined]
        """What else the first frame carries, such as captions."""
        self.pixel_aspect = self.stream.sample_aspect_ratio or None
        """Width of a stored pixel over its height; ``None`` where the file does not say."""
        matrix = first.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
        self.display_matrix = None if matrix is None else read_display_matrix(bytes(matrix))
        orientation = orientation_of(self.display_matrix) if self.display_matrix else UPRIGHT
        if orientation is None:
            self._tell("is not shown in quarter turns; its frames are taken as they are stored")
        self.orientation = orientation or UPRIGHT
        turned = self.orientation.transposed
        self.height, self.width = self.stored_size[::-1] if turned else self.stored_size
        """Of the upright picture, in pixels."""
        if any(component.is_alpha for component in first.format.components):
            self._tell("has transparency, which is left out")
        if first.interlaced_frame:
            self._tell("is interlaced; its frames are taken as they are, deinterlace it first")

    @property
    def messages(self) -> tuple[str, ...]:
        """What a user should know of how the file was read; each was logged as well."""
        return tuple(self._messages)

    def _tell(self, message: str) -> None:
        if message not in self._messages:
            self._messages[message] = None
            logger.warning("%s: %s", self.path, message)

    def __iter__(self) -> Iterator[VideoFrame]:
        for item in self.demux():
            assert isinstance(item, VideoFrame)
            yield item

    def demux(self, tracks: Collection[int] = ()) -> Generator[VideoFrame | TrackPacket]:
        """Frames and, as they lie between them in the file, packets of other streams.

        Args:
            tracks: indices of the other streams. Each ends with an empty packet.
        """
        _, container = open_container(self.path, self._hardware)
        with container:
            stream = container.streams[self.stream.index]
            assert isinstance(stream, av.VideoStream)
            for item in self._pass(container, stream).items(tracks):
                yield self._frame(item) if isinstance(item, TimedPicture) else item

    def _frame(self, item: TimedPicture) -> VideoFrame:
        number, pts, duration, picture = item
        height, width = self.stored_size
        same_size = (picture.height, picture.width) == self.stored_size
        if not same_size and not self._rescaling:
            self._rescaling = True
            self._tell(
                f"changes its size at frame {number}; frames are scaled to the first one's,"
                f" {width}×{height}"
            )
        name = picture.format.name.replace("yuvj", "yuv")
        on_gpu = same_size and name == "cuda"
        in_place = planes_in_place(picture, self.layout) if on_gpu else None
        if in_place is None and not (same_size and name == self.layout.format):
            picture = self._reformatter.reformat(
                picture,
                width,
                height,
                self.layout.format,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            )
        return VideoFrame(
            number, pts, duration, self.time_base, picture, self.layout, self.orientation, in_place
        )

    def rgb(self, planes: Sequence[Tensor]) -> Tensor:
        """What :meth:`VideoFrame.tensor` makes of a frame's planes, on the device that they are on.

        Args:
            planes: as :meth:`VideoFrame.planes` gives them; those of several frames may be stacked.

        Returns:
            ``(…, 3, height, width)``
        """
        return _upright_rgb(planes, self.layout, self.orientation)

    def close(self) -> None:
        """Close the file. Iterations that are under way go on."""
        self.container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _upright_rgb(planes: Sequence[Tensor], layout: PlaneLayout, orientation: Orientation) -> Tensor:
    from cyclegan_media.media.video_colour import rgb_from_planes

    return orientation.upright(rgb_from_planes(planes, layout.coding))
