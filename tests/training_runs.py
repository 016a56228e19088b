"""Trainings small enough for tests, and what to compare of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.media import Image, write_image
from cyclegan_media.recipe import Recipe, parse_recipe

EXACT: dict[str, Any] = {
    # All that a resumed training must carry on with: dropout and the penalty draw random
    # numbers, the history fills and swaps, the average ramps up, the rates decay.
    "name": "exact",
    "modality": "image",
    "model": {
        "generator": {"name": "resnet", "width": 2, "blocks": 1, "dropout": True},
        "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
    },
    "objective": {
        "adversarial": {"loss": "wgan-gp"},
        "cycle": {"weight": 10, "final_weight": 5, "start": 2, "end": 6},
        "identity": {"weight": 5, "until": 4},
    },
    "data": {"load_size": 20, "crop_size": 16},
    "trainer": {
        **{"steps": 5, "decay_steps": 3, "batch_size": 2, "history": 3, "ema": 0.9, "keep": 2},
        **{"log_every": 1, "validate_every": 3, "preview_every": 4, "checkpoint_every": 2},
    },
}
PLAIN: dict[str, Any] = {
    # Nothing random in a step: means over the batch alone decide.
    **EXACT,
    "name": "plain",
    "model": {**EXACT["model"], "generator": {"name": "resnet", "width": 2, "blocks": 1}},
    "objective": {"adversarial": {}, "cycle": {"weight": 10}, "identity": {"weight": 5}},
    "trainer": {**EXACT["trainer"], "batch_size": 1, "history": 0},
}


def recipe(content: dict[str, Any] = EXACT, **trainer: Any) -> Recipe:
    """A checked recipe, with some keys of its trainer section changed."""
    content = copy.deepcopy(content)
    content["trainer"].update(trainer)
    return parse_recipe(content)


def pictures(folder: Path, count: int = 5, size: int = 20) -> Files:
    """Two domains of random pictures: dark ones in ``a``, light ones in ``b``."""
    random = np.random.default_rng(0)
    for side, base in (("a", 0), ("b", 128)):
        (folder / side).mkdir(parents=True)
        for k in range(count):
            pixels = random.integers(base, base + 128, (size, size, 3), dtype=np.uint8)
            write_image(folder / side / f"{k}.png", Image(pixels))
    return find_files(folder / "a", folder / "b", ("image", "video"))


def flat(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested containers, with its path."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from flat(value, f"{path}/{key}")
    elif isinstance(content, list | tuple):
        for key, value in enumerate(content):
            yield from flat(value, f"{path}/{key}")
    else:
        yield path, content


def contents(checkpoint: Path) -> dict[str, Any]:
    """All that a checkpoint holds, by file and path."""
    found: dict[str, Any] = {}
    for path in sorted(checkpoint.rglob("*")):
        name = str(path.relative_to(checkpoint))
        if path.suffix == ".pt":
            state = torch.load(path, weights_only=True)
            found.update({f"{name}{key}": value for key, value in flat(state)})
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def differences(ours: Path, theirs: Path) -> list[str]:
    """What differs, to the bit, between two checkpoints."""
    one, other = contents(ours), contents(theirs)
    unlike = set(one) ^ set(other)
    for key in set(one) & set(other):
        a, b = one[key], other[key]
        both = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        if not (torch.equal(a, b) if both else a == b):
            unlike.add(key)
    return sorted(unlike)
