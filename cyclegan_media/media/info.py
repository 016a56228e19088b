"""What a media file is: its kind, streams, sizes and durations, without decoding all of it."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan_media.errors import UserError
from cyclegan_media.media.kinds import check_input, kind_of
from cyclegan_media.media.provenance import Provenance, container_records

if TYPE_CHECKING:
    import av
    import PIL.Image


_RANGES = {1: "limited", 2: "full"}
_MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
"""Of ITU-T H.273, table 4."""


def describe_media(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a picture, video or recording as plain data (JSON-able).

    Every description has ``path``, ``kind`` (image, video or audio, by what is in the file) and
    ``bytes``. Pictures have ``format``, ``width``, ``height`` (upright), ``bits`` per channel,
    ``transparency``, ``colour_profile``, ``exif_orientation`` and ``pictures``; videos and
    recordings ``container``, ``duration`` (seconds), ``metadata`` and ``streams``, of which each
    has its ``index`` in the file and its ``number`` among those of its type. ``synthetic`` is what
    the file says of its making: see :func:`read_provenance`.

    Raises:
        UserError: missing, empty, damaged, or no medium.
    """
    path = check_input(path)
    described = _image(path) if kind_of(path) == "image" else _container(path)
    return {"path": str(path), "bytes": path.stat().st_size, **described}


def read_provenance(path: str | os.PathLike[str]) -> list[Provenance]:
    """The records of the models that made a file; none where it does not say that it is synthetic.

    Raises:
        UserError: missing, empty, damaged, or no medium.
    """
    return [Provenance(**record) for record in describe_media(path)["synthetic"]]


def _image(path: Path) -> dict[str, Any]:
    import PIL

    from cyclegan_media.media.image import is_sixteen_bit, open_picture
    from cyclegan_media.media.image_tags import picture_records

    try:
        with open_picture(path) as picture:
            orientation = picture.getexif().get(0x0112, 1)
            width, height = picture.size
            if orientation in (5, 6, 7, 8):
                width, height = height, width
            deep = is_sixteen_bit(picture) or picture.mode.startswith("I;16")
            return {
                "kind": "image",
                "format": picture.format,
                "width": width,
                "height": height,
                "bits": 16 if deep else {"1": 1, "I": 32, "F": 32}.get(picture.mode, 8),
                "mode": picture.mode,
                "transparency": picture.has_transparency_data,
                "colour_profile": _profile_name(picture),
                "exif_orientation": orientation,
                "pictures": getattr(picture, "n_frames", 1),
                "synthetic": [asdict(record) for record in picture_records(picture)],
            }
    except PIL.UnidentifiedImageError as error:
        raise UserError(f"{path}: is not a picture of a format that can be read") from error
    except UserError:
        raise
    except Exception as error:  # damaged files meet the decoders in many ways
        raise UserError(f"{path}: is damaged or cut short") from error


def _profile_name(picture: PIL.Image.Image) -> str | None:
    profile = picture.info.get("icc_profile")
    if not profile:
        return None
    import io

    import PIL.ImageCms

    try:
        return PIL.ImageCms.getProfileDescription(io.BytesIO(profile)).strip()
    except (PIL.ImageCms.PyCMSError, OSError):
        return "damaged"


def _container(path: Path) -> dict[str, Any]:
    import av

    from cyclegan_media.media.opening import open_local

    try:
        with open_local(path, "is damaged, or neither a video nor a recording") as container:
            chosen = _chosen(path, container)
            counts: Counter[str] = Counter()
            streams = [
                _stream(stream, stream.index in chosen, counts) for stream in container.streams
            ]
            if not any(described["type"] in ("video", "audio") for described in streams):
                raise UserError(f"{path}: holds neither pictures nor sound")
            moving = [described for described in streams if described["type"] == "video"]
            for described in moving:
                described["rotation"] = _rotation(container, described["index"])
            return {
                "kind": "video" if moving else "audio",
                "container": container.format.name,
                "duration": None if container.duration is None else container.duration / 1e6,
                "bit_rate": container.bit_rate or None,
                "metadata": dict(container.metadata),
                "streams": streams,
                "synthetic": [asdict(record) for record in container_records(container)],
            }
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path}: is damaged, or neither a video nor a recording ({reason})"
        ) from error


def _chosen(path: Path, container: av.container.InputContainer) -> set[int]:
    """Indices of the streams that are used unless others are named."""
    from cyclegan_media.media.video_source import choose_stream

    sound = container.streams.best("audio")
    chosen = {sound.index} if sound is not None else set()
    with suppress(UserError):  # no video, or none that can be decoded
        chosen.add(choose_stream(path, container, None).index)
    return chosen


def _stream(stream: av.stream.Stream, chosen: bool, counts: Counter[str]) -> dict[str, Any]:
    import av

    context: Any = stream.codec_context
    seconds = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    kind: str = stream.type
    if stream.disposition & av.stream.Disposition.attached_pic:
        kind = "cover"
    counts[kind] += 1
    described: dict[str, Any] = {
        "index": stream.index,
        "type": kind,
        "number": counts[kind] - 1,
        "codec": context.codec.canonical_name if context is not None else None,
        "chosen": chosen,
        "language": stream.language,
        "duration": seconds,
        "metadata": dict(stream.metadata),
    }
    if context is None:  # FFmpeg here has no decoder, and does not say more of it
        return described
    if isinstance(stream, av.VideoStream):
        aspect = stream.sample_aspect_ratio or Fraction(1)
        described |= {
            "width": stream.width,
            "height": stream.height,
            "frame_rate": float(stream.average_rate) if stream.average_rate else None,
            "frames": stream.frames or None,
            "pixel_format": stream.pix_fmt,
            "pixel_aspect": f"{aspect.numerator}:{aspect.denominator}",
            "colour_range": _RANGES.get(int(context.color_range)),
            "colour_matrix": _MATRICES.get(int(context.colorspace)),
        }
    elif isinstance(stream, av.AudioStream):
        described |= {
            "sample_rate": stream.rate,
            "channels": stream.channels,
            "layout": stream.layout.name,
        }
    return described


def _rotation(container: av.container.InputContainer, index: int) -> int:
    """Degrees by which players turn the pictures clockwise; stated with the first frame."""
    import av

    try:
        container.seek(0)
        stream = container.streams[index]
        assert isinstance(stream, av.VideoStream)
        return int(-next(container.decode(stream)).rotation) % 360
    except (av.FFmpegError, StopIteration):
        return 0
