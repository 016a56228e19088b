"""``cyclegan-media train``"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cyclegan_media.commands.completion import completed_by, recipe_names
from cyclegan_media.commands.options import add_device, add_parser, show_progress
from cyclegan_media.errors import UserError

_EXAMPLES = """\
examples:
  cyclegan-media train cyclegan --data-a photos --data-b paintings --out runs/monet
  cyclegan-media train cyclegan_vc --data-a voices/anna --data-b voices/ben --out runs/anna2ben
  cyclegan-media train my.yaml --data-a horse2zebra --data-b horse2zebra --out runs/h2z \\
      --set trainer.steps=2000 --set trainer.decay_steps=2000
  cyclegan-media train cyclegan --data-a photos --data-b paintings --out runs/monet --resume

The two folders hold pictures or videos (recordings for a voice recipe) that need not correspond.
A folder may also have the usual layout trainA, trainB, testA, testB; it is then given twice.
On a CPU with bfloat16 instructions --precision bf16 takes about half the time; auto is exact there.
The trained model is OUT/model. Ctrl-C stops after the current step, with a checkpoint.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "train", "train a model on two folders of media", _EXAMPLES, run
    )
    recipe = parser.add_argument(
        "recipe", metavar="RECIPE", help="a recipe file, or a name that `recipes` lists"
    )
    completed_by(recipe, recipe_names)
    parser.add_argument("--data-a", required=True, metavar="DIR", help="media of domain A")
    parser.add_argument("--data-b", required=True, metavar="DIR", help="media of domain B")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of this training")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="override a key of the recipe, for instance trainer.steps=2000; may be repeated",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in OUT"
    )
    parser.add_argument(
        "--start-from",
        metavar="MODEL",
        help="begin with the networks of this model folder instead of random ones",
    )
    add_device(parser)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="run the generators by torch.compile, which takes a minute or more to begin",
    )
    parser.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="log to this project of Weights & Biases, too (extra wandb); with WANDB_MODE=offline,"
        " or without a network, what is logged stays in OUT/wandb for wandb sync",
    )
    parser.add_argument(
        "--wandb-name",
        metavar="NAME",
        help="what the run is called there; otherwise as OUT is",
    )


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.datasets.discover import find_files
    from cyclegan_media.pretrained import load_model
    from cyclegan_media.recipe import load_recipe
    from cyclegan_media.training import Wandb, train
    from cyclegan_media.training.tasks import media_kinds

    if args.wandb_name is not None and args.wandb is None:
        raise UserError("--wandb-name: goes with --wandb PROJECT")
    wandb = None if args.wandb is None else Wandb(args.wandb, args.wandb_name)
    recipe = load_recipe(args.recipe, args.overrides)
    start_from = load_model(args.start_from) if args.start_from else None
    files = find_files(args.data_a, args.data_b, media_kinds(recipe), hold_out=recipe.data.hold_out)
    result = train(
        recipe,
        files,
        args.out,
        resume=args.resume,
        start_from=start_from,
        device=args.device,
        precision=args.precision,
        compiled=args.compile,
        progress=show_progress(args),
        wandb=wandb,
    )
    if result.interrupted:
        print(f"stopped after step {result.steps}; go on with --resume", file=sys.stderr)
        return 130
    if not args.quiet:
        print(result.model)
    return 0
