"""``cyclegan-media push``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cyclegan_media.commands.options import add_parser

_EXAMPLES = """\
examples:
  cyclegan-media push models/horse2zebra hf:me/horse2zebra --licence apache-2.0
  cyclegan-media push runs/h2z hf:me/horse2zebra --metrics report.json --dry-run
  cyclegan-media push runs/h2z hf:me/horse2zebra --card-only README.md

Uploads a model folder to the Hugging Face Hub with a card that states what it is, what was
measured and what it is for. Log in first: `hf auth login`, or HF_TOKEN.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "push", "publish a model on the Hugging Face Hub", _EXAMPLES, run
    )
    parser.add_argument("model", metavar="MODEL", help="a model folder, or that of a training")
    parser.add_argument("target", metavar="hf:USER/MODEL", help="where it goes")
    parser.add_argument("--licence", "--license", metavar="ID", help="for instance apache-2.0")
    parser.add_argument("--metrics", metavar="REPORT.json", help="of the command evaluate")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded")
    parser.add_argument("--card-only", metavar="OUT", help="write the card to this file instead")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.files import atomic_file
    from cyclegan_media.pretrained.card import model_card, read_metrics
    from cyclegan_media.pretrained.hub import parse_hub_name
    from cyclegan_media.pretrained.push import model_files, push

    name = parse_hub_name(args.target)
    folder, config, files = model_files(args.model)
    card = model_card(
        config,
        name.model,
        repository=name.repository,
        licence=args.licence,
        metrics=read_metrics(args.metrics) if args.metrics else None,
    )
    if args.card_only:
        with atomic_file(args.card_only, overwrite=args.overwrite) as partial:
            partial.write_text(card, encoding="utf-8")
        print(Path(args.card_only))
    elif args.dry_run:
        for file in ("README.md", *files):
            print(f"{file} → {args.target}")
    else:
        print(push(folder, files, card, args.target, private=args.private))
    return 0
