"""Pieces of HTML that a page is put together from. All text is escaped here, all files embedded."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from cyclegan_media.errors import UserError
from cyclegan_media.page.plots import spectrogram_png

if TYPE_CHECKING:
    from torch import Tensor

_VIDEO = {".mp4": "video/mp4", ".webm": "video/webm"}
_AUDIO = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg"}
_PLAYED = {"h264", "vp8", "vp9", "av1", "libdav1d"}


def clip(file: Path, name: str) -> str:
    """A video element that holds ``file``, with its first frame as the poster.

    Raises:
        UserError: missing, no video, or stored in a way that browsers do not play.
    """
    source = _data_uri(file, _VIDEO)
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            codec, format_ = stream.codec_context.name, stream.codec_context.pix_fmt
            first = next(container.decode(stream)).to_image()
    except (FFmpegError, IndexError, StopIteration) as error:
        raise UserError(f"{file}: holds no video that can be decoded") from error
    if codec not in _PLAYED or format_ not in ("yuv420p", "yuvj420p"):
        raise UserError(
            f"{file}: is stored as {codec} ({format_}), which not every browser plays; "
            "write it as H.264 with yuv420p"
        )
    poster = io.BytesIO()
    first.save(poster, "JPEG", quality=85)
    return (
        f'<video controls loop playsinline preload="metadata" width="{first.width}" '
        f'height="{first.height}" poster="{embed(poster.getvalue(), "image/jpeg")}" '
        f'aria-label="{escape(name)}" src="{source}"></video>'
    )


def recording(file: Path, name: str) -> str:
    """An audio element that holds ``file``, under its spectrogram.

    Raises:
        UserError: missing, or no sound that can be read.
    """
    source = _data_uri(file, _AUDIO)
    try:
        samples, rate = soundfile.read(str(file), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{file}: holds no sound that can be read") from error
    mono = samples.mean(1)
    if len(mono) < 0.032 * rate:
        raise UserError(f"{file}: is shorter than 32 ms, too short for a spectrogram")
    return _player(mono, rate, name, source)


def sound(samples: NDArray[np.floating[Any]], sample_rate: int, name: str) -> str:
    """An audio element that holds mono ``samples`` ``(n,)``, −1…1, under their spectrogram.

    Stored as FLAC of 16 bits, which every browser plays and which loses nothing beside the noise
    of rounding.
    """
    stored = io.BytesIO()
    soundfile.write(stored, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return _player(samples, sample_rate, name, embed(stored.getvalue(), "audio/flac"))


def _player(samples: NDArray[np.floating[Any]], rate: int, name: str, source: str) -> str:
    image = themed_image(
        spectrogram_png(samples, rate),
        spectrogram_png(samples, rate, dark=True),
        f"Spectrogram: {name}",
    )
    return (
        f'{image}<audio controls preload="metadata" aria-label="{escape(name)}" '
        f'src="{source}"></audio>'
    )


def picture(image: Tensor, description: str) -> str:
    """An image element that holds a picture ``(3, height, width)``, −1…1, as JPEG."""
    levels = image.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte()
    stored = io.BytesIO()
    pixels = levels.permute(1, 2, 0).contiguous().cpu().numpy()
    Image.fromarray(pixels).save(stored, "JPEG", quality=92, subsampling=0)
    source = embed(stored.getvalue(), "image/jpeg")
    return f'<img src="{source}" alt="{escape(description)}">'


def themed_image(light: bytes, dark: bytes, description: str) -> str:
    """A PNG in two versions, of which the browser shows the one that suits its theme."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{embed(dark, "image/png")}">'
        f'<img src="{embed(light, "image/png")}" alt="{escape(description)}"></picture>'
    )


def figure(media: str, label: str, meaning: str) -> str:
    explained = f"<span>{escape(meaning)}</span>" if meaning else ""
    return f"<figure>{media}<figcaption><b>{escape(label)}</b>{explained}</figcaption></figure>"


def row(kind: str, figures: Sequence[str]) -> str:
    """Figures side by side; ``kind`` is ``video``, ``audio`` or ``chart``."""
    return f'<div class="row {kind}">\n' + "\n".join(figures) + "\n</div>"


def definitions(pairs: Mapping[str, object]) -> str:
    items = (f"<dt>{escape(k)}</dt><dd>{escape(_plain(v))}</dd>" for k, v in pairs.items())
    return "<dl>" + "".join(items) + "</dl>"


def number(value: float | None, *, sign: bool = False) -> str:
    """As people read it, to three digits or so; a dash for what is unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 1 if size >= 100 else 2 if size >= 1 or size == 0 else 3
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")  # thin space
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data_uri(file: Path, known: Mapping[str, str]) -> str:
    kind = known.get(file.suffix.lower())
    if kind is None:
        raise UserError(f"{file}: a page can hold here {', '.join(known)}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    return embed(content, kind)


def embed(content: bytes, kind: str) -> str:
    """A data URI of the media type ``kind``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
