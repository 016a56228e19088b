"""What published vocoders have in common: how they are checked, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.tensors import check_finite
from cyclegan_media.speech.log_mel import LogMelConfig

Config = TypeVar("Config", bound=BaseModel)


class NeuralVocoder:
    """A network as a :class:`cyclegan_media.speech.Vocoder`.

    Args:
        name: what to call it in messages.
        convention: the spectra it takes.
        network: maps ``(1, bands, frames)`` to ``(1, samples)``.
    """

    def __init__(self, name: str, convention: LogMelConfig, network: nn.Module) -> None:
        self.name, self.convention, self.network = name, convention, network

    def __call__(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """The waveform ``(convention.samples(frames),)`` of ``(bands, frames)``."""
        floored = np.maximum(log_mel, np.log(self.convention.floor))
        batch = torch.from_numpy(floored[None]).to(next(self.network.parameters()))
        with torch.inference_mode():
            made: NDArray[np.float32] = self.network(batch)[0].float().cpu().numpy()
        return made[: self.convention.samples(log_mel.shape[1])]


def checked(model: type[Config], settings: Any, where: str) -> Config:
    """Settings as a typed section.

    Args:
        where: their file, for messages.

    Raises:
        UserError: names the first key that is wrong.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(": ".join(filter(None, [where, key, message]))) from error


def check_state(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], weights: Path, config: Path
) -> None:
    """Compare the names and shapes of tensors with those of a network.

    Args:
        weights, config: the files, for messages.

    Raises:
        UserError: names the first key that does not fit, or has values that are not finite.
    """
    for key in expected:
        if key not in state:
            raise UserError(f"{weights}: key {key!r} is missing, by what {config.name} says")
    for key, tensor in state.items():
        if key not in expected:
            raise UserError(
                f"{weights}: key {key!r} is none of the vocoder that {config.name} says"
            )
        got, want = list(tensor.shape), list(expected[key].shape)
        if got != want:
            raise UserError(
                f"{weights}: key {key!r} has shape {got}, but by {config.name} it is {want}"
            )
    if (broken := check_finite(state)) is not None:
        raise UserError(f"{weights}: key {broken!r} has values that are not finite")
