"""Which models the page offers: found in folders by their ``config.json``, without loading one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cyclegan_media.errors import UserError

_MOST_BYTES = 1 << 20
_DEPTH = 3
"""Folders within folders that are searched."""


@dataclass(frozen=True)
class Offer:
    """A model as the page lists it."""

    name: str
    path: str
    modality: Literal["image", "voice"]
    directions: tuple[str, ...]
    domains: tuple[str, str]
    """What A and B are called."""
    summary: str
    many: bool = False
    """Whether it has many translations of one input."""
    faces: bool = False
    """Whether it was trained on crops of faces."""

    def direction(self, direction: str) -> str:
        """A direction in words: from what, to what."""
        a, b = self.domains
        return f"{a} → {b}" if direction == "a2b" else f"{b} → {a}"


def find_models(places: Iterable[str]) -> list[Offer]:
    """The models in ``places``, each a model folder, that of a training, or a folder of such.

    Names that more than one has are told apart by as many folders above as that takes.

    Raises:
        UserError: a place does not exist, or holds no model; or one in it is damaged.
    """
    offers: dict[Path, Offer] = {}
    for place in places:
        folder = Path(place)
        if not folder.is_dir():
            raise UserError(f"{place}: there is no such folder; name a model or a folder of models")
        found = [offer for path in _models(folder, _DEPTH) if (offer := _offer(path)) is not None]
        if not found:
            raise UserError(f"{place}: holds no model (a folder with config.json)")
        offers.update({Path(offer.path).resolve(): offer for offer in found})
    names = short_names({path: offer.name for path, offer in offers.items()})
    return [replace(offer, name=names[path]) for path, offer in offers.items()]


def short_names(names: Mapping[Path, str]) -> dict[Path, str]:
    """Names of folders, with as many folders above as tell them apart: visitors need not know where
    on the machine all this is."""

    def name(path: Path, above: int) -> str:
        # The model of a training is named by the training.
        parts = path.parent.parts if path.name == "model" else path.parts
        return "/".join([*parts[max(1, len(parts) - 1 - above) : -1], names[path]])

    short = {}
    for path in names:
        above = 0
        while above < len(path.parts) and any(
            name(path, above) == name(other, above) for other in names if other != path
        ):
            above += 1
        short[path] = name(path, above)
    return short


def _models(folder: Path, depth: int) -> Iterable[Path]:
    if (folder / "config.json").is_file():
        yield folder
    elif (folder / "model" / "config.json").is_file():
        yield folder / "model"
    elif depth:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith("."):
                yield from _models(inner, depth - 1)


def _offer(folder: Path) -> Offer | None:
    """The model in a folder; ``None`` where its ``config.json`` is that of something else."""
    path = folder / "config.json"
    try:
        with open(path, encoding="utf-8") as file:
            config = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as that of a model: {error}") from error
    if not isinstance(config, dict) or config.get("modality") not in ("image", "voice"):
        return None
    try:
        return _described(folder, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is damaged; `cyclegan-media info {folder}` says how") from error


def _described(folder: Path, config: dict[str, Any]) -> Offer:
    named = folder.resolve()
    domains = config.get("domains") or {"a": "a", "b": "b"}
    trained = [
        f"recipe {config['recipe']}" if config.get("recipe") else "",
        f"{int(config['steps']):,} steps" if config.get("steps") else "",
        str(config.get("paper") or ""),
    ]
    return Offer(
        name=named.parent.name if named.name == "model" else named.name,
        path=str(folder),
        modality=config["modality"],
        directions=tuple(d for d in ("a2b", "b2a") if d in config["generators"]),
        domains=(str(domains["a"]), str(domains["b"])),
        summary=" · ".join(filter(None, trained)),
        many=any(network["name"] == "cin_resnet" for network in config["generators"].values()),
        faces="faces" in (config.get("analysis") or {}),
    )
