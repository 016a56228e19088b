"""Which encoder, options and pixel format a video is written with."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import Capabilities, find_best_pix_fmt_of_list
from av.container import OutputContainer

from cyclegan_media.errors import UserError
from cyclegan_media.media.video_format import (
    RGB,
    ColourTags,
    PlaneLayout,
    layout_to_write,
)

DEFAULT_CODEC = "h264"
DEFAULT_CRF = {
    **{"libx264": 18, "libx265": 20, "libsvtav1": 24, "libaom-av1": 24, "libvpx-vp9": 24},
    **{"h264_nvenc": 18, "hevc_nvenc": 20, "av1_nvenc": 24},
}
"""Constant rate factors at which a viewer sees hardly any loss; other encoders keep their own.
NVENC's are those of the others for the same codec; they have not been compared."""
_DEFAULT_QUANTISER = 3
"""For encoders without a rate factor: their scale from 1 (best) to 31."""
_WRITTEN = frozenset(
    {
        *("mp4", "mov", "ipod", "3gp", "3g2", "matroska", "webm"),
        *("avi", "asf", "flv", "ogv", "ogg"),
    }
    | {"mpegts", "mpeg"}
)
"""FFmpeg's names of the containers that videos are written in."""
_ONLY_ITS_OWN = ("ogg", "ogv", "mpeg")
"""Containers that FFmpeg would begin to write with any codec."""
_ONE_STAMP = ("avi", "asf")
"""Containers that do not tell the order of decoding from that of showing."""


@dataclass(frozen=True)
class EncoderSettings:
    """All that an encoder is told before its first picture."""

    codec: str
    """FFmpeg's name of the encoder."""
    tags: ColourTags
    size: tuple[int, int]
    """Height and width as stored."""
    pixel_aspect: Fraction | None
    time_base: Fraction
    frame_rate: Fraction
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"

    def apply(self, context: av.VideoCodecContext) -> None:
        """Set them on an encoder that is not open yet."""
        context.height, context.width = self.size
        context.pix_fmt = self.pixel_format
        context.time_base, context.framerate = self.time_base, self.frame_rate
        context.bit_rate = 0
        if self.pixel_aspect is not None:
            context.sample_aspect_ratio = self.pixel_aspect
        context.colorspace, context.color_range = self.tags.matrix, self.tags.range
        context.color_primaries, context.color_trc = self.tags.primaries, self.tags.transfer
        context.options = {**self.options, **_without_garbage(self.codec, self.size[1])}
        if "crf" not in self.options and "cq" not in self.options:
            context.qscale, context.global_quality = True, _DEFAULT_QUANTISER


