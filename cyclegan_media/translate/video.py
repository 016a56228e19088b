"""A video through a generator: its frames translated, all else of it kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import av
import torch
from torch import Tensor
from tqdm import tqdm

from cyclegan_media.errors import CycleganMediaError
from cyclegan_media.files import atomic_file, check_output
from cyclegan_media.media.sound_track import NewSound
from cyclegan_media.media.video import Decoder, VideoFrame, VideoReader
from cyclegan_media.media.video_decoder import TrackPacket
from cyclegan_media.media.video_writer import VideoWriter
from cyclegan_media.translate.image import check_shape
from cyclegan_media.translate.pipeline import Busy, overlapped
from cyclegan_media.translate.queued import Fetch, Queues, Samples
from cyclegan_media.translate.stages import StageTimes, Stopwatch

Apply = Callable[[Tensor], Tensor]
Progress = Callable[[int, int | None], None]
Show = Callable[[int], object]

QUEUED = 2
"""Batches that wait between two stages at most."""
_MAX_PACKETS = 256
"""Packets of other tracks that are collected while no frame comes."""


@dataclass(frozen=True)
class VideoResult:
    """What :func:`translate_video` made."""

    path: Path
    frames: int
    seconds: Fraction
    """From the start of the first frame to the end of the last."""
    messages: tuple[str, ...]
    """What could not be kept as it was in the source; each was logged as well."""
    times: StageTimes
    """How long reading, translating and writing worked."""


@dataclass(frozen=True)
class _Batch:
    """Frames that belong together, and what lies before them in the file."""

    packets: list[TrackPacket]
    frames: list[VideoFrame]
    content: list[Tensor]
    """RGB ``(n, 3, height, width)``; or, where ``apply`` queues, planes ``(n, rows, columns)``,
    those of the source before, of the target after. None without frames."""


def translate_video(
    apply: Apply,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    codec: str | None = None,
    crf: float | None = None,
    preset: str | None = None,
    stream: int | None = None,
    decoder: Decoder = "cpu",
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    provenance: Mapping[str, str] | None = None,
    untouched: Callable[[int], bool] | None = None,
    sound: NewSound | None = None,
) -> VideoResult:
    """Translate the frames of a video; timestamps, sound, subtitles, tags and rotation are kept.

    Decoding, translating and encoding overlap, in bounded queues: memory does not grow with the
    length. The target is complete or absent.

    Args:
        apply: maps float32 ``(n, 3, height, width)`` in −1…1, upright, to the same shape. Frames
            of the last batch may be fewer.
        batch_size: frames that are translated at once.
        codec, crf, preset: see :class:`cyclegan_media.media.video_writer.VideoWriter`.
        stream: which video stream of the source, counted from 0; ``None`` for the largest. Others
            are left out, with a message.
        decoder: see :class:`cyclegan_media.media.video.VideoReader`.
        overwrite: replace ``target`` if it exists.
        progress: ``True`` shows a bar; a function is called after each batch with the number of
            frames done and their total, ``None`` where the file does not say.
        provenance: added to the metadata of the container.
        untouched: tells by its number whether a frame stays as it is; what ``apply`` makes of it is
            not used then, and it is encoded from its stored samples.
        sound: what takes the place of a sound stream of the source.

    Raises:
        UserError: the source cannot be read, the target cannot be written, or the options do not
            go together.
        RunError: a frame cannot be decoded, translated or encoded, or the disk is full; names the
            file and the frame.
    """
    source = Path(source)
    target = check_output(target, overwrite=overwrite)
    with (
        VideoReader(source, stream, decoder, _gpu_of(apply)) as video,
        atomic_file(target, overwrite=overwrite) as partial,
    ):
        with VideoWriter(
            partial,
            video,
            codec=codec,
            crf=crf,
            preset=preset,
            tags=provenance,
            name=target,
            sound=sound,
        ) as writer:
            run = _Run(apply, video, writer, untouched or (lambda number: False))
            start = perf_counter()
            with (
                _stopped_early(apply),
                _shown(progress, video) as show,
                closing(run.batches(batch_size)) as batches,
            ):
                busy = overlapped(
                    batches,
                    lambda read: run.translated(read, show),
                    run.write,
                    capacity=QUEUED,
                )
            times = run.finish(busy, start)
        messages = video.messages + writer.messages
        return VideoResult(target, writer.frames, run.seconds, messages, times)


class _Run:
    """The three stages of one translation; each is used by one thread only."""

    def __init__(
        self,
        apply: Apply,
        video: VideoReader,
        writer: VideoWriter,
        untouched: Callable[[int], bool],
    ) -> None:
        self._apply, self._video, self._writer = apply, video, writer
        self._untouched = untouched
        size = (video.height, video.width)
        self._samples = Samples(size, to_rgb=video.rgb, from_rgb=writer.planes)
        self._start: Fraction | None = None
        self._end = Fraction(0)
        self._to_rgb, self._from_rgb = Stopwatch(), Stopwatch()

    @property
    def seconds(self) -> Fraction:
        return Fraction(0) if self._start is None else self._end - self._start

    def batches(self, size: int) -> Generator[_Batch]:
        """Frames in batches, and the packets of other tracks as they lie between them."""
        packets: list[TrackPacket] = []
        frames: list[VideoFrame] = []
        with closing(self._video.demux(self._writer.tracks)) as items:
            for item in items:
                if isinstance(item, VideoFrame):
                    frames.append(item)
                else:
                    packets.append(item)
                if len(frames) == size or len(packets) == _MAX_PACKETS:
                    yield self._batch(packets, frames)
                    packets, frames = [], []
        yield self._batch(packets, frames)

    def _batch(self, packets: list[TrackPacket], frames: list[VideoFrame]) -> _Batch:
        if not frames:
            return _Batch(packets, frames, [])
        if isinstance(self._apply, Queues):
            planes = zip(*(frame.planes() for frame in frames), strict=True)
            return _Batch(packets, frames, [_stacked(plane) for plane in planes])
        with self._to_rgb:
            colours = torch.stack([frame.tensor() for frame in frames])
        return _Batch(packets, frames, [colours])

    def translated(self, batches: Iterator[_Batch], show: Show) -> Iterator[_Batch]:
        """The same batches in their new colours.

        Where ``apply`` can queue them, so many are queued before the first one is waited for.
        """
        ahead = self._apply.ahead if isinstance(self._apply, Queues) else 0
        under_way: deque[Callable[[], _Batch]] = deque()
        for finish in map(self._begun, batches):
            under_way.append(finish)
            if len(under_way) > ahead:
                yield from _shown_when_written(under_way.popleft()(), show)
        for finish in under_way:
            yield from _shown_when_written(finish(), show)

    def _begun(self, batch: _Batch) -> Callable[[], _Batch]:
        """Begin to translate a batch; what is returned waits for the result."""
        if not batch.frames:
            return lambda: batch
        first = batch.frames[0]
        with self._named(first):
            fetch = self._begin(batch.content)

        def finish() -> _Batch:
            with self._named(first):
                return _Batch(batch.packets, batch.frames, fetch())

        return finish

    def _begin(self, content: list[Tensor]) -> Fetch:
        if isinstance(self._apply, Queues):
            return self._apply.begin(content, self._samples)
        (colours,) = content
        output = self._apply(colours).detach()
        check_shape(output, colours.shape)
        return lambda: [output]

    @contextmanager
    def _named(self, frame: VideoFrame) -> Iterator[None]:
        """Say at which frame translating fails."""
        where = f"{self._video.path}: frame {frame.number}"
        try:
            yield
        except CycleganMediaError as error:
            raise type(error)(f"{where}: {error}") from error
        except Exception as error:
            error.add_note(f"while translating {where}")
            raise

    def write(self, batch: _Batch) -> None:
        """Hand a batch to the encoder, and packets of other tracks to the container."""
        for packet in batch.packets:
            self._writer.copy(packet)
        for k, frame in enumerate(batch.frames):
            if self._untouched(frame.number):
                self._writer.keep(frame)
            else:
                with self._from_rgb:
                    picture = self._picture([tensor[k] for tensor in batch.content])
                self._writer.encode(picture, frame.time, frame.duration * frame.time_base)
            if self._start is None:
                self._start = frame.time
            self._end = frame.time + frame.duration * frame.time_base

    def _picture(self, content: list[Tensor]) -> av.VideoFrame:
        if isinstance(self._apply, Queues):
            return self._writer.layout.picture(content)
        return self._writer.picture(*content)

    def finish(self, busy: Busy, start: float) -> StageTimes:
        """Finish the file, for which an encoder may hold back dozens of frames."""
        last = Stopwatch()
        with last:
            self._writer.close()
        writing = busy.sink + last.seconds
        to_rgb, from_rgb = self._to_rgb.seconds, self._from_rgb.seconds
        return StageTimes(
            self._writer.frames,
            perf_counter() - start,
            {"reading": busy.source, "translating": busy.work, "writing": writing},
            {
                "decoding": busy.source - to_rgb,
                "converting to RGB": to_rgb,
                "converting from RGB": from_rgb,
                "encoding": writing - from_rgb,
            },
        )


def _gpu_of(apply: Apply) -> int | None:
    """The GPU on which planes may lie for ``apply``."""
    if isinstance(apply, Queues) and apply.device.type == "cuda":
        return apply.device.index or 0
    return None


def _stacked(planes: Sequence[Tensor]) -> Tensor:
    if len({plane.device for plane in planes}) > 1:  # not all of them could stay on the GPU
        planes = [plane.cpu() for plane in planes]
    return torch.stack(list(planes))


@contextmanager
def _stopped_early(apply: Apply) -> Iterator[None]:
    """Do not go on computing what a failure, or an interrupt, has made useless."""
    try:
        yield
    except BaseException:
        if isinstance(apply, Queues):
            apply.stop()
        raise


def _shown_when_written(batch: _Batch, show: Show) -> Iterator[_Batch]:
    yield batch
    show(len(batch.frames))


@contextmanager
def _shown(progress: Progress | bool | None, video: VideoReader) -> Iterator[Show]:
    """A function that is told the number of frames just done."""
    total = video.frame_count
    if callable(progress):
        done = 0

        def show(count: int) -> None:
            nonlocal done
            done += count
            progress(done, total)

        yield show
        return
    with tqdm(total=total, unit="frame", desc=video.path.name, disable=not progress) as bar:
        yield bar.update
