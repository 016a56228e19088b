"""Vocoders from files: published checkpoints of HiFi-GAN and Vocos, told apart by what lies there.

HiFi-GAN (Kong 2020, arXiv 2010.05646) has a ``config.json`` beside its checkpoint, Vocos (Siuzdak
2023, arXiv 2306.00814) a ``config.yaml``. Checkpoints are read as all published ones are: tensors
alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.plain_yaml import read_yaml
from cyclegan_media.pretrained.hifigan import load_hifigan
from cyclegan_media.pretrained.neural_vocoder import NeuralVocoder
from cyclegan_media.pretrained.vocos import load_vocos

_LOADERS = {"config.json": load_hifigan, "config.yaml": load_vocos}
_WEIGHTS = ("generator*", "g_*", "pytorch_model.bin", "*.pth", "*.pt", "*.bin")
_LARGEST_CONFIG = 1 << 20
"""Bytes."""


def load_vocoder(
    path: str | os.PathLike[str], *, device: torch.device | str = "cpu"
) -> NeuralVocoder:
    """Read a published vocoder.

    Args:
        path: the checkpoint, with its configuration beside it, or the folder of both.
        device: where it computes.

    Raises:
        UserError: a file is missing, damaged, holds more than tensors, does not fit its
            configuration, or is of no known vocoder (names the file and the key); or the package
            that a vocoder needs is not installed.
    """
    weights, config = _find(Path(path))
    settings = _read_config(config)
    vocoder = _LOADERS[config.name](weights, config, settings)
    vocoder.network.to(device).eval().requires_grad_(False)
    return vocoder


def _find(path: Path) -> tuple[Path, Path]:
    """The checkpoint and the configuration."""
    if not path.exists():
        raise UserError(
            f"{path}: there is no such vocoder; name a checkpoint, its folder, or griffin_lim"
        )
    folder = path if path.is_dir() else path.parent
    configs = [folder / name for name in _LOADERS if (folder / name).is_file()]
    if not configs:
        raise UserError(
            f"{path}: has no configuration beside it, neither config.json (HiFi-GAN) nor"
            " config.yaml (Vocos); copy that, too"
        )
    if not path.is_dir():
        return path, configs[0]
    for pattern in _WEIGHTS:
        if found := sorted(file for file in folder.glob(pattern) if file.is_file()):
            return found[-1], configs[0]
    raise UserError(f"{path}: holds no checkpoint of a vocoder; name the file itself")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_CONFIG + 1).decode("utf-8")
        content = json.loads(text) if path.suffix == ".json" else read_yaml(text)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as a vocoder's configuration: {reason}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no vocoder's configuration (a mapping)")
    return content
