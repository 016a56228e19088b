"""Folders of exported models: graphs, and a manifest that says how they are to be run.

export.json                 what the graphs take, and what the model is (Manifest)
generator_a2b.onnx          the generator of a direction, or .pt2 for ``torch.export``
statistics.safetensors      what spectra are standardised by (voice only)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import UserError, from_os_error, one_line
from cyclegan_media.export.graph import input_names, to_onnx, to_program
from cyclegan_media.files import atomic_directory, check_output_folder
from cyclegan_media.pretrained import Direction, ModelConfig, PretrainedModel
from cyclegan_media.pretrained.tensors import write_tensors
from cyclegan_media.translate import Translator

Runtime = Literal["onnx", "torch"]
Format = Literal["onnx", "torch", "web"]
"""``web`` is an export to ONNX with a page that runs it in a browser."""
MANIFEST = "export.json"
STATISTICS = "statistics.safetensors"

_WRITERS: dict[Runtime, tuple[str, Callable[[Backbone, bool], bytes]]] = {
    "onnx": (".onnx", to_onnx),
    "torch": (".pt2", to_program),
}
_LARGEST_MANIFEST = 1 << 20
_PAGE = Path(__file__).parent / "page"


class Graph(BaseModel):
    """The generator of one direction."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(pattern=r"^[a-z0-9_]+\.(onnx|pt2)$")
    """In the manifest's folder."""
    sha256: str
    inputs: list[str]
    """``x``, and ``z`` where it takes a latent code."""
    multiple: int = Field(ge=1, le=1 << 16)
    """Of which height and width (or frames) must be multiples."""
    minimum: int = Field(ge=1, le=1 << 16)
    """The least height and width (or frames)."""
    latent: int = Field(0, ge=0, le=1 << 16)
    """Length of ``z``."""


class Manifest(BaseModel):
    """What ``export.json`` states. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    runtime: Runtime
    name: str
    """What the outputs of the model call it."""
    model: ModelConfig
    """The model that it was exported from: domains, recipe, origin, settings of the analysis."""
    generators: dict[Direction, Graph] = Field(min_length=1)


def export_model(
    model: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format: Format = "onnx",
    *,
    overwrite: bool = False,
) -> Path:
    """Export a model folder's generators; return ``target``, a folder that is complete or absent.

    Raises:
        UserError: no such model, a package that the format needs is missing, or the target exists
            (with ``overwrite``: and is no exported model) or cannot be written.
        RunError: a generator cannot be exported, or the disk is full.
    """
    target = check_export_target(target, overwrite=overwrite)
    translator = Translator.load(model, device="cpu", precision="fp32")
    if format == "web" and translator.modality == "voice":
        raise UserError(f"{model}: converts voices; the page is for models of pictures")
    with atomic_directory(target, overwrite=overwrite) as partial:
        if format == "web":
            for file in _PAGE.iterdir():
                (partial / file.name).write_bytes(file.read_bytes())
        runtime: Runtime = "onnx" if format == "web" else format
        write_export(translator.model, translator.name, partial, runtime)
    return target


def check_export_target(target: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Refuse to replace what is no exported model."""
    target = Path(target)
    if overwrite and target.is_dir() and any(target.iterdir()) and not _is_export(target):
        raise UserError(f"{target}: is no exported model, so it is not replaced; choose another")
    return check_output_folder(target, overwrite=overwrite)


def write_export(model: PretrainedModel, name: str, folder: Path, runtime: Runtime) -> Manifest:
    """Write graphs and manifest into a folder that exists."""
    suffix, write = _WRITERS[runtime]
    voice = model.config.modality == "voice"
    graphs: dict[Direction, Graph] = {}
    for way, network in model.generators.items():
        content = write(network, voice)
        file = f"generator_{way}{suffix}"
        (folder / file).write_bytes(content)
        graphs[way] = Graph(
            file=file,
            sha256=hashlib.sha256(content).hexdigest(),
            inputs=input_names(network),
            multiple=network.multiple,
            minimum=network.minimum,
            latent=network.latent,
        )
    if voice:
        write_tensors(folder / STATISTICS, model.statistics)
    manifest = Manifest(runtime=runtime, name=name, model=model.config, generators=graphs)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """What an exported model's ``export.json`` states.

    Raises:
        UserError: it is missing, not JSON, or a key is unknown or wrong.
    """
    path = folder / MANIFEST
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_MANIFEST + 1)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    if len(content) > _LARGEST_MANIFEST:
        raise UserError(f"{path}: is longer than {_LARGEST_MANIFEST} bytes; no export needs that")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = one_line(".".join(map(str, first["loc"]))) or "the file"
        raise UserError(f"{path}: {key}: {one_line(first['msg'])}; export again") from error


def _is_export(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
