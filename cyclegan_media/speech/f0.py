"""F0 from one speaker's range to another's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.statistics import SpeakerStatistics


def transform_f0(
    f0: NDArray[np.floating[Any]], source: SpeakerStatistics, target: SpeakerStatistics
) -> NDArray[np.float32]:
    """Shift and stretch log F0 so that the source's mean and deviation become the target's.

    The logarithm Gaussian normalised transformation (Liu, Zhang, Yan: "High Quality Voice
    Conversion through Phoneme-Based Linear Mapping Functions with STRAIGHT for Mandarin", 2007):

        log f0' = (log f0 − μ_source) σ_target / σ_source + μ_target

    Unvoiced frames stay 0. A source that never varies is only shifted, and F0 is left as it is
    where either speaker has no voiced frame.

    Args:
        f0: ``(frames,)`` in Hz, 0 where unvoiced.
    """
    f0 = np.asarray(f0, dtype=np.float64)
    if not source.is_voiced or not target.is_voiced:
        return f0.astype(np.float32)
    stretch = target.log_f0_std / source.log_f0_std if source.log_f0_std > 1e-6 else 1.0
    voiced = f0 > 0
    log_f0 = np.log(np.where(voiced, f0, 1.0))
    moved = np.exp((log_f0 - source.log_f0_mean) * stretch + target.log_f0_mean)
    return np.where(voiced, moved, 0.0).astype(np.float32)
