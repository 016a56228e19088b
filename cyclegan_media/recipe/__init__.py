"""The recipe: everything that a training needs to know but its data, as a YAML file states it.

A recipe is data. It names components by registered name, never by import path, and loading one
runs none of its author's code (``yaml.safe_load``, then a typed schema). Unknown keys, wrong types
and impossible combinations are refused with one line that gives the path of the key.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cyclegan_media.recipe.files import known_recipes, shipped_recipes

if TYPE_CHECKING:
    from cyclegan_media.recipe.load import dump_recipe, load_recipe, parse_recipe
    from cyclegan_media.recipe.networks import build_networks
    from cyclegan_media.recipe.objective import build_objective
    from cyclegan_media.recipe.schema import (
        ImageData,
        ImageRecipe,
        ModelSection,
        OptimiserSection,
        Recipe,
        TrainerSection,
        VoiceData,
        VoiceRecipe,
    )

__all__ = [
    "ImageData",
    "ImageRecipe",
    "ModelSection",
    "OptimiserSection",
    "Recipe",
    "TrainerSection",
    "VoiceData",
    "VoiceRecipe",
    "build_networks",
    "build_objective",
    "dump_recipe",
    "known_recipes",
    "load_recipe",
    "parse_recipe",
    "shipped_recipes",
]

_MODULES = {
    "load": ("dump_recipe", "load_recipe", "parse_recipe"),
    "networks": ("build_networks",),
    "objective": ("build_objective",),
}


def __getattr__(name: str) -> Any:
    """Import what checks recipes when it is asked for: it brings torch, which lists do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _MODULES.items() if name in names), "schema")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value
