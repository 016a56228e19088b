"""What all analyses of a voice have in common: nothing that learns or converts asks which it is."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

Floats = NDArray[np.floating[Any]]


class VoiceFeatures(Protocol):
    """What an analysis finds in one recording."""

    @property
    def samples(self) -> int:
        """Length of the recording at the analysis's sample rate."""

    @property
    def frames(self) -> int: ...

    @property
    def spectrum(self) -> NDArray[np.float32]:
        """``(coefficients, frames)``: what a generator converts; logarithms of amplitude."""

    @property
    def f0(self) -> NDArray[np.float32] | None:
        """``(frames,)`` in Hz, 0 where unvoiced; ``None`` where the spectrum holds the pitch."""

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """``(frames,)``"""

    def level(self) -> NDArray[np.float32]:
        """``(frames,)``: the level of each frame in dB, the mean of log-amplitude over the mel
        axis."""

    def with_spectrum(self, spectrum: NDArray[np.float32]) -> Self:
        """These features with another spectrum of the same shape."""


AnyFeatures = TypeVar("AnyFeatures", bound=VoiceFeatures)


def checked_signal(samples: Floats) -> NDArray[np.float64]:
    """One recording ``(n,)`` in float64.

    Raises:
        UserError: not one channel, no samples, or values that are not finite.
    """
    signal = np.ascontiguousarray(samples, dtype=np.float64)
    if signal.ndim != 1:
        raise UserError(f"samples: need one channel, shape (n,), not {signal.shape}; mix to mono")
    if not len(signal):
        raise UserError("samples: the recording holds no samples")
    if not np.isfinite(signal).all():
        raise UserError("samples: the recording holds values that are not finite")
    return signal
