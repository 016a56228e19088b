"""The recipe: everything that a training needs to know but its data, as a YAML file states it.

A recipe is data. It names components by registered name, never by import path, and loading one
runs none of its author's code (``yaml.safe_load``, then a typed schema). Unknown keys, wrong types
and impossible combinations are refused with one line that gives the path of the key.
"""

from cyclegan_media.recipe.load import dump_recipe, load_recipe, parse_recipe, shipped_recipes
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
    "load_recipe",
    "parse_recipe",
    "shipped_recipes",
]
