"""Where recipes are, and what their files state: read without torch, so that lists come at once."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from cyclegan_media.errors import UserError
from cyclegan_media.plain_yaml import MOST_CHARACTERS, read_yaml
from cyclegan_media.recipe.extends import extended

FOLDERS = "CYCLEGAN_MEDIA_RECIPES"
"""Environment variable: folders with recipes of the user's own, separated as in ``PATH``."""


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the toolkit, by name (the file's name without ``.yaml``)."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def known_recipes() -> dict[str, Path]:
    """The recipes that can be named without a path: those shipped, then those of the folders that
    the environment variable ``CYCLEGAN_MEDIA_RECIPES`` lists.

    Raises:
        UserError: a listed folder does not exist, or two recipes have the same name.
    """
    known = shipped_recipes()
    for folder in filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)):
        if not Path(folder).is_dir():
            raise UserError(f"{FOLDERS}: {folder} is not a folder; correct the variable")
        for path in sorted(Path(folder).expanduser().glob("*.yaml")):
            other = known.setdefault(path.stem, path)
            if not other.samefile(path):
                raise UserError(
                    f"{FOLDERS}: two recipes are called {path.stem}: {other} and {path}; rename one"
                )
    return known


def find_recipe(source: str | os.PathLike[str]) -> Path:
    """The file of a recipe: ``source`` itself if it is one, else the known recipe of that name."""
    path = Path(source)
    return path if path.is_file() else known_recipes().get(str(source), path)


def recipe_content(source: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """The file of a recipe and what it states, joined with what it ``extends``; not checked.

    Raises:
        UserError: no such file, or it is not YAML for a recipe.
    """
    path = find_recipe(source)
    return path, extended(_read(path), path, _read, known_recipes())


def no_such_recipe(name: str, what: str) -> UserError:
    """The error for a name that stands for no recipe, with the ones that it may be meant for."""
    known = known_recipes()
    close = difflib.get_close_matches(name.removesuffix(".yaml"), known, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UserError(f"{name}: {what}; {hint}the recipes are: {', '.join(known) or 'none'}")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a file, so it cannot be read as a recipe")
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except FileNotFoundError as error:
        raise no_such_recipe(str(path), "no such recipe file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a recipe: {error}") from error
    try:
        content = read_yaml(text)
    except ValueError as error:
        raise UserError(f"{path}: is not valid YAML for a recipe: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a recipe (a mapping with 'name', 'modality', 'model', …)")
    return content
