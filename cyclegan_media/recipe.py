"""The recipe: everything that a training needs to know but its data, as a YAML file states it.

A recipe is data. It names components by registered name, never by import path, and loading one
runs none of its author's code (``yaml.safe_load``, then this schema). Unknown keys, wrong types
and impossible combinations are refused with one line that gives the path of the key.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from cyclegan_media.backbones.registry import build, parse_config
from cyclegan_media.core import TERMS, Objective, Term, Weight
from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import AnalysisConfig

_WEIGHT_KEYS = {
    # key of a recipe's term: field of Weight
    "weight": "value",
    "final_weight": "final",
    "start": "start",
    "end": "end",
    "until": "until",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """The networks: both generators are built alike, and so are both discriminators."""

    generator: dict[str, Any]
    discriminator: dict[str, Any]
    init: Literal["normal", "default"] = "normal"
    """Initial weights: N(0, 0.02²) as Zhu 2017, or those of torch's layers."""


class ImageData(_Section):
    """Random crops of pictures or video frames."""

    load_size: PositiveInt | None = 286
    """The shorter side is scaled to this many pixels before cropping; null keeps the size."""
    crop_size: PositiveInt = 256
    flip: bool = True
    """Mirror half of the crops, left to right."""
    frames_per_video: PositiveInt = 200
    """At most so many frames, evenly spaced, are taken from each video."""
    cache_megabytes: NonNegativeInt = 1024
    """Decoded pictures kept in memory, per worker process."""

    @model_validator(mode="after")
    def _crop_fits(self) -> ImageData:
        if self.load_size is not None and self.load_size < self.crop_size:
            raise ValueError(
                f"load_size ({self.load_size}) must be at least crop_size ({self.crop_size})"
            )
        return self


class VoiceData(_Section):
    """Random segments of recordings, as standardised mel-cepstra."""

    frames: PositiveInt = 128
    """Length of a training segment, in frames of ``analysis.frame_period`` ms."""
    analysis: AnalysisConfig = AnalysisConfig()


class OptimiserSection(_Section):
    """Adam, for generators and discriminators apart (Zhu 2017, section 4)."""

    generator_lr: PositiveFloat = 2e-4
    discriminator_lr: PositiveFloat = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    @field_validator("betas")
    @classmethod
    def _in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas


