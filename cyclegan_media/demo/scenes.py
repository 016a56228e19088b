"""Pictures, clips and sounds of the synthetic world, as files a user could have brought.

The world itself and its two looks are in :mod:`cyclegan_media.demo.world`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclegan_media.demo.world import DOMAINS, Domain, Scene, bounces, make_scene, render
from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_directory, atomic_file

__all__ = [
    "DOMAINS",
    "Domain",
    "Scene",
    "bounces",
    "make_scene",
    "render",
    "sound",
    "still",
    "write_clip",
    "write_images",
]

SAMPLE_RATE = 44100
"""Samples per second of the sound that :func:`write_clip` adds."""
_BT709 = 1  # as ITU-T H.273 numbers matrix, primaries and transfer
_LIMITED_RANGE = 1


def still(seed: int, domain: Domain, size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """One picture of the scene of ``seed``, at a moment that depends on the seed alone.

    ``still(seed, "b", size)`` is the truth for a translation of ``still(seed, "a", size)``.
    """
    return render(make_scene(seed), domain, (seed * 0.618034) % 1.0 * 4.0, size)


def write_images(
    folder: str | Path,
    seeds: Iterable[int],
    domain: Domain,
    size: tuple[int, int] = (64, 64),
    *,
    overwrite: bool = False,
) -> Path:
    """Write ``still`` of every seed as ``scene_00042.png`` into a new ``folder``.

    For unpaired training give the two domains seeds that have none in common.
    """
    with atomic_directory(folder, overwrite=overwrite) as partial:
        for seed in seeds:
            Image.fromarray(still(seed, domain, size)).save(partial / f"scene_{seed:05d}.png")
    return Path(folder)


def sound(scene: Scene, seconds: float) -> NDArray[np.float32]:
    """Mono sound of the scene, −1…1 at :data:`SAMPLE_RATE`: a note at each bounce of a ball.

    Each ball has its own pitch, the smaller the higher; the sound does not depend on the look.
    """
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    clock = np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    for time, index in bounces(scene, seconds):
        pitch = 440.0 * 0.12 / scene.bodies[index].radius
        note = 0.35 * np.exp(-clock / 0.08) * np.sin(math.tau * pitch * clock)
        start = round(time * SAMPLE_RATE)
        part = samples[start : start + len(note)]
        part += note[: len(part)].astype(np.float32)
    return np.clip(samples, -1, 1)


def write_clip(
    path: str | Path,
    scene: Scene,
    domain: Domain,
    seconds: float = 4.0,
    fps: int = 24,
    size: tuple[int, int] = (128, 128),
    with_sound: bool = True,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the scene as an MP4 that every browser plays: H.264 (4:2:0, BT.709) and AAC.

    Args:
        size: (height, width), both even, as 4:2:0 needs.
        with_sound: add :func:`sound`, in step with the picture.

    Raises:
        UserError: an odd size, no whole frame, or ``path`` exists and ``overwrite`` is false.
    """
    height, width = size
    count = round(seconds * fps)
    if height % 2 or width % 2:
        raise UserError(f"{path}: a size of {height}×{width} cannot be stored; both must be even")
    if count < 1:
        raise UserError(f"{path}: {seconds} s at {fps} frames per second is not one frame")
    faststart = {"movflags": "+faststart"}
    with (
        atomic_file(path, overwrite=overwrite) as partial,
        av.open(str(partial), "w", format="mp4", options=faststart) as out,
    ):
        video = out.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "fast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        chunks: Iterator[tuple[float, av.AudioFrame]] = iter(())
        if with_sound:
            audio = out.add_stream("aac", rate=SAMPLE_RATE)
            audio.codec_context.layout = "mono"
            chunks = _audio_frames(sound(scene, count / fps))
        pending = next(chunks, None)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(render(scene, domain, index / fps, size))
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
            )
            frame.pts = index
            out.mux(video.encode(frame))
            # Sound up to here, so that the two lie interleaved in the file.
            while pending is not None and pending[0] < (index + 1) / fps:
                out.mux(audio.encode(pending[1]))
                pending = next(chunks, None)
        out.mux(video.encode(None))
        if with_sound:
            out.mux(audio.encode(None))
    return Path(path)


def _audio_frames(samples: NDArray[np.float32]) -> Iterator[tuple[float, av.AudioFrame]]:
    """Start in seconds and frame, 1024 samples each as AAC wants them."""
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        yield start / SAMPLE_RATE, frame
