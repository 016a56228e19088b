"""F0 from one speaker's range to another's."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.statistics import SpeakerStatistics

PitchMatch = Literal["gaussian", "quantile"]
PITCH_MATCHES: tuple[PitchMatch, ...] = get_args(PitchMatch)


def transform_f0(
    f0: NDArray[np.floating[Any]],
    source: SpeakerStatistics,
    target: SpeakerStatistics,
    match: PitchMatch = "gaussian",
) -> NDArray[np.float32]:
    """Move log F0 from the source's distribution to the target's.

    ``gaussian`` shifts and stretches it so that the mean and deviation become the target's: the
    logarithm Gaussian normalised transformation (Liu, Zhang, Yan: "High Quality Voice Conversion
    through Phoneme-Based Linear Mapping Functions with STRAIGHT for Mandarin", 2007):

        log f0' = (log f0 − μ_source) σ_target / σ_source + μ_target

    ``quantile`` gives each value the one that as many of the target's values lie below,

        log f0' = Q_target(Q_source⁻¹(log f0))

    which follows skewed ranges and cannot leave the target's by more than the source leaves its
    own: beyond the outermost quantiles the distance from them is kept. Where Q rises steeply, as
    between two registers, so does the pitch.

    Unvoiced frames stay 0. A source that never varies is only shifted, and F0 is left as it is
    where either speaker has no voiced frame.

    Args:
        f0: ``(frames,)`` in Hz, 0 where unvoiced.

    Raises:
        UserError: ``quantile``, where a model holds no quantiles.
    """
    f0 = np.asarray(f0, dtype=np.float64)
    if not source.is_voiced or not target.is_voiced:
        return f0.astype(np.float32)
    voiced = f0 > 0
    log_f0 = np.log(np.where(voiced, f0, 1.0))
    move = _stretched if match == "gaussian" else _ranked
    moved = np.exp(np.where(voiced, move(log_f0, source, target), 0.0))
    return np.where(voiced, moved, 0.0).astype(np.float32)


def _stretched(
    log_f0: NDArray[np.float64], source: SpeakerStatistics, target: SpeakerStatistics
) -> NDArray[np.float64]:
    stretch = target.log_f0_std / source.log_f0_std if source.log_f0_std > 1e-6 else 1.0
    return (log_f0 - source.log_f0_mean) * stretch + target.log_f0_mean


def _ranked(
    log_f0: NDArray[np.float64], source: SpeakerStatistics, target: SpeakerStatistics
) -> NDArray[np.float64]:
    if source.log_f0_quantiles is None or target.log_f0_quantiles is None:
        raise UserError(
            "the model holds no quantiles of F0: use --pitch gaussian, or train it again"
        )
    own = source.log_f0_quantiles.astype(np.float64)
    other = target.log_f0_quantiles.astype(np.float64)
    if own[-1] - own[0] < 1e-6:
        return _stretched(log_f0, source, target)
    inside = np.interp(np.clip(log_f0, own[0], own[-1]), own, other)
    return inside + (log_f0 - np.clip(log_f0, own[0], own[-1]))
