"""``cyclegan-media recipes``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import add_json, add_parser, print_json
from cyclegan_media.errors import one_line

_EXAMPLES = """\
examples:
  cyclegan-media recipes
  cyclegan-media info cyclegan_vc
  cyclegan-media train cyclegan --data-a photos --data-b paintings --out runs/monet

To change a recipe, copy the file that `info` names, or override keys by `train --set`. Recipes of
your own can be named, too, if the environment variable CYCLEGAN_MEDIA_RECIPES lists their folders.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "recipes", "list the recipes that can be named", _EXAMPLES, run
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.recipe.files import known_recipes, recipe_content

    rows = []
    for name, path in known_recipes().items():
        content = recipe_content(path)[1]
        row = {key: str(content.get(key, "")) for key in ("modality", "paper", "description")}
        rows.append({"name": name, **row, "path": str(path)})
    if args.json:
        print_json(rows)
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(one_line(f"{row['name']:{width}}  {row['modality']:5}  {row['description']}"))
    return 0
