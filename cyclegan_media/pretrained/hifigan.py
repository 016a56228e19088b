"""Published checkpoints of HiFi-GAN: a torch file with the key ``generator``, a ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.neural_vocoder import NeuralVocoder, check_state, checked
from cyclegan_media.pretrained.published import plain_state, read_checkpoint
from cyclegan_media.pretrained.published_family import State
from cyclegan_media.speech.hifigan import HiFiGANConfig, HiFiGANGenerator
from cyclegan_media.speech.log_mel import LogMelConfig


def load_hifigan(weights: Path, path: Path, settings: Mapping[str, Any]) -> NeuralVocoder:
    """The vocoder of a checkpoint and of the ``settings`` in its configuration.

    Args:
        path: the configuration, for messages.

    Raises:
        UserError: names the first key of either that is wrong.
    """
    config = checked(HiFiGANConfig, settings, str(path))
    convention = checked(LogMelConfig, config.mel_settings, str(path))
    content = read_checkpoint(weights)
    if "generator" not in content:
        raise UserError(f"{weights}: is no generator of HiFi-GAN: it has no key 'generator'")
    state = fold_weight_norm(plain_state(content["generator"], str(weights)), str(weights))
    with torch.device("meta"):
        expected = HiFiGANGenerator(config)
    check_state(state, expected.state_dict(), weights, path)
    network = HiFiGANGenerator(config)
    network.load_state_dict(state)
    return NeuralVocoder(f"{weights} (HiFi-GAN)", convention, network)


def fold_weight_norm(state: Mapping[str, Tensor], where: str) -> State:
    """Replace each pair of ``weight_g`` and ``weight_v`` by the ``weight`` that they stand for.

    ``w = g · v / ‖v‖`` (Salimans & Kingma 2016, arXiv 1602.07868, eq. 2), the norm taken over all
    dimensions but the first. Torch's newer names for the two are known, too.

    Raises:
        UserError: one of a pair is missing, or of another shape than the other asks for.
    """
    folded: State = {}
    names = (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    )
    for key, tensor in state.items():
        for g, v in names:
            if key.endswith(f".{v}"):
                layer = key.removesuffix(f".{v}")
                gain = state.get(f"{layer}.{g}")
                if gain is None or gain.shape != (len(tensor), *[1] * (tensor.dim() - 1)):
                    raise UserError(
                        f"{where}: key '{layer}.{g}' is missing or does not fit '{key}'"
                    )
                norm = tensor.flatten(1).norm(dim=1).reshape(gain.shape)
                folded[f"{layer}.weight"] = tensor * (gain / norm)
                break
            if key.endswith(f".{g}"):
                if f"{key.removesuffix(g)}{v}" not in state:
                    raise UserError(f"{where}: key '{key.removesuffix(g)}{v}' is missing")
                break
        else:
            folded[key] = tensor
    return folded
