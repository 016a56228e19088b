"""What a frame costs the processor around the network: decoding, colours, encoding.

    python scripts/bench_stages.py [--clip FILE] [--frames N] [--json FILE]

A network on a GPU leaves these steps to the processor; the slower of reading and writing is the
rate that no GPU gets beyond (docs/performance.md). Each step is measured by itself, over the frames
of one clip at several sizes, in the processor's own time, which other work on the machine hardly
touches. Colours are converted in one thread, as in a translation.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import av
import bench_table as bench
import torch

from cyclegan_media.media.video import VideoFrame, VideoReader
from cyclegan_media.media.video_writer import VideoWriter

SIZES = ((480, 270), (1280, 720), (1920, 1080))
PRESETS = ("medium", "fast", "veryfast")
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", metavar="FILE", help="a video (default: FFmpeg's test picture)")
    parser.add_argument("--frames", type=int, default=48, metavar="N", help="of the clip")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    about = bench.machine()
    results = []
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            clip = Path(name) / f"{size[1]}.mp4"
            make_clip(clip, args.clip, size, args.frames)
            results.append({"size": size, **measure(clip)})
    print(bench.describe(about))
    steps = ["decoding", "to RGB", "from RGB", *(f"x264 {preset}" for preset in PRESETS)]
    rows = [
        [f"{r['size'][0]} × {r['size'][1]}", *(f"{1000 * r[step]:.1f}" for step in steps)]
        for r in results
    ]
    print(bench.table(["ms of a core for a frame", *steps], rows))
    bench.write_json(args.json, {"machine": about, "seconds a frame": results})
    return 0


def make_clip(path: Path, clip: str | None, size: tuple[int, int], frames: int) -> None:
    width, height = size
    source = ["-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=25"]
    if clip is not None:
        source = ["-i", clip, "-vf", f"scale={width}:{height}"]
    quiet = ["ffmpeg", "-v", "error", "-y"]
    options = ["-frames:v", str(frames), "-an", "-sn", "-crf", "18"]
    subprocess.run([*quiet, *source, *options, str(path)], check=True)


def measure(clip: Path) -> dict[str, float]:
    """Seconds of a core for a frame, by step."""
    spent: dict[str, float] = {}
    with VideoReader(clip) as video:
        frames = timed(spent, "decoding", lambda: list(video))
        colours = timed(spent, "to RGB", lambda: [frame.tensor() for frame in frames])
        for preset in PRESETS:
            target = clip.with_name(f"{preset}.mp4")
            with VideoWriter(target, video, preset=preset) as writer:
                pictures = timed(spent, "from RGB", partial(list, map(writer.picture, colours)))
                timed(spent, f"x264 {preset}", partial(encode, writer, frames, pictures))
    return {step: seconds / len(frames) for step, seconds in spent.items()}


def encode(writer: VideoWriter, frames: list[VideoFrame], pictures: list[av.VideoFrame]) -> None:
    for frame, picture in zip(frames, pictures, strict=True):
        writer.encode(picture, frame.time, frame.duration * frame.time_base)
    writer.close()


def timed(spent: dict[str, float], step: str, run: Callable[[], T]) -> T:
    start = time.process_time()
    result = run()
    taken = time.process_time() - start
    spent[step] = min(taken, spent.get(step, taken))
    return result


if __name__ == "__main__":
    raise SystemExit(main())
