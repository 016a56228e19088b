"""Opening a media file by FFmpeg, and only that: nothing that it may refer to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    import av

_FORMATS = (
    # containers
    *("mov", "matroska", "avi", "mpeg", "mpegts", "asf", "flv", "live_flv", "ogg", "mxf", "nut"),
    *("gxf", "rm", "wtv", "dv", "ivf", "yuv4mpegpipe", "gif", "apng"),
    # bare streams of pictures
    *("mpegvideo", "m4v", "h263", "h264", "hevc", "av1", "obu", "vc1", "dirac", "mjpeg"),
    # recordings
    *("wav", "w64", "aiff", "au", "caf", "iff", "voc", "mp3", "aac", "loas", "ac3", "eac3", "dts"),
    *("dtshd", "truehd", "mlp", "amr", "amrnb", "amrwb", "flac", "ape", "wv", "tta", "tak", "mpc"),
    *("mpc8", "dsf", "bit"),
)
"""FFmpeg's names of what is read. It knows hundreds more, some of which name other files or
addresses to read (concat, hls, dash, imf, image2, …) or draw any text (tty)."""


def open_local(
    path: Path,
    otherwise: str = "is damaged or not a recording",
    hardware: av.codec.hwaccel.HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a media file.

    Args:
        otherwise: what is said of a file that cannot be opened.
        hardware: what decodes its video.

    Raises:
        UserError: it is damaged, or of no format that is read.
    """
    import av

    try:
        return av.open(
            f"file:{path}",
            metadata_errors="replace",
            hwaccel=hardware,
            container_options={
                "protocol_whitelist": "file",
                "format_whitelist": ",".join(_FORMATS),
            },
        )
    except av.ArgumentError as error:  # how FFmpeg says that a format is not in the list
        wanted = otherwise.partition(" not ")[2] or "a medium"
        raise UserError(
            f"{path}: is not {wanted} but of a format that is not read, as are all that name other"
            " files"
        ) from error
    except (av.FFmpegError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{path}: {otherwise} ({reason})") from error
