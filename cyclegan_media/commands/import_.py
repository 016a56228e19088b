"""``cyclegan-media import``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import add_parser

_EXAMPLES = """\
examples:
  cyclegan-media import latest_net_G.pth -o models/horse2zebra --domains horse zebra
  cyclegan-media import latest_net_G_A.pth --other latest_net_G_B.pth -o models/summer2winter

Reads generators (ResNet, U-Net) as the PyTorch release of CycleGAN and pix2pix saves them.
Nothing that a checkpoint holds is executed; one that holds more than tensors is refused.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "import",
        "turn a published CycleGAN checkpoint into a model folder",
        _EXAMPLES,
        run,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT.pth", help="a generator")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the model folder")
    parser.add_argument(
        "--other", metavar="CHECKPOINT.pth", help="the generator of the opposite direction"
    )
    parser.add_argument(
        "--direction",
        choices=("a2b", "b2a"),
        default="a2b",
        help="what CHECKPOINT translates (default: a2b)",
    )
    parser.add_argument(
        "--domains",
        nargs=2,
        default=("a", "b"),
        metavar=("A", "B"),
        help="what the two domains are called",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model folder")


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.pretrained import import_published, save_model

    model = import_published(
        args.checkpoint,
        direction=args.direction,
        other=args.other,
        domains=tuple(args.domains),
    )
    folder = save_model(args.output, model, overwrite=args.overwrite)
    if not args.quiet:
        print(folder)
    return 0
