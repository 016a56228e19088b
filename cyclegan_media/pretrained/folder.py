"""Model folders: a typed ``config.json`` and safetensors files, nothing executable.

config.json                 what the model is (ModelConfig)
generator_a2b.safetensors   weights of the generator from domain A to domain B
generator_b2a.safetensors   and back; one of the two may be missing
NAME.safetensors            weights of each further network that inference needs
statistics.safetensors      what spectra are standardised by (voice only)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from cyclegan_media.backbones.registry import (
    Backbone,
    Modality,
    Role,
    build,
    parse_config,
    spec_of,
)
from cyclegan_media.errors import RunError, UserError, from_os_error, one_line
from cyclegan_media.files import atomic_directory, check_output_folder
from cyclegan_media.pretrained.tensors import check_finite, read_tensors, write_tensors

FORMAT_VERSION: Literal[1] = 1
CONFIG_FILE = "config.json"
STATISTICS = "statistics"

_LARGEST_CONFIG = 1 << 20
"""Bytes of config.json: a thousand times what a model needs."""

Direction = Literal["a2b", "b2a"]
NetworkName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


def toolkit_version() -> str:
    """The version of this package."""
    try:
        return version("cyclegan-media")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


class ModelConfig(BaseModel):
    """What ``config.json`` states. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT_VERSION
    """Version of this folder layout."""
    toolkit_version: str = Field(default_factory=toolkit_version)
    """Version of this package that wrote the folder."""
    modality: Modality
    domains: dict[str, str] = Field(default_factory=lambda: {"a": "a", "b": "b"})
    """What the two domains are called, for instance ``{"a": "horse", "b": "zebra"}``."""
    generators: dict[Direction, dict[str, Any]] = Field(min_length=1)
    """Per direction the generator's name and configuration, as ``registry.build`` takes it."""
    networks: dict[NetworkName, dict[str, Any]] = Field(default_factory=dict)
    """Further networks that inference needs, likewise: a latent encoder, for instance."""
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
    """Voice: the settings that waveforms are analysed and synthesised with. Pictures: under
    ``faces`` the ``size`` and ``margin`` of the crops of faces that it was trained on, if any."""

    @field_validator("domains")
    @classmethod
    def _both_domains(cls, domains: dict[str, str]) -> dict[str, str]:
        if set(domains) != {"a", "b"}:
            raise ValueError("needs a name for 'a' and one for 'b'")
        return domains

    @field_validator("networks")
    @classmethod
    def _own_files(cls, networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        taken = {STATISTICS, _generator_file("a2b"), _generator_file("b2a")}
        if taken & set(networks):
            raise ValueError(f"the names {', '.join(sorted(taken))} are taken")
        return networks


@dataclass
class PretrainedModel:
    """A trained model in memory."""

    config: ModelConfig
    generators: dict[Direction, Backbone]
    statistics: dict[str, torch.Tensor] = field(default_factory=dict)
    """Voice: what spectra are standardised by."""
    networks: dict[str, Backbone] = field(default_factory=dict)
    """Further networks by name; a name is also that of the file, ``[a-z][a-z0-9_]*``."""


def save_model(
    folder: str | os.PathLike[str], model: PretrainedModel, *, overwrite: bool = False
) -> Path:
    """Write ``model`` as a folder that is either complete or absent; return its path.

    Floating-point tensors are stored as float32. ``config.generators`` and ``config.networks``
    are written from the networks themselves.

    Raises:
        UserError: the folder exists (with ``overwrite``: and is not a model folder), or cannot
            be written; a network is of another modality, or its name is no file name.
        RunError: a weight is not finite (the training diverged), or the disk is full.
    """
    folder = check_target(folder, overwrite=overwrite)
    content = {
        **model.config.model_dump(),
        "generators": {way: spec_of(network) for way, network in model.generators.items()},
        "networks": {name: spec_of(network) for name, network in model.networks.items()},
    }
    config = _validated(content, str(folder))
    for part in _parts(config):
        parse_config(
            part.spec, where=f"{folder}: {part.key}", modality=config.modality, role=part.role
        )
    networks: dict[str, Backbone] = {
        **{_generator_file(way): network for way, network in model.generators.items()},
        **model.networks,
    }
    tensors = {name: network.state_dict() for name, network in networks.items()}
    if config.modality == "voice":
        tensors[STATISTICS] = model.statistics
    for name, state in tensors.items():
        broken = check_finite(state)
        if broken is not None:
            raise RunError(f"{name}: tensor {broken!r} has values that are not finite; not saved")
    with atomic_directory(folder, overwrite=overwrite) as partial:
        for name, state in tensors.items():
            write_tensors(_tensor_file(partial, name), state)
        text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (partial / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    return folder


def check_target(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check, before any work, that :func:`save_model` can write ``folder``.

    Raises:
        UserError: it exists (with ``overwrite``: and is not a model folder), or cannot be written.
    """
    folder = Path(folder)
    if overwrite and _is_other_folder(folder):
        raise UserError(f"{folder}: is not a model folder, so it is not replaced; choose another")
    return check_output_folder(folder, overwrite=overwrite)


def load_model(
    folder: str | os.PathLike[str], *, device: torch.device | str = "cpu"
) -> PretrainedModel:
    """Read a model folder; its networks are in evaluation mode on ``device``.

    Shapes are compared before anything is allocated, and no code from the folder is run; a
    backbone of an installed package is imported when ``config.json`` names it.

    Raises:
        UserError: the folder or a file is missing, damaged, of an unknown format version, or
            does not fit (names the file and the tensor or key).
    """
    folder = Path(folder)
    config = read_config(folder)
    networks: dict[str, Backbone] = {}
    for part in _parts(config):
        where = f"{folder / CONFIG_FILE}: {part.key}"
        with torch.device("meta"):
            expected = build(part.spec, where=where, modality=config.modality, role=part.role)
        state = read_tensors(_tensor_file(folder, part.file), expected.state_dict())
        network = build(part.spec, where=where)
        network.load_state_dict(state)
        networks[part.file] = network.to(device).eval().requires_grad_(False)
    generators = {way: networks.pop(_generator_file(way)) for way in config.generators}
    statistics: dict[str, torch.Tensor] = {}
    if config.modality == "voice":
        statistics = read_tensors(_tensor_file(folder, STATISTICS), None)
    return PretrainedModel(config, generators, statistics, networks)


def read_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """What a model folder's ``config.json`` states, without reading weights.

    Raises:
        UserError: the folder or file is missing, not JSON, of an unknown format version, or a
            key is unknown or wrong.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not folder.exists():
        raise UserError(f"{folder}: there is no such model folder")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is a file, not a model folder; a published checkpoint has to be imported"
            " into one first"
        )
    if not path.is_file():
        raise UserError(f"{path}: is missing, so {folder} is not a model folder")
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_CONFIG + 1)
        if len(text) > _LARGEST_CONFIG:
            raise UserError(f"{path}: is longer than {_LARGEST_CONFIG} bytes; no model needs that")
        data = json.loads(text.decode("utf-8"))
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
    return _validated(data, str(path))


@dataclass(frozen=True)
class _Part:
    """One network of a model folder: where the config states it, and its tensors' file."""

    key: str
    file: str
    spec: dict[str, Any]
    role: Role | None


def _parts(config: ModelConfig) -> Iterator[_Part]:
    for way, spec in config.generators.items():
        yield _Part(f"generators.{way}", _generator_file(way), spec, "generator")
    for name, spec in config.networks.items():
        yield _Part(f"networks.{name}", name, spec, None)


def _generator_file(direction: str) -> str:
    return f"generator_{direction}"


def _tensor_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _is_other_folder(folder: Path) -> bool:
    if not folder.is_dir() or (folder / CONFIG_FILE).is_file():
        return False
    return any(folder.iterdir())


def _validated(data: Mapping[str, Any], where: str) -> ModelConfig:
    try:
        return ModelConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = one_line(".".join(map(str, first["loc"])).removesuffix(".[key]"))
        if first["type"] == "extra_forbidden":
            raise UserError(f"{where}: {key}: unknown key") from error
        if first["type"] == "missing":
            raise UserError(f"{where}: {key}: is missing") from error
        message = first["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(first["input"], dict | list) else f" (got {first['input']!r:.200})"
        raise UserError(f"{where}: {key}: {message}{shown}") from error
