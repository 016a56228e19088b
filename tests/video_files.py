"""Small videos that tests make for themselves, with what real ones have."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from cyclegan_media.media import VideoReader

LOSSLESS = {"qp": "0", "preset": "ultrafast"}


def picture(planes: Sequence[np.ndarray], pixel_format: str = "yuv420p") -> av.VideoFrame:
    """A picture with these planes."""
    height, width = planes[0].shape
    made = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(made.planes, planes, strict=True):
        rows = np.asarray(memoryview(plane)).view(values.dtype).reshape(plane.height, -1)
        rows[:, : plane.width] = values
    return made


def plain(yuv: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> av.VideoFrame:
    """A picture of one colour in 4:2:0, by its three samples."""
    small = (-(-size[0] // 2), -(-size[1] // 2))
    sizes = (size, small, small)
    return picture([np.full(s, v, np.uint8) for s, v in zip(sizes, yuv, strict=True)])


def moving(count: int, size: tuple[int, int] = (48, 64), bits: int = 8) -> list[av.VideoFrame]:
    """Pictures in 4:2:0 with gradients in all three planes and a square that moves by them."""
    height, width = size
    scale, dtype = 2 ** (bits - 8), np.uint8 if bits == 8 else np.uint16
    rows, columns = np.mgrid[:height, :width]
    pictures = []
    for k in range(count):
        luma = 40 + 150 * columns / width + 20 * rows / height
        left = (3 * k) % (width - 8)
        luma[8:16, left : left + 8] = 220
        small = [plane[::2, ::2] for plane in (rows / height, columns / width)]
        planes = [luma, 90 + 70 * small[0] + k % 8, 160 - 70 * small[1]]
        name = "yuv420p" if bits == 8 else f"yuv420p{bits}le"
        pictures.append(picture([(scale * p).astype(dtype) for p in planes], name))
    return pictures


def write_video(
    path: Path,
    pictures: Sequence[av.VideoFrame],
    *,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    last_duration: int = 512,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    colours: dict[str, int] | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    sound: str | None = None,
    sound_start: Fraction = Fraction(0),
    subtitles: str | None = None,
    cover: bool = False,
    second: Sequence[av.VideoFrame] | None = None,
    tags: dict[str, str] | None = None,
    chapters: list[Any] | None = None,
) -> Path:
    """Write ``pictures``, shown at ``times`` (in ``time_base``), with other tracks beside them.

    Args:
        colours: attributes of the encoder such as ``colorspace``.
        matrix: the display matrix.
        sound, subtitles: names of encoders for a tone of the video's length, and for two texts.
        second: pictures of another video stream, 25 a second.
    """
    times = [512 * k for k in range(len(pictures))] if times is None else times
    unit = {"movie_timescale": str(time_base.denominator)}  # of MP4, for late starts
    with av.open(str(path), "w", container_options=unit) as out:
        out.metadata.update(tags or {})
        if chapters:
            out.set_chapters(chapters)
        video = _video_stream(out, pictures[0], codec, options or LOSSLESS, time_base)
        for name, value in (colours or {}).items():
            setattr(video.codec_context, name, value)
        if matrix is not None:
            video.set_display_matrix(matrix)
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        video.metadata["language"] = "fra"
        other = second and _video_stream(out, second[0], "libx264", LOSSLESS, Fraction(1, 25))
        tone = sound and out.add_stream(sound, rate=48000)
        texts = subtitles and out.add_stream(subtitles)
        if texts:
            texts.codec_context.subtitle_header = _ASS_HEADER
            texts.metadata["language"] = "spa"
        if tone:
            tone.metadata["language"] = "eng"
        if cover:
            image = out.add_stream("mjpeg", rate=25, options={"strict": "unofficial"})
            image.width, image.height, image.pix_fmt = 320, 240, "yuvj420p"
            image.disposition = av.stream.Disposition.attached_pic
        out.start_encoding()
        if cover:
            image_frame = plain((128, 128, 128), (240, 320)).reformat(format="yuvj420p")
            image_frame.pts = 0
            out.mux(image.encode(image_frame))
        if texts:
            out.mux(_texts(texts))
        ends = [*times[1:], times[-1] + last_duration]
        written = 0
        for k, (made, start, end) in enumerate(zip(pictures, times, ends, strict=True)):
            made.pts, made.time_base, made.duration = start, time_base, end - start
            made.pict_type = 0
            out.mux([_lasting(p, times, ends) for p in video.encode(made)])
            if other and k < len(second):
                second[k].pts, second[k].time_base = k, Fraction(1, 25)
                out.mux(other.encode(second[k]))
            while tone and written / 48000 < end * time_base:
                out.mux(tone.encode(_tone(written, sound_start)))
                written += 1024
        out.mux([_lasting(p, times, ends) for p in video.encode(None)])
        for stream in (other, tone):
            if stream:
                out.mux(stream.encode(None))
    return path


def packets(path: Path, index: int) -> list[tuple[bytes, Fraction, Fraction, Fraction]]:
    """Content, presentation time, decoding time and duration in seconds of a stream's packets."""
    with av.open(str(path)) as container:
        return [
            (bytes(p), p.pts * p.time_base, p.dts * p.time_base, (p.duration or 0) * p.time_base)
            for p in container.demux(container.streams[index])
            if p.size
        ]


def same(frames: Tensor) -> Tensor:
    """The network that changes nothing."""
    return frames


def psnr(one: Path, other: Path, stream: int | None = None, every: int = 1) -> float:
    """Of the worst frame, in dB."""
    worst = float("inf")
    with VideoReader(one, stream) as first, VideoReader(other) as second:
        for a, b in zip(first, second, strict=True):
            if a.number % every:
                continue
            error = (a.tensor().double() - b.tensor()).square().mean()
            worst = min(worst, float(10 * torch.log10(4 / error.clamp(min=1e-12))))
    return worst


def times(path: Path, stream: int | None = None) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with VideoReader(path, stream) as video:
        return [frame.time for frame in video]


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _video_stream(
    out: Any, first: av.VideoFrame, codec: str, options: dict[str, str], time_base: Fraction
) -> Any:
    video = out.add_stream(codec, rate=25, options=options, time_base=time_base)
    video.width, video.height, video.pix_fmt = first.width, first.height, first.format.name
    return video


def _lasting(packet: av.Packet, times: Sequence[int], ends: Sequence[int]) -> av.Packet:
    k = list(times).index(packet.pts)
    packet.duration = ends[k] - times[k]
    return packet


def _tone(start: int, offset: Fraction) -> av.AudioFrame:
    clock = (start + np.arange(1024)) / 48000
    samples = 0.3 * np.sin(2 * np.pi * 440 * clock).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([samples] * 2), "fltp", "stereo")
    frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
    frame.pts = start + round(offset * 48000)
    return frame


def _texts(stream: Any) -> list[av.Packet]:
    made = []
    for number, start in enumerate((100, 700)):
        text = f"{number},0,Default,,0,0,0,,Text {number}".encode()
        packet = stream.codec_context.encode_subtitle(
            av.subtitles.subtitle.SubtitleSet.create(text, 0, 300, 0)
        )
        packet.pts = packet.dts = start
        packet.duration, packet.time_base, packet.stream = 300, Fraction(1, 1000), stream
        made.append(packet)
    return made
