"""YAML file → checked recipe, and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from cyclegan_media.errors import UserError
from cyclegan_media.plain_yaml import read_yaml
from cyclegan_media.recipe.extends import drop_other_length
from cyclegan_media.recipe.files import recipe_content
from cyclegan_media.recipe.networks import complete_model
from cyclegan_media.recipe.objective import build_objective, complete_objective
from cyclegan_media.recipe.problems import first_problem
from cyclegan_media.recipe.schema import Recipe

_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="modality")])


def load_recipe(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Read and check a recipe, joined with the one that it ``extends``, if any.

    Args:
        source: a YAML file, or the name of a recipe that is shipped or in one of the folders of
            the environment variable ``CYCLEGAN_MEDIA_RECIPES``.
        overrides: ``path.to.key=value`` each, the value in YAML (``trainer.steps=2000``).

    Raises:
        UserError: no such file, not YAML, or not a valid recipe; names the file and the key.
    """
    path, content = recipe_content(source)
    set_by_user = [_parse_override(override) for override in overrides]
    for parts, value in set_by_user:
        _override(content, parts, value)
    if isinstance(content.get("trainer"), dict):
        stated = [parts[1] for parts, _ in set_by_user if parts[0] == "trainer" and parts[1:]]
        content["trainer"] = drop_other_length(content["trainer"], stated)
    return parse_recipe(content, where=str(path))


def _parse_override(override: str) -> tuple[list[str], Any]:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: write it as path.to.key=value")
    try:
        parsed = read_yaml(value)
    except ValueError as error:
        raise UserError(f"--set {override}: the value is not valid YAML") from error
    if isinstance(parsed, str):
        # YAML 1.1 reads "2e-4" as a string, which nobody means.
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    return parts, parsed


def _override(content: dict[str, Any], parts: list[str], value: Any) -> None:
    place = content
    for depth, part in enumerate(parts[:-1], 1):
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            path = ".".join(parts[:depth])
            raise UserError(f"--set {'.'.join(parts)}: {path!r} is a value, not a section")
        place = inner
    place[parts[-1]] = value


def parse_recipe(content: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a recipe given as plain data. See :func:`load_recipe`."""
    try:
        recipe = _ADAPTER.validate_python(dict(content))
    except ValidationError as error:
        raise UserError(f"{where}: {first_problem(error)}") from error
    try:
        objective = build_objective(recipe)
        model = complete_model(recipe, objective)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return recipe.model_copy(update={"objective": complete_objective(objective), "model": model})


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, complete with its defaults; :func:`load_recipe` reads it back equal."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
