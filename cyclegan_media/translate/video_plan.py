"""How the frames of a video are computed, as suits the device, its memory and the video."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.media.video import VideoReader
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.options import Options
from cyclegan_media.translate.streams import Streams


@dataclass(frozen=True)
class VideoPlan:
    """Frames at once, and what computes them. A context manager: its streams end with it."""

    batch_size: int | None
    """Pictures that go through the network together; ``None`` for as many as suit the device."""
    compiled: bool = False
    streams: Streams | None = None
    """What computes batches side by side, on a CPU."""

    @property
    def at_once(self) -> int:
        """Frames that keep the device busy, for what translates them batch by batch."""
        return (self.batch_size or 1) * (1 if self.streams is None else self.streams.count)

    def __enter__(self) -> VideoPlan:
        return self

    def __exit__(self, *error: object) -> None:
        if self.streams is not None:
            self.streams.__exit__(*error)


def plan_video(
    engine: Engine, network: Backbone, options: Options, source: str | os.PathLike[str]
) -> VideoPlan:
    """The plan for one video; the user's own numbers come first.

    Raises:
        UserError: the source cannot be read.
    """
    batch_size, compiled = options.batch_size, options.compile
    on_cpu = engine.device.type == "cpu"
    if on_cpu and compiled:  # for the threads that it is compiled with
        return VideoPlan(batch_size or 1, True)
    frames: int | None = None
    size = (0, 0)
    if batch_size is None or (compiled is None and not on_cpu):
        with VideoReader(source, options.stream) as video:
            frames, size = video.frame_count, video.stored_size
    if options.faces is not None and options.faces.options is not None:
        size = (options.faces.options.size,) * 2
    if on_cpu:
        count = batch_size or engine.side_by_side(network, size)
        count = min(count, torch.get_num_threads())
        return VideoPlan(1, False, Streams(count) if count > 1 else None)
    batch_size = batch_size or engine.batch_size(network, size)
    if compiled is None:
        compiled = engine.pays_to_compile(network, frames, size)
    return VideoPlan(batch_size, compiled)