class TrainerSection(_Section):
    """How long, how many at once, and what to keep."""

    steps: PositiveInt | None = None
    """Steps at the constant learning rate; or give ``epochs``."""
    decay_steps: NonNegativeInt | None = None
    """Further steps over which the rate falls linearly to 0."""
    epochs: PositiveInt | None = None
    """The same in passes over the larger domain (the paper: 100 and 100)."""
    decay_epochs: NonNegativeInt | None = None
    batch_size: PositiveInt = 1
    history: NonNegativeInt = 50
    """Generated examples kept for the discriminators; 0 for none."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the generators, which is what is saved; 0 for none."""
    seed: NonNegativeInt = 0
    workers: NonNegativeInt | None = None
    """Processes that load data; null chooses by the machine."""
    log_every: PositiveInt = 10
    preview_every: PositiveInt = 500
    validate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
    keep: PositiveInt = 3
    """The last so many checkpoints are kept, and the best one."""
    divergence_limit: PositiveFloat = 1e4
    """A term of the objective beyond this stops the run."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainerSection:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either 'steps' or 'epochs' (not both)")
        if self.steps is None and self.decay_steps is not None:
            raise ValueError("'decay_steps' goes with 'steps'; use 'decay_epochs'")
        if self.epochs is None and self.decay_epochs is not None:
            raise ValueError("'decay_epochs' goes with 'epochs'; use 'decay_steps'")
        return self

    def length(self, items: int) -> tuple[int, int]:
        """Steps at the constant rate and steps of decay, for ``items`` in the larger domain."""
        if self.steps is not None:
            return self.steps, self.decay_steps or 0
        epoch = max(1, items // self.batch_size)
        return (self.epochs or 0) * epoch, (self.decay_epochs or 0) * epoch


class _Recipe(_Section):
    name: str
    paper: str = ""
    """What it reproduces, as one would cite it."""
    description: str = ""
    data_wanted: str = ""
    """What the two folders should hold."""
    domains: tuple[str, str] = ("a", "b")
    """Names of the two domains, for people."""
    model: ModelSection
    objective: dict[str, dict[str, Any]]
    optimiser: OptimiserSection = OptimiserSection()
    trainer: TrainerSection


class ImageRecipe(_Recipe):
    modality: Literal["image"]
    data: ImageData = ImageData()


class VoiceRecipe(_Recipe):
    modality: Literal["voice"]
    data: VoiceData = VoiceData()


Recipe = ImageRecipe | VoiceRecipe
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="modality")])


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the toolkit, by name (the file's name without ``.yaml``)."""
    package = Path(__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def load_recipe(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        overrides: ``path.to.key=value`` each, the value in YAML (``trainer.steps=2000``).

    Raises:
        UserError: no such file, not YAML, or not a valid recipe; names the file and the key.
    """
    path = Path(source)
    if not path.exists() and str(source) in shipped_recipes():
        path = shipped_recipes()[str(source)]
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        names = ", ".join(shipped_recipes()) or "none"
        raise UserError(
            f"{source}: no such recipe file; the shipped recipes are: {names}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a recipe: {error}") from error
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a recipe (a mapping with 'name', 'modality', 'model', …)")
    for override in overrides:
        _override(content, override)
    return parse_recipe(content, where=str(path))


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: write it as path.to.key=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML") from error
    if isinstance(parsed, str):
        # YAML 1.1 reads "2e-4" as a string, which nobody means.
        try:
            parsed = float(parsed)
        except ValueError:
            pass
    place = content
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {override}: {part!r} is a value, not a section")
        place = inner
    place[parts[-1]] = parsed


def parse_recipe(content: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a recipe given as plain data. See :func:`load_recipe`."""
    try:
        recipe = _ADAPTER.validate_python(dict(content))
    except ValidationError as error:
        raise UserError(f"{where}: {_first_problem(error)}") from error
    try:
        build_objective(recipe)
        model = recipe.model
        _, generator = parse_config(
            model.generator, where="model.generator", modality=recipe.modality, role="generator"
        )
        _, discriminator = parse_config(
            model.discriminator,
            where="model.discriminator",
            modality=recipe.modality,
            role="discriminator",
        )
        if isinstance(recipe, VoiceRecipe):
            _check_voice(recipe, generator, discriminator)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return recipe


def _check_voice(recipe: VoiceRecipe, generator: BaseModel, discriminator: BaseModel) -> None:
    wanted = recipe.data.analysis.coefficients
    for part, config in (("generator", generator), ("discriminator", discriminator)):
        got = getattr(config, "coefficients", wanted)
        if got != wanted:
            raise UserError(
                f"model.{part}.coefficients: is {got}, but data.analysis.coefficients is {wanted};"
                " make them equal"
            )
    with torch.device("meta"):  # only its declared multiple is of interest: no weights
        multiple = build(recipe.model.generator).multiple
    if recipe.data.frames % multiple:
        raise UserError(f"data.frames: {recipe.data.frames} is not a multiple of {multiple}")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    if path and path[0] in ("image", "voice"):  # pydantic names the branch of the union first
        path = path[1:]
    key = ".".join(path)
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
    known: list[str] = []
    for branch in (ImageRecipe, VoiceRecipe):
        section: Any = branch
        for part in path:
            field = getattr(section, "model_fields", {}).get(part)
            section = field.annotation if field else None
        known += [key for key in getattr(section, "model_fields", {}) if key not in known]
    return f"; known here: {', '.join(known)}" if known else ""


def build_objective(recipe: Recipe, available: Iterable[str] = ()) -> Objective:
    """The objective that a recipe states.

    Args:
        available: what the data gives beside the two batches.

    Raises:
        UserError: unknown term or key, or a term needs what the data does not give.
    """
    terms: dict[str, tuple[Term, Weight]] = {}
    for name, keys in recipe.objective.items():
        where = f"objective.{name}"
        cls = TERMS.get(name)
        if cls is None:
            raise UserError(f"{where}: no term is called {name!r}; there are: {', '.join(TERMS)}")
        fields = [field.name for field in dataclasses.fields(cls)]
        for key in keys:
            if key not in fields and key not in _WEIGHT_KEYS:
                known = ", ".join([*_WEIGHT_KEYS, *fields])
                raise UserError(f"{where}.{key}: unknown key; known here: {known}")
        weight = {_WEIGHT_KEYS[key]: value for key, value in keys.items() if key in _WEIGHT_KEYS}
        options = {key: value for key, value in keys.items() if key in fields}
        try:
            terms[name] = (
                TypeAdapter(cls).validate_python(options),
                TypeAdapter(Weight).validate_python({"value": 1.0, **weight}),
            )
        except ValidationError as error:
            raise UserError(f"{where}.{_first_problem(error)}".replace("value:", "weight:")) from error
    try:
        objective = Objective(terms)
    except ValueError as error:
        raise UserError(f"objective: {error}") from error
    given = frozenset(available)
    for name, needs in objective.needs.items():
        if needs - given:
            lacking = ", ".join(sorted(needs - given))
            raise UserError(f"objective.{name}: needs {lacking}, which this data does not give")
    return objective


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, complete with its defaults; :func:`load_recipe` reads it back equal."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
