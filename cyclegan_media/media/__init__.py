"""Files ↔ arrays and tensors: pictures, videos and recordings.

Names are imported when they are first used, so that looking at a picture loads neither torch
nor FFmpeg.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cyclegan_media.media.kinds import Kind, kind_of, list_media

if TYPE_CHECKING:
    from cyclegan_media.media.audio import Audio, read_audio
    from cyclegan_media.media.audio_writer import write_audio
    from cyclegan_media.media.image import Image, read_image
    from cyclegan_media.media.image_writer import write_image
    from cyclegan_media.media.video import VideoFrame, VideoReader
    from cyclegan_media.media.video_writer import VideoWriter

_HOME = {
    "Audio": "audio",
    "read_audio": "audio",
    "write_audio": "audio_writer",
    "Image": "image",
    "read_image": "image",
    "write_image": "image_writer",
    "VideoFrame": "video",
    "VideoReader": "video",
    "VideoWriter": "video_writer",
}

__all__ = [
    "Audio",
    "Image",
    "Kind",
    "VideoFrame",
    "VideoReader",
    "VideoWriter",
    "kind_of",
    "list_media",
    "read_audio",
    "read_image",
    "write_audio",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