def _without_garbage(codec: str, width: int) -> dict[str, str]:
    """Options that keep x264 from reading memory that nobody wrote.

    The AVX-512 code for its macroblock trees (core 165) takes the macroblocks of a row in eights,
    and does not stop at the row's end. Where the last eight is not full, what it makes of a frame
    depends on what lay in memory before, and a clip that is encoded twice becomes two files. With
    AVX2, which is a few per cent slower, it becomes the same one each time.
    """
    macroblocks = -(-width // 16)
    if codec not in ("libx264", "libx264rgb") or macroblocks % 8 == 0:
        return {}
    import torch

    # It must not be told of instructions that the processor lacks.
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return {"x264-params": "asm=avx2"} if has_avx512 else {}


def choose_codec(target: Path, container: OutputContainer, codec: str | None) -> str:
    """FFmpeg's name of the encoder: the one asked for, else H.264, else the container's own.

    Raises:
        UserError: it is unknown here, or the container cannot hold it.
    """
    known = False
    for name in [codec] if codec else [DEFAULT_CODEC, container.default_video_codec]:
        try:
            encoder = av.Codec(name, "w")
        except ValueError:
            continue
        known = encoder.type == "video"
        if known and _holds(container, encoder.canonical_name):
            return encoder.name
    if codec and not known:
        raise UserError(f"codec {codec}: FFmpeg has no such video encoder here; try h264 or hevc")
    what = f"codec {codec}" if codec else "any codec that is at hand"
    raise UserError(f"{target}: this format cannot hold {what}; write .mp4 or .mkv")


def _holds(container: OutputContainer, codec: str) -> bool:
    format_name = container.format.name
    if format_name not in _WRITTEN:
        return False
    if format_name in _ONLY_ITS_OWN:
        return codec == container.default_video_codec
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            trial.add_mux_stream(codec, rate=25, width=64, height=64)
    except ValueError:
        return False
    return True


def encoder_options(
    codec: str, format_name: str, crf: float | None, preset: str | None
) -> dict[str, str]:
    """The encoder's options, for a rate factor and a preset; ``None`` for what it does well by.

    NVENC takes the rate factor for the target of its constant quality, ``cq``.

    Raises:
        UserError: the encoder has no such option, or takes the value for something else.
    """
    known = {option.name for option in av.CodecContext.create(codec, "w").supported_options.private}
    options: dict[str, str] = {}
    if preset is not None:
        if "preset" not in known:
            raise UserError(f"preset: codec {codec} has none; leave it out")
        options["preset"] = preset
    if crf is None:
        crf = DEFAULT_CRF.get(codec)
    elif not known & {"crf", "cq"}:
        raise UserError(f"crf: codec {codec} has none; leave it out")
    if crf is not None and "crf" in known:
        options["crf"] = f"{crf:g}"
    elif crf is not None:  # NVENC: quality rules where no bit rate is set
        if crf == 0:
            raise UserError(
                f"crf 0: leaves the quality to codec {codec}; give 1 or more, or use codec libx264,"
                " where 0 is without loss"
            )
        options.update({"rc": "vbr", "cq": f"{crf:g}"})
    if codec in ("libvpx", "libvpx-vp9"):  # else minutes for each second of high definition
        options.update({"deadline": "good", "cpu-used": "4"})
    if codec == "libvpx":  # takes the rate factor for a lower bound within a bit rate
        options["b"] = "500M"
    if codec == "libx265":  # it writes to the terminal itself
        options["x265-params"] = "log-level=none"
    if format_name in _ONE_STAMP:
        options["bf"] = "0"
    return options


def fit_to_encoder(
    settings: EncoderSettings, source: PlaneLayout
) -> tuple[EncoderSettings, PlaneLayout]:
    """Choose the pixel format nearest to the source's that the encoder takes at this size.

    4:2:0 in H.264 has even sizes only; an odd width becomes 4:4:4 and an odd height 4:2:2, rather
    than lose or gain a row.

    Returns:
        The settings with the pixel format, and the layout of the pictures to hand over.

    Raises:
        UserError: the encoder takes no format at this size, refuses its options, or needs hardware
            that is not there.
    """
    left = _colour_formats(settings.codec)
    for _ in range(len(left)):
        best, _loss = find_best_pix_fmt_of_list(left, source.format)
        if best is None:
            break
        layout = layout_to_write(best, settings.tags, settings.size)
        tags = settings.tags if layout.coding.weights else replace(settings.tags, matrix=RGB)
        candidate = replace(settings, pixel_format=best.name, tags=tags)
        try:
            _try_out(candidate)
        except av.FFmpegError:
            left.remove(best.name)
        else:
            return candidate, layout
    _check_hardware(settings)
    height, width = settings.size
    options = ", ".join(f"{name} {value}" for name, value in settings.options.items())
    raise UserError(
        f"codec {settings.codec} refuses frames of {width}×{height} pixels"
        + (f" with {options}" if options else "")
        + _reason(settings)
    )


def _colour_formats(codec: str) -> list[str]:
    """Pixel formats of an encoder that lie in memory, without transparency and grey."""
    formats = [
        found
        for found in av.Codec(codec, "w").video_formats or []
        if len(found.components) >= 3 and not any(part.is_alpha for part in found.components)
    ]
    # Y, Cb and Cr where the encoder takes them: hardly any player shows coded RGB.
    chosen = [found for found in formats if not found.is_rgb] or formats
    return [found.name for found in chosen]


def _check_hardware(settings: EncoderSettings) -> None:
    """Whether an encoder that failed at least works for a plain picture.

    Raises:
        UserError: the hardware that it is for, or its driver, is missing.
    """
    if not av.Codec(settings.codec, "w").capabilities & Capabilities.hardware:
        return
    first = _colour_formats(settings.codec)[0]
    plain = replace(settings, size=(256, 256), options={}, pixel_format=first)
    try:
        _try_out(plain)
    except av.FFmpegError as error:
        raise UserError(
            f"codec {settings.codec}: the hardware that it needs cannot be used here"
            f"{_reason(plain)}; try h264 or hevc"
        ) from error


def _try_out(settings: EncoderSettings) -> None:
    if settings.codec == "libsvtav1":  # it writes to the terminal itself
        os.environ.setdefault("SVT_LOG", "1")
    context = av.CodecContext.create(settings.codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    settings.apply(context)
    context.open()


def _reason(settings: EncoderSettings) -> str:
    """What the encoder itself says, which FFmpeg tells its log alone."""
    before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the last try may have said the same
    try:
        with av.logging.Capture() as log:
            _try_out(settings)
    except av.FFmpegError:
        return "".join(f": {text.strip()}" for _, _, text in log[:1])
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(skips)
    return ""
