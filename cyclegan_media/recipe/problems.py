"""What pydantic finds wrong, as one line with the path of the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cyclegan_media.recipe.schema import ImageRecipe, VoiceRecipe
from cyclegan_media.speech.kinds import ANALYSIS_KINDS

_BRANCHES: dict[str, Any] = {"image": ImageRecipe, "voice": VoiceRecipe}
"""pydantic names the branch of a union in a path, as these and the kinds of analysis."""


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
    branch = None
    if not where and path and path[0] in _BRANCHES:
        branch = _BRANCHES[path.pop(0)]
    named = [part for part in path if part not in ANALYSIS_KINDS]
    key = ".".join(filter(None, [where, *named]))
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key{_known_keys(branch, path[:-1])}"
        case "missing":
            return f"{key}: is missing"
        case "union_tag_not_found":
            return "modality: is missing; it is 'image' or 'voice'"
        case "union_tag_invalid":
            return f"modality: must be 'image' or 'voice', not {problem['ctx']['tag']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    shown = "" if isinstance(given, dict | list) else f" (got {given!r:.200})"
    return f"{key + ': ' if key else ''}{message[:1].lower()}{message[1:]}{shown}"


def _known_keys(section: Any, path: list[str]) -> str:
    """The keys of the section at ``path`` of a recipe, if that is one."""
    for part in path:
        field = getattr(section, "model_fields", {}).get(part)
        section = ANALYSIS_KINDS.get(part) if field is None else field.annotation
    known = getattr(section, "model_fields", None)
    return f"; known here: {', '.join(known)}" if known else ""
