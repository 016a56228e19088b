"""How steady models are on held-out clips: measured along the motion, and shown moving."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from html import escape
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.images import frame_picture
from cyclegan_media.evaluation.image_settings import RESERVED
from cyclegan_media.evaluation.report import Part
from cyclegan_media.evaluation.tables import Measure, Table, plain, spread
from cyclegan_media.media import VideoReader, kind_of
from cyclegan_media.metrics.video import SOURCE, steadiness
from cyclegan_media.page.fragments import clip, figure, row
from cyclegan_media.translate.image import Apply

logger = logging.getLogger("cyclegan_media")

MEASURES = (
    Measure("warping_error", "warping error", "lower", factor=1000),
    Measure("temporal_ssim", "temporal SSIM", "higher"),
    Measure("flicker_energy", "flicker", "lower", factor=1000),
)
_NOTE = (
    "Each frame is carried to the time of the next along the motion of the source; what differs"
    " where the source shows the same in both is unsteadiness. Nothing is 0 for a real clip:"
    " compare with the source."
)


class ClipEvaluation:
    """The held-out clips of two domains.

    Args:
        files: of which the held-out videos count.
        names: of the two domains, by side.
        size: frames whose shorter side is longer are scaled down to so many pixels.
        most: clips of a domain.
        frames: of each clip, from its start.
    """

    def __init__(
        self, files: Files, names: Mapping[str, str], size: int, most: int, frames: int
    ) -> None:
        self._names, self._size, self._frames = names, size, frames
        held_out = {"a": files.held_out_a, "b": files.held_out_b}
        self._clips = {side: _clips(paths, most) for side, paths in held_out.items()}
        if any(self._clips.values()) and find_spec("cv2") is None:
            logger.warning(
                "the steadiness of clips is not measured: it needs OpenCV; install it: pip install"
                " 'cyclegan-media[video]'"
            )
            self._clips = {"a": [], "b": []}
        self._tables: dict[str, dict[str, Table]] = {}
        self._scores: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
        self._shown: dict[str, list[str]] = {}

    def compare(self, direction: str, methods: Mapping[str, Apply]) -> None:
        """Measure ``methods`` on the clips of the side that ``direction`` begins with."""
        for path in self._clips[direction[0]]:
            frames = _read(path, self._frames, self._size)
            outputs = {
                name: torch.cat([method(frame[None]) for frame in frames])
                for name, method in methods.items()
            }
            found = steadiness(frames, outputs)
            rows = {name: asdict(values) for name, values in found.items()}
            self._scores.setdefault(direction, {})[path.name] = {
                name: plain(values) for name, values in rows.items()
            }
            title = f"{path.name}, {self._names[direction[0]]} → {self._names[direction[2]]}"
            models = [name for name in outputs if name not in RESERVED]
            table = Table(title, MEASURES, rows, models)
            self._tables.setdefault(direction, {})[path.name] = table
            players = [
                figure(_player(images, f"{path.name}, {name}"), name, "")
                for name, images in {SOURCE: frames, **outputs}.items()
            ]
            self._shown.setdefault(direction, []).extend([table.html(), row("video", players)])

    def data(self) -> dict[str, Any]:
        """By direction, clip and method, as in :class:`cyclegan_media.metrics.video.Steadiness`."""
        return {"clips": self._scores} if self._scores else {}

    def parts(self) -> list[Part]:
        """A section about clips, where there are any."""
        if not self._shown:
            return []
        html = [f'<p class="note">{escape(_NOTE)}</p>']
        for shown in self._shown.values():
            html += shown
        return [Part("clips", "Clips", html)]


def _clips(paths: Sequence[Path], most: int) -> list[Path]:
    videos = [path for path in paths if kind_of(path) == "video"]
    return [videos[k] for k in spread(len(videos), most)]


def _read(path: Path, count: int, size: int) -> Tensor:
    """The first frames, ``(n, 3, height, width)`` in −1…1, with even sides, as players want."""
    with VideoReader(path) as video:
        frames = [frame_picture(frame.pixels, size) for frame in islice(video, count)]
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    height, width = (side // 2 * 2 for side in pixels.shape[2:])
    return pixels[:, :, :height, :width].float().div(127.5).sub(1)


def _player(frames: Tensor, name: str) -> str:
    """A video element that holds the frames, 25 a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "20"})
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[2:], "yuv420p"
            for frame in frames:
                levels = frame.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0)
                picture = av.VideoFrame.from_ndarray(levels.contiguous().numpy(), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return clip(path, name)
