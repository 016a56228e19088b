"""The vocoder that needs no training: magnitudes from the bands, phases by iteration.

Griffin & Lim: "Signal Estimation from Modified Short-Time Fourier Transform", 1984, in the fast
version of Perraudin, Balazs & Søndergaard, "A Fast Griffin-Lim Algorithm", 2013 (librosa's).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.log_mel import LogMelConfig, mel_filters
from cyclegan_media.speech.threads import one_blas_thread

_ITERATIONS = 32
_INVERSIONS = 50


class GriffinLim:
    """Takes the spectra of any analysis.

    Args:
        convention: the analysis.
    """

    name = "griffin_lim"

    def __init__(self, convention: LogMelConfig) -> None:
        self.convention = convention

    def __call__(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """The waveform ``(convention.samples(frames),)`` of ``(bands, frames)``."""
        from librosa import griffinlim

        config = self.convention
        # Continued by a window on both sides, since the first frames and the last overlap too few.
        padding = -(-config.n_fft // config.hop)
        magnitude = mel_to_magnitude(log_mel, config)
        # librosa centres frame k at k · hop.
        signal = griffinlim(
            np.pad(magnitude, ((0, 0), (padding, padding)), mode="edge"),
            n_iter=_ITERATIONS,
            hop_length=config.hop,
            n_fft=config.n_fft,
            init="random",
            random_state=0,  # the first phases: the same spectrum sounds the same every time
        )
        start = padding * config.hop - (0 if config.centred else config.hop // 2)
        stop = start + config.samples(log_mel.shape[1])
        return np.asarray(signal[start:stop], dtype=np.float32)


def mel_to_magnitude(log_mel: NDArray[np.float32], config: LogMelConfig) -> NDArray[np.float32]:
    """Magnitudes ``(n_fft / 2 + 1, frames)``, none negative, whose bands are ``(bands, frames)``.

    There are many such; this one is found from equal magnitudes by the multiplicative updates

        S ← S · Mᵀ(Y / M S) / Mᵀ1

    which lower the Kullback-Leibler divergence of M S from Y (Lee & Seung, "Algorithms for
    Non-negative Matrix Factorization", 2001, eq. 5). It is smoother than the least-squares
    solution, and Griffin-Lim comes closer to the spectrum from there. Bands at the floor are taken
    for empty.
    """
    filters = mel_filters(config).astype(np.float64)
    wanted = np.exp(log_mel.astype(np.float64))
    wanted[wanted <= config.floor * (1 + 1e-4)] = 0.0
    total = filters.sum(axis=0)[:, None]
    magnitude = np.where(total > 0, 1.0, 0.0) * np.ones(wanted.shape[1])
    with one_blas_thread():
        for _ in range(_INVERSIONS):
            ratio = wanted / np.maximum(filters @ magnitude, 1e-12)
            magnitude *= filters.T @ ratio / np.maximum(total, 1e-12)
    return magnitude.astype(np.float32)
