"""Measure how steady translated clips are, frame by frame and with --steady.

    python scripts/measure_steadiness.py CLIP... --model MODEL [--like DIR] [--show side.mp4]

For each clip one table: warping error and flicker (less is steadier), temporal SSIM (more is
steadier), sharpness (mean square of the Laplacian of lightness, of frame by frame: 1.00), and with
``--like`` the kernel distance of the frames to pictures of the target domain (less is nearer).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media import VideoReader, list_media, read_image
from cyclegan_media.metrics.image_features import describe
from cyclegan_media.metrics.image_sets import features_of, kernel_distance
from cyclegan_media.metrics.video import SOURCE, steadiness
from cyclegan_media.translate import Translator
from cyclegan_media.translate.steady import STRENGTH, SteadyApply

RAW, STEADY = "frame by frame", "steady"
CROP = 128
"""Side of the crops that are compared as sets of pictures."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR")
    parser.add_argument("--direction", choices=("a2b", "b2a"), default="a2b")
    parser.add_argument("--steadiness", type=float, default=STRENGTH, metavar="BETA")
    parser.add_argument("--frames", type=int, default=120, help="of each clip (default: 120)")
    parser.add_argument("--width", type=int, metavar="N", help="shrink frames to this width first")
    parser.add_argument("--like", type=Path, metavar="DIR", help="pictures of the target domain")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="write the first clip's versions side by side"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    try:
        model = Translator.load(args.model, device="cpu", precision="fp32")
        wanted = None if args.like is None else features_of(pictures(args.like), describe)
        results: dict[str, dict[str, dict[str, float]]] = {}
        for number, clip in enumerate(args.clips):
            frames = read(clip, args.frames, args.width)
            outputs = translated(model, frames, args.direction, args.steadiness, clip.name)
            results[clip.name] = measure(frames, outputs, wanted)
            if args.show is not None and number == 0:
                show(args.show, [frames, *outputs.values()])
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        for name, table in results.items():
            print("\n".join(lines(name, table)))
    return 0


def read(clip: Path, count: int, width: int | None) -> Tensor:
    with VideoReader(clip) as video:
        frames = torch.stack([frame.tensor() for frame in itertools.islice(video, count)])
    if width is not None and width < frames.shape[3]:
        size = (round(frames.shape[2] * width / frames.shape[3]), width)
        frames = F.interpolate(frames, size, mode="bilinear", antialias=True).clamp(-1, 1)
    return frames


def translated(
    model: Translator, frames: Tensor, direction: Any, strength: float, name: str
) -> dict[str, Tensor]:
    bar = tqdm(frames, desc=name, unit="frame", leave=False)
    raw = torch.stack([model.translate(frame, direction=direction) for frame in bar])
    ready = iter(raw)
    steady = SteadyApply(lambda part: torch.stack([next(ready) for _ in part]), strength)
    return {RAW: raw, STEADY: steady(frames)}


def measure(
    frames: Tensor, outputs: dict[str, Tensor], wanted: Tensor | None
) -> dict[str, dict[str, float]]:
    scores = steadiness(frames, outputs)
    reference = sharpness(outputs[RAW])
    table: dict[str, dict[str, float]] = {}
    for name, clip in {SOURCE: frames, **outputs}.items():
        table[name] = {
            "warping error ×1e-4": 1e4 * scores[name].warping_error,
            "flicker ×1e-6": 1e6 * scores[name].flicker_energy,
            "temporal SSIM": scores[name].temporal_ssim,
            "sharpness": sharpness(clip) / reference,
        }
        if wanted is not None:
            found = features_of(torch.cat(list(crops(clip))), describe)
            table[name]["kernel distance"] = kernel_distance(found, wanted).mean
    return table


def sharpness(clip: Tensor) -> float:
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(F.conv2d(clip.mean(1, keepdim=True), kernel).square().mean())


def crops(clip: Tensor) -> Iterator[Tensor]:
    """Four crops of every fourth frame, at places that are the same for every version."""
    places = random.Random(0)
    height, width = clip.shape[2:]
    if min(height, width) < CROP:
        raise UserError(f"frames of {height}×{width} pixels are too small to compare ({CROP})")
    for frame in clip[::4]:
        for _ in range(4):
            top, left = places.randint(0, height - CROP), places.randint(0, width - CROP)
            yield frame[None, :, top : top + CROP, left : left + CROP]


def pictures(folder: Path) -> Tensor:
    """Crops of a folder's pictures, as many of each."""
    files = list_media(folder, "image")
    if not files:
        raise UserError(f"{folder}: holds no pictures")
    parts = []
    for path in files:
        pixels = torch.from_numpy(read_image(path).pixels.astype(np.float32))
        picture = pixels.permute(2, 0, 1)[None] / 127.5 - 1
        parts.extend(crops(picture.expand(4 * max(1, 64 // len(files)), -1, -1, -1)))
    return torch.cat(parts)


def show(path: Path, clips: list[Tensor]) -> None:
    """Write clips beside each other."""
    wide = torch.cat(clips, dim=3)
    height, width = (side // 2 * 2 for side in wide.shape[2:])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "18"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in wide:
            pixels = frame[:, :height, :width].add(1).mul(127.5).round().clamp(0, 255).byte()
            array = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))


def lines(title: str, table: dict[str, dict[str, float]]) -> list[str]:
    columns = list(next(iter(table.values())))
    width = max(map(len, [title, *table]))
    head = f"{title:<{width}}  " + "  ".join(columns)
    rows = []
    for name, row in table.items():
        cells = []
        for column in columns:
            value = row[column]
            text = "–" if math.isnan(value) else f"{value:.3f}"
            cells.append(f"{text:>{len(column)}}")
        rows.append(f"{name:<{width}}  " + "  ".join(cells))
    return [head, *rows, ""]


if __name__ == "__main__":
    sys.exit(main())
