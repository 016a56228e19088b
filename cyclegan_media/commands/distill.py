"""``cyclegan-media distill``"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands.options import (
    add_device,
    add_json,
    add_parser,
    positive,
    print_json,
    show_progress,
)

if TYPE_CHECKING:
    from cyclegan_media.distill import Distillation

_EXAMPLES = """\
examples:
  cyclegan-media distill models/horse2zebra --frames horses.mp4 -o models/h2z_small
  cyclegan-media distill runs/h2z --frames horses/ --frames-b zebras/ -o models/h2z_small
  cyclegan-media translate horses.mp4 -m models/h2z_small -o zebras.mp4

Trains a small generator to do to frames like yours what MODEL does, with a tenth of the arithmetic
or less. A tenth of the frames is held out; there the student is compared with its teacher, beside
the input as it is. Ctrl-C ends the learning and saves the student as it is then.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "distill", "train a small, fast model from a large one", _EXAMPLES, run
    )
    parser.add_argument("model", metavar="MODEL", help="the teacher: a model of pictures")
    parser.add_argument(
        "--frames",
        metavar="DIR_OR_VIDEO",
        help="what the direction a2b translates: a video, or a folder of videos and pictures",
    )
    parser.add_argument("--frames-b", metavar="DIR_OR_VIDEO", help="the same for the direction b2a")
    parser.add_argument(
        "-o", "--output", required=True, metavar="STUDENT", help="the model folder to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model folder")
    group = parser.add_argument_group("the student and its learning")
    group.add_argument(
        "--width", type=positive, metavar="N", help="channels of its first layer (default: 16)"
    )
    group.add_argument("--blocks", type=positive, metavar="N", help="residual blocks (default: 6)")
    group.add_argument(
        "--steps", type=positive, default=2000, metavar="N", help="of learning (default: 2000)"
    )
    group.add_argument(
        "--crops",
        type=positive,
        default=400,
        metavar="N",
        help="crops that the teacher translates to learn from (default: 400)",
    )
    group.add_argument(
        "--size", type=positive, default=256, metavar="PIXELS", help="of a crop (default: 256)"
    )
    group.add_argument(
        "--load-size",
        type=positive,
        metavar="PIXELS",
        help="scale the frames' shorter side to this first (default: as they are)",
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.distill import Settings, distill

    result = distill(
        args.model,
        args.output,
        frames_a=args.frames,
        frames_b=args.frames_b,
        settings=Settings(
            width=args.width,
            blocks=args.blocks,
            crops=args.crops,
            size=args.size,
            load_size=args.load_size,
            steps=args.steps,
        ),
        device=args.device,
        precision=args.precision,
        overwrite=args.overwrite,
        progress=show_progress(args),
    )
    if args.json:
        print_json({**asdict(result), "model": str(result.model)})
    elif not args.quiet:
        _show(result)
    if result.interrupted:
        print(f"stopped after step {result.steps}; the student is saved", file=sys.stderr)
        return 130
    return 0


def _show(result: Distillation) -> None:
    for way, m in result.measured.items():
        print(
            f"{way}: {m.gflop:.2f} GFLOP a picture, 1/{m.teacher_gflop / m.gflop:.0f} of the"
            f" teacher's {m.teacher_gflop:.1f}\n"
            f"{way}: {m.frames_per_second:.1f} pictures/s here; the teacher:"
            f" {m.teacher_frames_per_second:.1f}\n"
            f"{way}: to the teacher, on {m.pictures} held-out pictures: PSNR {m.psnr:.2f} dB,"
            f" SSIM {m.ssim:.4f}; the input as it is: {m.input_psnr:.2f} dB, {m.input_ssim:.4f}"
        )
    print(result.model)
