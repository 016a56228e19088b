"""Opening a video file: which errors it has at once, which stream is meant, where time begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition

from cyclegan_media.errors import UserError
from cyclegan_media.media.kinds import check_input
from cyclegan_media.media.limits import MAX_FRAME_VARIABLE, max_frame_pixels
from cyclegan_media.media.opening import open_local

_TIME_IS_RELATIVE: int = Flags.ts_discont.value  # type: ignore[assignment]


def find_nvdec(gpu: int | None = None) -> HWAccel:
    """NVDEC, the decoder of NVIDIA's GPUs; what it cannot decode, FFmpeg does on the processor.

    Args:
        gpu: number of the GPU in whose memory its pictures stay; ``None`` has the first one send
            them back.

    Raises:
        UserError: FFmpeg was built without it, or there is no such GPU, or no driver of it.
    """
    if gpu is None:
        hardware = HWAccel("cuda", allow_software_fallback=True)
    else:
        # In the context that PyTorch has made there: FFmpeg would make that with other flags, and
        # fails where it is not the first. In one of its own PyTorch could not reach the pictures.
        options: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}
        hardware = HWAccel("cuda", str(gpu), True, options, is_hw_owned=True)
    try:
        with _in_pytorchs_context(hardware):
            hardware.create(av.Codec("h264", "r"))
    except (av.FFmpegError, OSError, ValueError, NotImplementedError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(
            f"decoder nvdec: needs an NVIDIA GPU and its driver, of which there is none here"
            f" ({reason}); leave the decoder out"
        ) from error
    return hardware


def open_container(
    path: str | os.PathLike[str], hardware: HWAccel | None = None
) -> tuple[Path, InputContainer]:
    """Open a media file, and only that: nothing that it may refer to.

    Args:
        hardware: what decodes its video, of :func:`find_nvdec`; ``None`` for the processor.

    Raises:
        UserError: missing, empty, truncated, damaged, or of a kind that is no video.
    """
    path = check_input(path)
    missing = missing_bytes(path)
    if missing:
        raise UserError(
            f"{path}: is truncated, at least {missing} bytes are missing at its end; copy it again"
        )
    with _in_pytorchs_context(hardware):
        return path, open_local(path, "is damaged or not a video", hardware)


@contextmanager
def _in_pytorchs_context(hardware: HWAccel | None) -> Iterator[None]:
    """Let this thread be where PyTorch works on a GPU, whose context FFmpeg then takes, too.

    Raises:
        OSError: PyTorch finds no such GPU.
    """
    if hardware is None or not hardware.is_hw_owned:
        yield
        return
    import torch

    if hardware.device_id >= torch.cuda.device_count():
        raise OSError(f"PyTorch finds no GPU {hardware.device_id}")
    with torch.cuda.device(hardware.device_id):
        torch.zeros(1, device="cuda")  # a thread's context comes with its first work
        yield


def choose_stream(path: Path, container: InputContainer, number: int | None) -> av.VideoStream:
    """The video stream of that number, counted from 0 without cover pictures; else the largest.

    Raises:
        UserError: there is none, or it is coded in a way that FFmpeg cannot decode.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        others = {s.type for s in container.streams if s.type in ("audio", "subtitle")}
        holds = f", only {' and '.join(sorted(others))}" if others else ""
        raise UserError(f"{path}: holds no video{holds}")
    if number is None:
        chosen = max(streams, key=_area)
    elif 0 <= number < len(streams):
        chosen = streams[number]
    else:
        known = ", ".join(f"{k} ({describe(s)})" for k, s in enumerate(streams))
        raise UserError(f"{path}: has no video stream {number}; its video streams are {known}")
    if chosen.codec_context is None:
        raise UserError(f"{path}: its video is coded in a way that FFmpeg cannot decode here")
    _limit_pixels(path, chosen)
    return chosen


def _limit_pixels(path: Path, stream: av.VideoStream) -> None:
    """Refuse frames that are too large, and have the decoder refuse those that become so."""
    most, context = max_frame_pixels(), stream.codec_context
    if context.width * context.height > most:
        raise UserError(
            f"{path}: its frames of {context.width} × {context.height} pixels are more than the"
            f" limit of {most / 1e6:g} megapixels; raise it by the environment variable"
            f" {MAX_FRAME_VARIABLE}"
        )
    if not context.is_open:
        # It counts the pixels of its buffers, whose sides it rounds up.
        context.options = {**context.options, "max_pixels": str(2 * most + 128**2)}


def describe(stream: av.VideoStream) -> str:
    """Codec and size of a video stream in a few words."""
    context = stream.codec_context
    if context is None:
        return "unknown codec"
    return f"{context.codec.canonical_name} {context.width}×{context.height}"


def _area(stream: av.VideoStream) -> tuple[int, bool]:
    context = stream.codec_context
    if context is None:
        return -1, False
    return context.width * context.height, bool(stream.disposition & Disposition.default)


def origin_of(container: InputContainer) -> Fraction:
    """The time in seconds at which the file's timestamps begin.

    It is 0 where timestamps count from the beginning of the file. A recorded broadcast counts from
    when the station's clock was last 0, hours ago; there it is the start of the first stream.
    """
    if not container.format.flags & _TIME_IS_RELATIVE:
        return Fraction(0)
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    return min(starts, default=Fraction(0))


def missing_bytes(path: Path) -> int:
    """How many bytes a file is shorter than its outermost structure says, where that can be known.

    FFmpeg plays a truncated file to where it ends and reports nothing.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            end = _end_of_boxes(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _end_of_segment(file)
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """ISO 14496-12, section 4.2: boxes with their sizes follow one another."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        # 0 is a box up to the end of the file; other small ones, and odd names, are no boxes.
        if length < 8 or not all(0x20 <= character < 0x7F for character in header[4:8]):
            return size
        position += length
    return position


def _end_of_segment(file: BinaryIO) -> int:
    """RFC 8794: the header element, then the segment that holds all else, each with its size."""
    position = 0
    for identifier in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        file.seek(position)
        head = file.read(12)
        if head[:4] != identifier or len(head) < 12 or head[4] == 0:
            return 0
        octets = 9 - head[4].bit_length()
        length = int.from_bytes(head[4 : 4 + octets], "big") & ~(1 << 7 * octets)
        if length == (1 << 7 * octets) - 1:  # not known when writing began
            return 0
        position += 4 + octets + length
    return position
