"""Pieces of HTML that a page is put together from. All text is escaped here, all files embedded."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import av
import soundfile
from av.error import FFmpegError

from cyclegan_media.demo.plots import spectrogram_png
from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    from cyclegan_media.demo.page import Measure

_VIDEO = {".mp4": "video/mp4", ".webm": "video/webm"}
_AUDIO = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg"}
_PLAYED = {"h264", "vp8", "vp9", "av1", "libdav1d"}
_TONE = {"clear gain": "good", "small gain": "fair", "no gain": "bad", "not a number": "bad"}


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
        f'height="{first.height}" poster="{_embed(poster.getvalue(), "image/jpeg")}" '
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
    image = themed_image(
        spectrogram_png(mono, rate), spectrogram_png(mono, rate, dark=True), f"Spectrogram: {name}"
    )
    return (
        f'{image}<audio controls preload="metadata" aria-label="{escape(name)}" '
        f'src="{source}"></audio>'
    )


def themed_image(light: bytes, dark: bytes, description: str) -> str:
    """A PNG in two versions, of which the browser shows the one that suits its theme."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{_embed(dark, "image/png")}">'
        f'<img src="{_embed(light, "image/png")}" alt="{escape(description)}"></picture>'
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


def measures_table(measures: Sequence[Measure]) -> str:
    """Every measure with its gain and its verdict."""
    with_trivial = any(measure.trivial is not None for measure in measures)
    lines = "\n".join(_measure(measure, with_trivial) for measure in measures)
    columns = ["Unconverted", *(["Trivial method"] if with_trivial else []), "Translated"]
    heads = "".join(
        f'<th scope="col" class="number">{name}</th>' for name in [*columns, "Gain", "Margin"]
    )
    return f"""<div class="scroll"><table class="measures">
<caption>Held-out examples. A gain is what brings the result closer to the truth, whichever \
way the measure points; from the margin on it is called clear.</caption>
<thead><tr><th scope="col">Measure</th>{heads}<th scope="col">Verdict</th></tr></thead>
<tbody>
{lines}
</tbody></table></div>"""


def _measure(m: Measure, with_trivial: bool) -> str:
    better = "higher is better" if m.higher_is_better else "lower is better"
    note = ", ".join(filter(None, [better, m.note]))
    cells = [
        ("Unconverted", _number(m.unconverted)),
        *([("Trivial method", _number(m.trivial))] if with_trivial else []),
        ("Translated", _number(m.converted)),
        ("Gain", _number(m.gain, sign=True)),
        ("Margin", _number(m.margin)),
    ]
    unit = f" ({m.unit})" if m.unit else ""
    return (
        f'<tr><th scope="row">{escape(m.name + unit)}<small>{escape(note)}</small></th>'
        + "".join(f'<td class="number" data-label="{k}">{v}</td>' for k, v in cells)
        + f'<td class="{_TONE[m.verdict]}-text">{m.verdict}</td></tr>'
    )


def _number(value: float | None, *, sign: bool = False) -> str:
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
    return _embed(content, kind)


def _embed(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
