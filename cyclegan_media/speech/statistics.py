"""What a speaker's spectra are standardised by, and the range of the speaker's F0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import Features

ACTIVE_RANGE_DB = 30.0
"""Frames so far below a recording's loudest one are pauses."""

_LEAST_STD = 1e-3
"""Of a coefficient (natural logarithm of amplitude): below, the spectrum does not vary at all."""


@dataclass(frozen=True)
class SpeakerStatistics:
    """Means and standard deviations over one speaker's recordings."""

    mean: NDArray[np.float32]
    """``(coefficients,)`` of the mel-cepstrum c₁ …, over active frames."""
    std: NDArray[np.float32]
    """``(coefficients,)``, above 0."""
    log_f0_mean: float
    """Of the natural logarithm of F0 in Hz, over voiced frames; 0 if there was none."""
    log_f0_std: float

    @property
    def is_voiced(self) -> bool:
        """Whether there was any voiced frame, so that the F0 statistics mean something."""
        return self.log_f0_mean != 0.0

    @classmethod
    def from_features(cls, features: Sequence[Features]) -> SpeakerStatistics:
        """Statistics over all recordings of a speaker.

        Pauses are left out of the spectral statistics: how long a speaker is silent says nothing
        about the voice. All-silent recordings count as a whole if there is nothing else.

        Raises:
            UserError: no recordings.
        """
        if not features:
            raise UserError("speaker statistics: need at least one recording")
        kept = [item.mel_cepstrum[:, active_frames(item)] for item in features]
        spectra = np.concatenate(kept, axis=1).astype(np.float64)
        voiced = np.concatenate([item.f0[item.voiced] for item in features]).astype(np.float64)
        log_f0 = np.log(voiced)
        return cls(
            mean=spectra.mean(axis=1).astype(np.float32),
            std=np.maximum(spectra.std(axis=1), _LEAST_STD).astype(np.float32),
            log_f0_mean=float(log_f0.mean()) if len(log_f0) else 0.0,
            log_f0_std=float(log_f0.std()) if len(log_f0) else 0.0,
        )

    def standardise(self, mel_cepstrum: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(coefficients, frames)`` to mean 0 and deviation 1 per coefficient."""
        return (mel_cepstrum - self.mean[:, None]) / self.std[:, None]

    def destandardise(self, standardised: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of :meth:`standardise`."""
        return standardised * self.std[:, None] + self.mean[:, None]

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """As float32 tensors named ``{prefix}.mean`` and so on, for a model folder."""
        return {
            f"{prefix}.mean": torch.from_numpy(self.mean.copy()),
            f"{prefix}.std": torch.from_numpy(self.std.copy()),
            f"{prefix}.log_f0": torch.tensor([self.log_f0_mean, self.log_f0_std]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> SpeakerStatistics:
        """The inverse of :meth:`to_tensors` (F0 statistics to float32).

        Raises:
            UserError: a tensor is missing, of a wrong shape, not finite or not positive where it
                must be.
        """
        got = {name: _tensor(tensors, f"{prefix}.{name}") for name in ("mean", "std", "log_f0")}
        if got["mean"].shape != got["std"].shape:
            raise UserError(f"statistics: {prefix}.mean and {prefix}.std differ in shape")
        if not (got["std"] > 0).all():
            raise UserError(f"statistics: {prefix}.std must be above 0 throughout")
        if got["log_f0"].shape != (2,) or got["log_f0"][1] < 0:
            raise UserError(f"statistics: {prefix}.log_f0 must be a mean and a deviation")
        mean, deviation = map(float, got["log_f0"])
        return cls(got["mean"], got["std"], mean, deviation)


def active_frames(features: Features, range_db: float = ACTIVE_RANGE_DB) -> NDArray[np.bool_]:
    """``(frames,)``: which frames are within ``range_db`` of the recording's loudest."""
    level = features.level()
    return np.asarray(level >= level.max() - range_db)


def _tensor(tensors: Mapping[str, Tensor], name: str) -> NDArray[np.float32]:
    tensor = tensors.get(name)
    if tensor is None:
        raise UserError(f"statistics: tensor {name!r} is missing; train or export the model again")
    array = tensor.detach().cpu().to(torch.float32).numpy().copy()
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise UserError(f"statistics: tensor {name!r} must be a list of finite numbers")
    return array
