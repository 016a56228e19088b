"""Weights by the rule of the reference data: a published name and a shape give the values."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.pretrained import convert_published_state


def weights_by_rule(name: str, shape: list[int]) -> torch.Tensor:
    """Float64 values of the parameter ``name`` (README of the reference data)."""
    count = int(np.prod(shape))
    phase = zlib.crc32(name.encode()) % 1000
    x = np.sin(np.arange(count) * 12.9898 + phase) * 43758.5453
    x = x - np.floor(x) - 0.5
    if len(shape) > 1:
        values = x * 2 / np.sqrt(count / shape[0])
    else:
        values = x * 0.2 + (1 if name.endswith("weight") else 0)
    return torch.from_numpy(values.reshape(shape))


def network_of(published: dict[str, torch.Tensor], where: str) -> Backbone:
    """Our network with published weights, by way of the importer, in float64."""
    spec, state = convert_published_state(published, where=where)
    network = build(spec).double().eval()
    network.load_state_dict(state)
    return network


@dataclass
class Reference:
    """What a published implementation computes, and our network with its weights."""

    network: Backbone
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


def reference(folder: Path, name: str) -> Reference:
    """Build ``name`` of the reference data through the importer, in float64."""
    shapes = json.loads((folder / f"{name}.json").read_text())["state_dict"]
    published = {key: weights_by_rule(key, shape) for key, shape in shapes.items()}
    network = network_of(published, name)
    with np.load(folder / f"{name}.npz") as data:
        tensors = {key: torch.from_numpy(data[key]).double() for key in data.files}
    return Reference(
        network,
        [tensors[f"input{i}"] for i in range(len(tensors)) if f"input{i}" in tensors],
        [tensors[f"output{i}"] for i in range(len(tensors)) if f"output{i}" in tensors],
    )
