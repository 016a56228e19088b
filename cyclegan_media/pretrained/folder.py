"""Model folders: a typed ``config.json`` and safetensors files, nothing executable.

config.json                 what the model is (ModelConfig)
generator_a2b.safetensors   weights of the generator from domain A to domain B
generator_b2a.safetensors   and back; one of the two may be missing
statistics.safetensors      what spectra are standardised by (voice only)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cyclegan_media.backbones.registry import Backbone, Modality, build, spec_of
from cyclegan_media.errors import RunError, UserError, from_os_error
from cyclegan_media.files import atomic_directory

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
STATISTICS_FILE = "statistics.safetensors"

Direction = Literal["a2b", "b2a"]


def _toolkit_version() -> str:
    try:
        return version("cyclegan-media")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


class ModelConfig(BaseModel):
    """What ``config.json`` states. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT_VERSION
    """Version of this folder layout."""
    toolkit_version: str = Field(default_factory=_toolkit_version)
    """Version of this package that wrote the folder."""
    modality: Modality
    domains: dict[Literal["a", "b"], str] = Field(default_factory=lambda: {"a": "a", "b": "b"})
    """What the two domains are called, for instance ``{"a": "horse", "b": "zebra"}``."""
    generators: dict[Direction, dict[str, Any]] = Field(min_length=1)
    """Per direction the generator's name and configuration, as ``registry.build`` takes it."""
    recipe: str | None = None
    """Name of the recipe that it was trained by."""
    paper: str | None = None
    steps: int | None = None
    """Optimiser steps of training."""
    origin: str | None = None
    """``trained``, or ``imported from FILE``."""
    ema: bool = False
    """Whether the weights are averages over training steps."""
    analysis: dict[str, Any] | None = None
    """Voice: the settings that waveforms are analysed and synthesised with."""


@dataclass
class PretrainedModel:
    """A trained model in memory: its description, its generators and its spectral statistics."""

    config: ModelConfig
    generators: dict[Direction, Backbone]
    statistics: dict[str, torch.Tensor] = field(default_factory=dict)


def save_model(
    folder: str | os.PathLike[str], model: PretrainedModel, *, overwrite: bool = False
) -> Path:
    """Write ``model`` as a folder that is either complete or absent; return its path.

    Floating-point tensors are stored as float32. ``config.generators`` is written from the
    networks themselves.

    Raises:
        UserError: the folder exists (with ``overwrite``: and is not a model folder), or cannot
            be written.
        RunError: a weight is not finite (the training diverged), or the disk is full.
    """
    folder = Path(folder)
    if overwrite and _is_other_folder(folder):
        raise UserError(f"{folder}: is not a model folder, so it is not replaced; choose another")
    specs = {direction: spec_of(network) for direction, network in model.generators.items()}
    config = ModelConfig.model_validate({**model.config.model_dump(), "generators": specs})
    tensors: dict[str, dict[str, torch.Tensor]] = {
        _weights_file(direction): _storable(network.state_dict(), f"generator_{direction}")
        for direction, network in model.generators.items()
    }
    if config.modality == "voice":
        tensors[STATISTICS_FILE] = _storable(model.statistics, "statistics")
    with atomic_directory(folder, overwrite=overwrite) as partial:
        for name, state in tensors.items():
            save_file(state, partial / name)
        text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (partial / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    return folder


def load_model(
    folder: str | os.PathLike[str], *, device: torch.device | str = "cpu"
) -> PretrainedModel:
    """Read a model folder; the generators are in evaluation mode on ``device``.

    Shapes are compared before anything is allocated, and no code from the folder is run; a
    backbone of an installed package is imported when ``config.json`` names it.

    Raises:
        UserError: the folder or a file is missing, damaged, of an unknown format version, or
            does not fit (names the file and the tensor or key).
    """
    folder = Path(folder)
    config = _read_config(folder)
    generators: dict[Direction, Backbone] = {}
    for direction, spec in config.generators.items():
        where = f"{folder / CONFIG_FILE}: generators.{direction}"
        with torch.device("meta"):
            expected = _build(spec, where, config.modality).state_dict()
        state = _read_tensors(folder / _weights_file(direction), expected)
        network = _build(spec, where, config.modality)
        network.load_state_dict(state)
        generators[direction] = network.to(device).eval().requires_grad_(False)
    statistics: dict[str, torch.Tensor] = {}
    if config.modality == "voice":
        statistics = _read_tensors(folder / STATISTICS_FILE, None)
    return PretrainedModel(config, generators, statistics)


def check_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor with a value that is not finite, if there is one."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def _build(spec: Mapping[str, Any], where: str, modality: Modality) -> Backbone:
    return build(spec, where=where, modality=modality, role="generator")


def _weights_file(direction: Direction) -> str:
    return f"generator_{direction}.safetensors"


def _is_other_folder(folder: Path) -> bool:
    if not folder.is_dir() or (folder / CONFIG_FILE).is_file():
        return False
    return any(folder.iterdir())


def _storable(state: Mapping[str, torch.Tensor], what: str) -> dict[str, torch.Tensor]:
    broken = check_finite(state)
    if broken is not None:
        raise RunError(f"{what}: tensor {broken!r} has values that are not finite; not saved")
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in state.items()
    }


def _read_config(folder: Path) -> ModelConfig:
    path = folder / CONFIG_FILE
    if not folder.exists():
        raise UserError(f"{folder}: there is no such model folder")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is a file, not a model folder; a published checkpoint has to be imported"
            " into one first"
        )
    if not path.exists():
        raise UserError(f"{path}: is missing, so {folder} is not a model folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: needs a JSON object, not a {type(data).__name__}")
    if data.get("format") != FORMAT_VERSION:
        raise UserError(
            f"{path}: format is {data.get('format')!r}, but this version reads format"
            f" {FORMAT_VERSION}; update the toolkit or export the model again"
        )
    try:
        return ModelConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UserError(f"{path}: {key}: unknown key") from error
        raise UserError(f"{path}: {key}: {first['msg']} (got {first['input']!r})") from error


_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}


def _read_tensors(
    path: Path, expected: Mapping[str, torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    """Read a safetensors file; names, shapes and dtypes must be those of ``expected`` if given."""
    if not path.is_file():
        raise UserError(f"{path}: is missing; copy the model folder again")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if expected is not None:
                _check_names(path, names, expected)
            for name in names:
                part = file.get_slice(name)
                got = (part.get_dtype(), list(part.get_shape()))
                want = ("F32", got[1])
                if expected is not None:
                    tensor = expected[name]
                    want = (_DTYPES.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape))
                if got != want:
                    raise UserError(
                        f"{path}: tensor {name!r} is {got[0]} {got[1]}, but {CONFIG_FILE} asks"
                        f" for {want[0]} {want[1]}"
                    )
            state = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except SafetensorError as error:
        raise UserError(
            f"{path}: is damaged or not a safetensors file ({error}); copy it again"
        ) from error
    broken = check_finite(state)
    if broken is not None:
        raise UserError(f"{path}: tensor {broken!r} has values that are not finite")
    return state


def _check_names(path: Path, names: list[str], expected: Mapping[str, torch.Tensor]) -> None:
    for name in expected:
        if name not in names:
            raise UserError(f"{path}: tensor {name!r} is missing; {CONFIG_FILE} asks for it")
    for name in names:
        if name not in expected:
            raise UserError(f"{path}: tensor {name!r} is unexpected; {CONFIG_FILE} has no such")
