"""What a visitor's file is, and something of it that any browser shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import read_audio, resample
from cyclegan_media.media.audio_writer import write_audio
from cyclegan_media.media.image import read_image
from cyclegan_media.media.info import describe_media
from cyclegan_media.media.kinds import Kind
from cyclegan_media.media.opening import open_local

_SIDE = 1024
"""Pixels of a picture that is shown, at most."""
_PLAYED_RATE = 48_000
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": (".mp4", ".m4v"),
    "matroska,webm": (".webm",),
}
_CODECS = {"h264", "vp8", "vp9", "av1", "libdav1d"}
_FORMATS = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class Look:
    """A file as far as a page tells of it; plain data."""

    kind: Kind
    summary: str
    """For people: its size and length."""
    shown: str
    """A file that browsers show or play; of a clip that few play, its first frame."""


def look(path: str | os.PathLike[str], folder: str, max_seconds: float) -> Look:
    """Open a file.

    Args:
        path: of a picture, video or recording.
        folder: where a version for browsers goes.
        max_seconds: how long a clip or recording may be.

    Raises:
        UserError: it cannot be read, or is too long.
    """
    path, place = Path(path), Path(folder)
    found = describe_media(path)
    if found["kind"] == "image":
        size = f"{found['width']} × {found['height']} pixels"
        return Look("image", f"picture, {size}", str(_small_picture(path, place)))
    seconds = found.get("duration") or 0.0
    if seconds > max_seconds:
        raise UserError(
            f"{path.name}: lasts {seconds:.0f} s, and this page takes {max_seconds:g} s at most;"
            " cut it, or ask whoever runs the page for --max-seconds"
        )
    if found["kind"] == "audio":
        return Look("audio", f"recording, {seconds:.1f} s", str(_sound(path, place)))
    stream = next(s for s in found["streams"] if s["type"] == "video")
    if stream.get("width") is None:
        raise UserError(f"{path.name}: there is no decoder for its video ({stream['codec']})")
    size = f"{stream['width']} × {stream['height']} pixels"
    shown = path if _played(found, stream) else _first_frame(path, stream, place)
    return Look("video", f"clip, {size}, {seconds:.1f} s", str(shown))


def _small_picture(path: Path, place: Path) -> Path:
    pixels = read_image(path).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return _saved(PIL.Image.fromarray(pixels), place)


def _saved(picture: PIL.Image.Image, place: Path) -> Path:
    picture.thumbnail((_SIDE, _SIDE), PIL.Image.Resampling.LANCZOS)
    target = place / "shown.png"
    picture.save(target)
    return target


def _first_frame(path: Path, stream: dict[str, Any], place: Path) -> Path:
    with open_local(path) as container:
        track = container.streams[stream["index"]]
        assert isinstance(track, av.VideoStream)
        try:
            picture = next(container.decode(track)).to_image()
        except (av.FFmpegError, StopIteration) as error:
            raise UserError(f"{path.name}: holds no frame that can be decoded") from error
    return _saved(picture.rotate(-(stream["rotation"] or 0), expand=True), place)


def _sound(path: Path, place: Path) -> Path:
    audio = read_audio(path)
    samples, rate = audio.samples[:2], audio.sample_rate
    if rate > _PLAYED_RATE:
        samples, rate = resample(samples, rate, _PLAYED_RATE), _PLAYED_RATE
    return write_audio(place / "shown.wav", samples, rate)


def _played(found: dict[str, Any], stream: dict[str, Any]) -> bool:
    """Whether browsers play a video; they are told its type by its name."""
    fits = Path(found["path"]).suffix.lower() in _CONTAINERS.get(found["container"], ())
    return fits and stream["codec"] in _CODECS and stream.get("pixel_format") in _FORMATS
