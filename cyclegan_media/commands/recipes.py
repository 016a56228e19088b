"""``cyclegan-media recipes``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import add_json, add_parser, print_json

_EXAMPLES = """\
examples:
  cyclegan-media recipes
  cyclegan-media info cyclegan_vc
  cyclegan-media train cyclegan --data-a photos --data-b paintings --out runs/monet

To change a recipe, copy the file that `info` names, or override keys by `train --set`.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "recipes", "list the recipes that come with the toolkit", _EXAMPLES, run
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.recipe import load_recipe, shipped_recipes

    rows = []
    for name, path in shipped_recipes().items():
        recipe = load_recipe(path)
        rows.append(
            {
                "name": name,
                "modality": recipe.modality,
                "paper": recipe.paper,
                "description": recipe.description,
                "path": str(path),
            }
        )
    if args.json:
        print_json(rows)
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['modality']:5}  {row['description']}")
    return 0
