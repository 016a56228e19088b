"""``cyclegan-media combine``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import add_parser

_EXAMPLES = """\
examples:
  cyclegan-media combine runs/seed0 runs/seed1 runs/seed2 -o models/anna2ben
  cyclegan-media combine runs/vc runs/vc2 -o models/anna2ben

Makes one model of several that were trained on the same media: its output is the mean of theirs.
It errs less than each, is somewhat smoother (of voices, see --variance of translate), and takes the
time of all of them. Models of voices must share their `data` and recordings.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "combine", "make one model of several, by their mean", _EXAMPLES, run
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="a model folder, or that of a training"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="the model folder to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model folder")


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.errors import UserError
    from cyclegan_media.pretrained import save_model
    from cyclegan_media.pretrained.combine import combine_models
    from cyclegan_media.pretrained.folder import check_target
    from cyclegan_media.translate import Translator

    check_target(args.output, overwrite=args.overwrite)
    models = {}
    for path in args.models:
        translator = Translator.load(path, device="cpu", precision="fp32")
        name = translator.name if translator.name not in models else str(path)
        if name in models:
            raise UserError(f"{path}: is named twice")
        models[name] = translator.model
    print(save_model(args.output, combine_models(models), overwrite=args.overwrite))
    return 0
