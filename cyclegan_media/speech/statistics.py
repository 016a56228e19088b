"""What a speaker's spectra are standardised by, and the range of the speaker's F0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.interface import VoiceFeatures
from cyclegan_media.speech.kinds import AnalysisConfig, VoiceAnalysis

if TYPE_CHECKING:
    from torch import Tensor

Analysis = TypeVar("Analysis", bound=VoiceAnalysis)

ACTIVE_RANGE_DB = 30.0
"""Frames so far below a recording's loudest one are pauses."""
SILENCE_DB = -90.0
"""Frames below are silent whatever the rest is: the rounding to 16 bits is about as loud."""
_LEAST_VOICED = 0.1
"""Share of frames: noises have single frames in which a pitch is found."""
_LEAST_STD = 1e-3
"""Of a coefficient (natural logarithm of amplitude): below, the spectrum does not vary at all."""


@dataclass(frozen=True)
class SpeakerStatistics:
    """Means and standard deviations over one speaker's recordings."""

    mean: NDArray[np.float32]
    """``(coefficients,)`` of the spectrum (mel-cepstrum c₁ …, or log-mel bands), over all frames
    that are no pause."""
    std: NDArray[np.float32]
    """``(coefficients,)``, above 0."""
    log_f0_mean: float
    """Of the natural logarithm of F0 in Hz, over voiced frames of speech; 0 if there was none, or
    the analysis finds no F0."""
    log_f0_std: float
    weight: NDArray[np.float32] | float = 1.0
    """``(coefficients,)``: the deviation that each coefficient has once standardised, the same for
    both speakers of a model; see :func:`cyclegan_media.speech.matching.weigh`."""
    alpha: float | None = None
    """All-pass constant that this speaker's spectra are analysed and synthesised with; ``None``
    for the analysis's own. See :func:`cyclegan_media.speech.matching.match_tracts`."""

    log_f0_quantiles: NDArray[np.float32] | None = None
    """``(101,)``, rising: the percentiles of log F0, from 0 to 100; ``None`` without F0, and in
    models from before they were kept."""
    frames: NDArray[np.float32] | None = None
    """``(n, coefficients)``: spectra of this speaker's speech, in no order, not standardised; see
    :mod:`cyclegan_media.speech.retrieval`. ``None`` where none are kept."""

    @property
    def is_voiced(self) -> bool:
        """Whether there was any voiced frame, so that the F0 statistics mean something."""
        return self.log_f0_mean != 0.0

    @classmethod
    def from_features(cls, features: Sequence[VoiceFeatures]) -> SpeakerStatistics:
        """Statistics over all recordings of a speaker.

        Pauses are left out: how long a speaker is silent says nothing about the voice. So are
        recordings without any voiced speech (noises, room tone), unless there is nothing else.

        Raises:
            UserError: no recordings.
        """
        if not features:
            raise UserError("speaker statistics: need at least one recording")
        moments = _Moments()
        pitches: list[NDArray[np.floating]] = [np.empty(0)]
        for item in features:
            if not has_speech(item):
                continue
            active = active_frames(item)
            moments.add(item.spectrum[:, active])
            if item.f0 is not None:
                pitches.append(item.f0[active & item.voiced])
        if not moments.count:
            for item in features:
                moments.add(item.spectrum)
        log_f0 = np.log(np.concatenate(pitches))
        return cls(
            mean=moments.mean.astype(np.float32),
            std=np.maximum(moments.deviation(), _LEAST_STD).astype(np.float32),
            log_f0_mean=float(log_f0.mean()) if len(log_f0) else 0.0,
            log_f0_std=float(log_f0.std()) if len(log_f0) else 0.0,
            log_f0_quantiles=(
                np.percentile(log_f0, np.arange(101)).astype(np.float32) if len(log_f0) else None
            ),
        )

    def standardise(self, spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(coefficients, frames)`` to mean 0 and deviation ``weight`` per coefficient."""
        return (spectrum - self.mean[:, None]) / self._scale

    def destandardise(self, standardised: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of :meth:`standardise`."""
        return standardised * self._scale + self.mean[:, None]

    def analysis(self, config: Analysis) -> Analysis:
        """``config`` with this speaker's all-pass constant, where there is one."""
        if self.alpha is None or not isinstance(config, AnalysisConfig):
            return config
        return config.model_copy(update={"alpha": self.alpha})

    @property
    def _scale(self) -> NDArray[np.float32]:
        return (self.std / self.weight)[:, None]

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """As float32 tensors named ``{prefix}.mean`` and so on, for a model folder."""
        import torch

        weight = np.broadcast_to(np.float32(self.weight), self.std.shape)
        tensors = {
            f"{prefix}.mean": torch.from_numpy(self.mean.copy()),
            f"{prefix}.std": torch.from_numpy(self.std.copy()),
            f"{prefix}.weight": torch.from_numpy(weight.copy()),
            f"{prefix}.log_f0": torch.tensor([self.log_f0_mean, self.log_f0_std]),
        }
        if self.log_f0_quantiles is not None:
            tensors[f"{prefix}.log_f0_quantiles"] = torch.from_numpy(self.log_f0_quantiles.copy())
        if self.alpha is not None:
            tensors[f"{prefix}.alpha"] = torch.tensor([self.alpha])
        if self.frames is not None:
            tensors[f"{prefix}.frames"] = torch.from_numpy(self.frames.copy())
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> SpeakerStatistics:
        """The inverse of :meth:`to_tensors` (F0 statistics to float32).

        ``weight``, ``alpha``, ``log_f0_quantiles`` and ``frames`` may be missing.

        Raises:
            UserError: a tensor is missing, of a wrong shape, not finite or not positive where it
                must be.
        """
        got = {name: _tensor(tensors, f"{prefix}.{name}") for name in ("mean", "std", "log_f0")}
        weight: NDArray[np.float32] | float = 1.0
        if f"{prefix}.weight" in tensors:
            weight = got["weight"] = _tensor(tensors, f"{prefix}.weight")
        for name in ("std", "weight"):
            if name not in got:
                continue
            if got["mean"].shape != got[name].shape:
                raise UserError(f"statistics: {prefix}.mean and {prefix}.{name} differ in shape")
            if not (got[name] > 0).all():
                raise UserError(f"statistics: {prefix}.{name} must be above 0 throughout")
        if got["log_f0"].shape != (2,) or got["log_f0"][1] < 0:
            raise UserError(f"statistics: {prefix}.log_f0 must be a mean and a deviation")
        mean, deviation = map(float, got["log_f0"])
        alpha: float | None = None
        if f"{prefix}.alpha" in tensors:
            alpha = float(_tensor(tensors, f"{prefix}.alpha")[0])
            if not -1 < alpha < 1:
                raise UserError(f"statistics: {prefix}.alpha must be between -1 and 1")
        quantiles: NDArray[np.float32] | None = None
        if f"{prefix}.log_f0_quantiles" in tensors:
            quantiles = _tensor(tensors, f"{prefix}.log_f0_quantiles")
            if len(quantiles) != 101 or (np.diff(quantiles) < 0).any():
                raise UserError(f"statistics: {prefix}.log_f0_quantiles must be 101 rising numbers")
        frames: NDArray[np.float32] | None = None
        if f"{prefix}.frames" in tensors:
            frames = _tensor(tensors, f"{prefix}.frames", dimensions=2)
            if frames.shape[1] != len(got["mean"]):
                raise UserError(
                    f"statistics: {prefix}.frames and {prefix}.mean differ in coefficients"
                )
        return cls(got["mean"], got["std"], mean, deviation, weight, alpha, quantiles, frames)


class _Moments:
    """Mean and deviation of frames that come recording by recording.

    Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979, eq. 2.1: as exact as of all at once, which would fill the memory.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(1)
        self._squares: NDArray[np.float64] = np.zeros(1)

    def add(self, frames: NDArray[np.float32]) -> None:
        """``(coefficients, frames)``"""
        new = frames.shape[1]
        if not new:
            return
        values = frames.astype(np.float64)
        mean = values.mean(axis=1)
        apart, total = mean - self.mean, self.count + new
        self._squares = (
            self._squares
            + np.square(values - mean[:, None]).sum(axis=1)
            + np.square(apart) * (self.count * new / total)
        )
        self.mean = self.mean + apart * (new / total)
        self.count = total

    def deviation(self) -> NDArray[np.float64]:
        """``(coefficients,)``"""
        return np.sqrt(self._squares / self.count)


def active_frames(features: VoiceFeatures, range_db: float = ACTIVE_RANGE_DB) -> NDArray[np.bool_]:
    """``(frames,)``: which are within ``range_db`` of the recording's loudest, and not silent."""
    level = features.level()
    return np.asarray(level >= max(level.max() - range_db, SILENCE_DB))


def has_speech(features: VoiceFeatures) -> bool:
    """Whether at least a tenth of what is no pause is voiced; of speech more than half is."""
    active = active_frames(features)
    return bool((active & features.voiced).sum() >= max(1, _LEAST_VOICED * active.sum()))


def _tensor(tensors: Mapping[str, Tensor], name: str, dimensions: int = 1) -> NDArray[np.float32]:
    tensor = tensors.get(name)
    if tensor is None:
        raise UserError(f"statistics: tensor {name!r} is missing; train or export the model again")
    array = tensor.detach().cpu().float().numpy().copy()
    if array.ndim != dimensions or not array.size or not np.isfinite(array).all():
        form = "list" if dimensions == 1 else "table"
        raise UserError(f"statistics: tensor {name!r} must be a {form} of finite numbers")
    return array
