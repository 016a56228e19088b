"""A many-to-many model small enough for tests, and what its networks make of a picture by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.pretrained import ModelConfig, PretrainedModel

LATENT = 3
GENERATOR = {"name": "cin_resnet", "width": 4, "blocks": 1, "latent": LATENT}
ENCODER = {"name": "latent_encoder", "width": 4, "layers": 2, "latent": LATENT}


def network(spec: dict[str, Any]) -> Backbone:
    """Far from where it starts, so that codes matter as in a trained one."""
    built = build(spec)
    with torch.no_grad():
        for name, values in built.named_parameters():
            if "modulation" in name:
                values.mul_(4)
    return built.eval()


def many(**encoders: dict[str, Any]) -> PretrainedModel:
    torch.manual_seed(5)
    generators: dict[Any, Backbone] = {way: network(GENERATOR) for way in ("a2b", "b2a")}
    networks = {name: network(spec) for name, spec in encoders.items()}
    config = ModelConfig(
        modality="image",
        domains={"a": "edges", "b": "shoes"},
        generators=dict.fromkeys(generators, GENERATOR),
        networks=encoders,
    )
    return PretrainedModel(config, generators, networks=networks)


def noise(seed: int, size: tuple[int, int] = (18, 23)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@torch.inference_mode()
def by_hand(generator: Backbone, x: Tensor, z: Tensor) -> Tensor:
    """The network on the picture continued by its mirror image to a multiple of 4."""
    height, width = x.shape[2:]
    more = (-width % 4, -height % 4)
    left, top = more[0] // 2, more[1] // 2
    padded = F.pad(x, (left, more[0] - left, top, more[1] - top), mode="reflect")
    return generator(padded, z[None])[:, :, top : top + height, left : left + width]
