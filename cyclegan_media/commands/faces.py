"""``cyclegan-media faces``"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cyclegan_media.commands.options import add_json, add_parser, positive, print_json, quality

_EXAMPLES = """\
examples:
  cyclegan-media faces interview.mp4 -o data/anna
  cyclegan-media faces clips/ portrait.jpg -o data/anna --size 128 --every 5
  cyclegan-media faces party.mp4 -o data/guests --all --detector-model yunet.onnx

Writes aligned crops, each with the mask of its face as the alpha channel, and DIR/faces.jsonl,
which says where each came from. Faces are found by OpenCV: by the cascades that it carries (upright
faces that look at the camera), or by a YuNet model file, which also finds turned ones.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "faces",
        "find the faces in videos and pictures, as a data set to train on",
        _EXAMPLES,
        run,
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="a video, a picture or a folder")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--size", type=positive, default=256, metavar="N", help="side of the crops (default: 256)"
    )
    parser.add_argument(
        "--margin",
        type=quality,
        default=0.4,
        metavar="SHARE",
        help="shown around a face on each side, in sizes of the face (default: 0.4)",
    )
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="take one in N frames (default: 1)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--largest",
        action="store_const",
        const="largest",
        dest="which",
        default="largest",
        help="one face at a time, that which is seen longest and largest (default)",
    )
    which.add_argument(
        "--all", action="store_const", const="all", dest="which", help="every face in a frame"
    )
    parser.add_argument(
        "--min-size",
        type=quality,
        default=48.0,
        metavar="PIXELS",
        help="leave out faces that are smaller from brows to chin (default: 48)",
    )
    parser.add_argument(
        "--min-sharpness",
        type=quality,
        default=30.0,
        metavar="X",
        help="leave out faces that are more blurred (default: 30; 0 keeps all)",
    )
    parser.add_argument(
        "--detector-model", metavar="FILE", help="a YuNet model (ONNX), for a better detector"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.faces import load_detector
    from cyclegan_media.faces.find import FindOptions, find_faces

    options = FindOptions(
        size=args.size,
        margin=args.margin,
        every=args.every,
        which=args.which,
        min_size=args.min_size,
        min_sharpness=args.min_sharpness,
    )

    def progress(path: object) -> None:
        if not args.quiet:
            print(f"looking for faces in {path}", file=sys.stderr)

    result = find_faces(
        args.input,
        args.output,
        load_detector(args.detector_model),
        options,
        overwrite=args.overwrite,
        progress=progress,
    )
    if args.json:
        print_json({**vars(result), "failed": [str(path) for path in result.failed]})
    elif not args.quiet:
        left_out = (
            f"{result.too_small} too small, {result.blurred} blurred, {result.cut_off} cut off"
        )
        print(
            f"{args.output}: {result.written} crops from {result.frames} frames"
            f" ({result.faces} faces; left out: {left_out})"
        )
    return 1 if result.failed else 0
