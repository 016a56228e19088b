"""``cyclegan-media export``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import add_parser

_EXAMPLES = """\
examples:
  cyclegan-media export models/horse2zebra -o exported/horse2zebra
  cyclegan-media translate horses.mp4 -m exported/horse2zebra --runtime onnx -o zebras.mp4
  cyclegan-media export models/anna2ben -o exported/anna2ben --format torch

The folder holds a graph for each direction (.onnx, or .pt2 for torch.export), which takes any
number of pictures or spectra of any size, and export.json, which says how to run them.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "export", "export a model for other runtimes", _EXAMPLES, run
    )
    parser.add_argument("model", metavar="MODEL", help="a model folder, or that of a training")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--format",
        choices=("onnx", "torch", "web"),
        default="onnx",
        help="onnx (default); torch, a program of torch.export; or web, a page that runs the model"
        " in a browser, on files of onnxruntime-web that its README.txt names",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an exported model")


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.export import export_model

    folder = export_model(args.model, args.output, args.format, overwrite=args.overwrite)
    if not args.quiet:
        print(folder)
    return 0
