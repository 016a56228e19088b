"""What models, trainings, recipes, checkpoints and folders are, as plain data (JSON-able).

Models and trainings are described without loading torch, so that ``info`` answers at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.media.info import describe_media
from cyclegan_media.media.kinds import SUFFIXES, list_media

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_RECIPE_SUFFIXES = (".yaml", ".yml")
_CHECKPOINT_SUFFIXES = (".pth", ".pt")


def describe(target: str, *, brief: bool = False) -> dict[str, Any]:
    """Describe whatever a path, or the name of a known recipe, stands for; see ``kind``.

    Args:
        brief: of a shipped recipe only what its file states, which needs no torch.

    Raises:
        UserError: there is no such thing, or it is damaged.
    """
    path = Path(target)
    if path.is_dir():
        if (path / "config.json").exists():
            return describe_model(path)
        if (path / "recipe.yaml").exists():
            return describe_training(path)
        return describe_folder(path)
    if path.suffix.lower() in _RECIPE_SUFFIXES or not path.exists():
        return describe_recipe(target, brief=brief)
    if path.suffix.lower() in _CHECKPOINT_SUFFIXES:
        return describe_checkpoint(path)
    from cyclegan_media.media.credentials import read_credentials

    return {**describe_media(path), "credentials": read_credentials(path)}


def describe_model(folder: Path) -> dict[str, Any]:
    """``domains``, and of each direction the generator's ``spec``, its number of ``parameters``
    and the length of the ``latent`` code that it takes (0: none)."""
    config = _config(folder)
    domains = config.get("domains", {"a": "a", "b": "b"})
    directions = []
    for direction, spec in config["generators"].items():
        source, _, target = direction.partition("2")
        file = folder / f"generator_{direction}.safetensors"
        directions.append(
            {
                "direction": direction,
                "from": domains[source],
                "to": domains[target],
                "spec": spec,
                "parameters": _parameters(file),
                "latent": spec.get("latent", 0),
            }
        )
    rest = {key: config.get(key) for key in ("recipe", "paper", "steps", "origin", "ema")}
    return {
        "path": str(folder),
        "kind": "model",
        "modality": config["modality"],
        "domains": domains,
        "directions": directions,
        **rest,
        "analysis": config.get("analysis"),
        "toolkit_version": config.get("toolkit_version"),
    }


def describe_training(folder: Path) -> dict[str, Any]:
    """The ``recipe``'s name, ``checkpoints`` (``steps``, validation ``score``) and ``model``."""
    from cyclegan_media.plain_yaml import read_yaml

    try:
        recipe = read_yaml((folder / "recipe.yaml").read_text(encoding="utf-8"))
        name, modality = recipe["name"], recipe["modality"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / 'recipe.yaml'}: is not a recipe") from error
    checkpoints = [
        {"steps": int(path.name.removeprefix("step-")), "score": _score(path)}
        for path in sorted((folder / "checkpoints").glob("step-*"))
    ]
    model = folder / "model"
    return {
        "path": str(folder),
        "kind": "training",
        "recipe": name,
        "modality": modality,
        "checkpoints": checkpoints,
        "model": describe_model(model) if model.is_dir() else None,
    }


def _score(checkpoint: Path) -> float | None:
    try:
        return float(json.loads((checkpoint / "score.json").read_text())["score"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # not every checkpoint was validated


def describe_recipe(source: str, *, brief: bool = False) -> dict[str, Any]:
    """The whole recipe with its defaults, and the ``parameters`` of its networks.

    With ``brief`` a recipe that is shipped, and so known to be valid, is not checked again: what
    its file and those that it extends state, without defaults and ``parameters``.
    """
    from cyclegan_media.recipe.files import (
        find_recipe,
        no_such_recipe,
        recipe_content,
        shipped_recipes,
    )

    path = find_recipe(source)
    if not path.exists():
        raise no_such_recipe(source, "there is no such file or folder, nor such a recipe")
    if brief and shipped_recipes().get(source) == path:
        return {"path": str(path), "kind": "recipe", **recipe_content(source)[1]}
    from cyclegan_media.recipe import load_recipe

    content = load_recipe(source).model_dump(mode="json")
    return {
        "path": str(path),
        "kind": "recipe",
        **content,
        "parameters": {
            part: _built_parameters(spec) for part, spec in networks_of(content["model"]).items()
        },
    }


def networks_of(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The networks that a recipe's ``model`` section names, by their keys."""
    return {key: spec for key, spec in model.items() if isinstance(spec, dict) and "name" in spec}


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """The architecture (``spec``) that a published checkpoint holds, and its ``parameters``."""
    from cyclegan_media.pretrained.published import convert_published_state, read_checkpoint

    spec, _ = convert_published_state(read_checkpoint(path), where=str(path))
    return {
        "path": str(path),
        "kind": "checkpoint",
        "bytes": path.stat().st_size,
        "spec": spec,
        "parameters": _built_parameters(spec),
    }


def describe_folder(folder: Path) -> dict[str, Any]:
    """How many files of each kind it holds."""
    counts = {kind: len(list_media(folder, kind)) for kind in SUFFIXES}
    return {"path": str(folder), "kind": "folder", "files": counts}


def _config(folder: Path) -> dict[str, Any]:
    """config.json; one that is not as expected is handed to the strict reader, which says why."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["format"] == 1 and set(config["generators"]) <= {"a2b", "b2a"}:
            for spec in config["generators"].values():
                str(spec["name"])
            config["modality"], config.get("domains", {"a": "", "b": ""})["a"]
            return dict(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    from cyclegan_media.pretrained import load_model

    load_model(folder)
    raise UserError(f"{path}: is not understood")


def _parameters(path: Path) -> int:
    """The number of trained values in a safetensors file, from its header."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: is missing; copy the model folder again")
    try:
        with safe_open(path, framework="np") as file:
            trained = [name for name in file.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in trained)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except SafetensorError as error:
        raise UserError(f"{path}: is damaged or not a safetensors file; copy it again") from error


def _built_parameters(spec: Mapping[str, Any]) -> int:
    import torch

    from cyclegan_media.backbones import build

    with torch.device("meta"):  # shapes without memory
        return sum(parameter.numel() for parameter in build(spec).parameters())
