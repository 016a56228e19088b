"""What tiles cost and what they change, against the picture translated as a whole.

python scripts/measure_tiles.py --size 1024x1024 --width 16 --tile 256
python scripts/measure_tiles.py --size 3840x2160 --width 64 --tile 512

prints the table of docs/high_resolution.md. Each way of translating runs in a process of its own,
whose memory is what it takes beyond the network and the picture, after a first small picture. The
networks have random weights: seams come from the statistics of the picture's parts, not from what
a network has learned.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.backbones import Backbone, build
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.tiles import Tile

WAYS = {
    "whole": "whole",
    "tiles": "tiles of this toolkit",
    "naive": "tiles by themselves",
    "blended": "tiles by themselves, blended",
}
HALO = 32
"""Pixels around a tile that the usual ways translate along with it, and blend over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", default="1024x1024", help="width x height")
    parser.add_argument("--backbone", default="resnet")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(args, *args.one)))
        return
    print(f"{args.backbone}, width {args.width}, {args.size}, tiles of {args.tile}:\n")
    print(
        "| way | largest difference | PSNR to the whole, dB"
        " | steps at borders | elsewhere | MiB | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        whole: Tensor | None = None
        for way in args.ways:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", way, folder]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured = json.loads(told)
            output = torch.from_numpy(np.load(Path(folder) / f"{way}.npy", mmap_mode="c"))
            whole = output if way == "whole" else whole
            print(_row(WAYS[way], output, whole, args.tile, measured), flush=True)


def _row(
    name: str, output: Tensor, whole: Tensor | None, tile: int, measured: dict[str, float]
) -> str:
    error = torch.zeros_like(output) if whole is None else output - whole
    worst, square = float(error.abs().max()), float(error.square().mean())
    psnr = f"{10 * np.log10(4 / square):.1f}" if square else "∞"
    steps = " | ".join(f"{step:.1e}" for step in seams(error, tile))
    cells = [name, f"{worst:.1e}", psnr, steps, f"{measured['MiB']:.0f}"]
    return f"| {' | '.join(cells)} | {measured['seconds']:.0f} |"


def seams(error: Tensor, tile: int) -> tuple[float, float]:
    """Mean step of the difference to the whole across the tiles' borders, and elsewhere.

    A step is that between the means of neighbouring squares of 8 × 8 pixels, such as the eye sees.
    """
    across, elsewhere = [], []
    squares = F.avg_pool2d(error, 8)
    for axis in (2, 3):
        steps = squares.diff(dim=axis).abs().mean([i for i in range(4) if i != axis]).double()
        border = torch.arange(1, len(steps) + 1) % (tile // 8) == 0
        across.append(steps[border])
        elsewhere.append(steps[~border])
    return float(torch.cat(across).mean()), float(torch.cat(elsewhere).mean())


def measure(args: argparse.Namespace, way: str, folder: str) -> dict[str, float]:
    """Translate in one way, in this process; the picture goes to ``folder``."""
    width, height = map(int, args.size.split("x"))
    torch.manual_seed(0)
    network = build({"name": args.backbone, "width": args.width}).eval()
    picture = scene(height, width)
    translate(network, picture[:, :, :256, :256], way, 128)
    before, start = _memory("VmRSS"), time.process_time()
    output = translate(network, picture, way, args.tile)
    seconds = time.process_time() - start
    result = {"seconds": seconds, "MiB": (_memory("VmHWM") - before) / 1024}
    np.save(Path(folder) / f"{way}.npy", output.numpy())
    return result


@torch.inference_mode()
def translate(network: Backbone, picture: Tensor, way: str, tile: int) -> Tensor:
    if way in ("naive", "blended"):
        return _by_themselves(network, picture, tile, blend=way == "blended")
    side: Tile = tile if way == "tiles" else "off"
    return make_apply(network, torch.device("cpu"), torch.float32, 1, side)(picture)


def _memory(field: str) -> int:
    """KiB of this process, now (VmRSS) or at most so far (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def scene(height: int, width: int) -> Tensor:
    """A sky that brightens towards one corner over a rough, darker ground, ``(1, 3, h, w)``."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / height
    sky = np.stack([0.2 + 0.5 * columns, 0.4 + 0.4 * columns, 0.9 - 0.3 * rows])
    rough = random.random((1, height, width), dtype=np.float32)
    waves = np.sin(40 * columns * (1 + rows)) * np.cos(60 * rows)
    ground = np.array([0.5, 0.4, 0.2], np.float32)[:, None, None] * (
        0.4 + 0.4 * rough + 0.2 * waves
    )
    line = 0.55 + 0.1 * np.sin(5 * columns)
    pixels = np.where(rows < line, sky, ground).clip(0, 1)
    return torch.from_numpy(pixels[None] * 2 - 1).float()


def _by_themselves(network: Backbone, picture: Tensor, tile: int, blend: bool) -> Tensor:
    """Tiles translated with what is around them; cut to size, or faded into each other."""
    height, width = picture.shape[2:]
    total, weights = torch.zeros_like(picture), torch.zeros(1, 1, height, width)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            y = max(0, top - HALO), min(height, top + tile + HALO)
            x = max(0, left - HALO), min(width, left + tile + HALO)
            part = network(picture[:, :, slice(*y), slice(*x)])
            share = _share(y, top, tile, blend)[:, None] * _share(x, left, tile, blend)
            total[:, :, slice(*y), slice(*x)] += part * share
            weights[:, :, slice(*y), slice(*x)] += share
    return total / weights


def _share(span: tuple[int, int], start: int, tile: int, blend: bool) -> Tensor:
    """The share of a tile along an axis: a raised cosine over twice the halo, or all or nothing."""
    place = torch.arange(*span) + 0.5
    inside = torch.minimum(place - start, start + tile - place)
    if not blend:
        return (inside > 0).float()
    return 0.5 - 0.5 * torch.cos(torch.pi * ((inside + HALO) / (2 * HALO)).clamp(1e-3, 1))


if __name__ == "__main__":
    main()
