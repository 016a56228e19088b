"""What a speaker's spectra are standardised by, and the range of the speaker's F0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import Features

if TYPE_CHECKING:
    from torch import Tensor

ACTIVE_RANGE_DB = 30.0
"""Frames so far below a recording's loudest one are pauses."""
SILENCE_DB = -90.0
"""Frames below are silent whatever the rest is: the rounding to 16 bits is about as loud."""

_LEAST_STD = 1e-3
"""Of a coefficient (natural logarithm of amplitude): below, the spectrum does not vary at all."""


@dataclass(frozen=True)
class SpeakerStatistics:
    """Means and standard deviations over one speaker's recordings."""

    mean: NDArray[np.float32]
    """``(coefficients,)`` of the mel-cepstrum c₁ …, over all frames that are no pause."""
    std: NDArray[np.float32]
    """``(coefficients,)``, above 0."""
    log_f0_mean: float
    """Of the natural logarithm of F0 in Hz, over voiced frames of speech; 0 if there was none."""
    log_f0_std: float

    @property
    def is_voiced(self) -> bool:
        """Whether there was any voiced frame, so that the F0 statistics mean something."""
        return self.log_f0_mean != 0.0

    @classmethod
    def from_features(cls, features: Sequence[Features]) -> SpeakerStatistics:
        """Statistics over all recordings of a speaker.

        Pauses are left out: how long a speaker is silent says nothing about the voice. So are
        recordings without any voiced speech (noises, room tone), unless there is nothing else.

        Raises:
            UserError: no recordings.
        """
        if not features:
            raise UserError("speaker statistics: need at least one recording")
        spoken = [item for item in features if has_speech(item)]
        kept = [item.mel_cepstrum[:, active_frames(item)] for item in spoken]
        pitches = [item.f0[active_frames(item) & item.voiced] for item in spoken]
        if not spoken:
            kept, pitches = [item.mel_cepstrum for item in features], [np.empty(0, np.float32)]
        spectra = np.concatenate(kept, axis=1).astype(np.float64)
        log_f0 = np.log(np.concatenate(pitches).astype(np.float64))
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
        import torch

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
    """``(frames,)``: which are within ``range_db`` of the recording's loudest, and not silent."""
    level = features.level()
    return np.asarray(level >= max(level.max() - range_db, SILENCE_DB))


def has_speech(features: Features) -> bool:
    """Whether any frame is voiced and no pause."""
    return bool((active_frames(features) & features.voiced).any())


def _tensor(tensors: Mapping[str, Tensor], name: str) -> NDArray[np.float32]:
    tensor = tensors.get(name)
    if tensor is None:
        raise UserError(f"statistics: tensor {name!r} is missing; train or export the model again")
    array = tensor.detach().cpu().float().numpy().copy()
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise UserError(f"statistics: tensor {name!r} must be a list of finite numbers")
    return array
