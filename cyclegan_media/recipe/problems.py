"""What pydantic finds wrong, as one line with the path of the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from cyclegan_media.recipe.schema import ImageRecipe, VoiceRecipe


def first_problem(
    error: ValidationError, where: str = "", names: Mapping[str, str] | None = None
) -> str:
    """The first problem, as ``path.of.key: what is wrong with it``.

    Args:
        where: path of the section that was validated; empty for a whole recipe.
        names: what a recipe calls the fields that are called otherwise.
    """
    problem = error.errors()[0]
    path = [(names or {}).get(str(part), str(part)) for part in problem["loc"]]
    if not where and path and path[0] in ("image", "voice"):
        path = path[1:]  # pydantic names the branch of the union first
    key = ".".join(filter(None, [where, *path]))
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key{_known_keys(path[:-1])}"
        case "missing":
            return f"{key}: is missing"
        case "union_tag_not_found":
            return "modality: is missing; it is 'image' or 'voice'"
        case "union_tag_invalid":
            return f"modality: must be 'image' or 'voice', not {problem['ctx']['tag']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    shown = "" if isinstance(given, dict | list) else f" (got {given!r})"
    return f"{key + ': ' if key else ''}{message[:1].lower()}{message[1:]}{shown}"


def _known_keys(path: list[str]) -> str:
    """The keys of a recipe's section, of both modalities."""
    known: list[str] = []
    for branch in (ImageRecipe, VoiceRecipe):
        section: Any = branch
        for part in path:
            section = section.model_fields[part].annotation if _is_section(section) else None
        if _is_section(section):
            known += [key for key in section.model_fields if key not in known]
    return f"; known here: {', '.join(known)}" if known else ""


def _is_section(section: Any) -> bool:
    return isinstance(section, type) and issubclass(section, BaseModel)
