"""Spectral envelopes as mel-cepstra, by the definition of the warped cepstrum.

Tokuda, Kobayashi, Masuko, Imai: "Mel-generalized cepstral analysis", 1994, eq. 1–4 with γ = 0.
The logarithm of the amplitude is a cosine series on a warped frequency axis:

    log|H(ω)| = Σₘ cₘ cos(m ω̃),   m = 0 … order
    ω̃(ω) = ω + 2 atan(α sin ω / (1 − α cos ω)),   the phase of a first-order all-pass filter

so that doubling the amplitude moves c₀ alone, by log 2. Hence the coefficients are Fourier
integrals over ω̃; substituting ω̃(ω) makes them a fixed linear map of the sampled log-amplitude.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.threads import one_blas_thread

Array = NDArray[np.float64]

_ALPHAS = (
    # Hz, the all-pass constant that brings ω̃ near the mel scale, as usual in speech synthesis
    (8000, 0.31),
    (10000, 0.35),
    (12000, 0.37),
    (16000, 0.42),
    (22050, 0.45),
    (24000, 0.46),
    (32000, 0.50),
    (44100, 0.53),
    (48000, 0.55),
)

_FLOOR = 1e-20
"""Least power: of a sample of 1e-10, far below what 24 bits hold."""

_REWARP_BINS = 1025
"""Frequencies at which a spectrum is taken from one warping to another."""


def default_alpha(sample_rate: float) -> float:
    """The all-pass constant for ``sample_rate`` in Hz: 0.42 at 16 kHz.

    Between the tabulated rates (8 … 48 kHz) it is interpolated, outside them it is the nearest.
    """
    rates, alphas = zip(*_ALPHAS, strict=True)
    return float(np.interp(sample_rate, rates, alphas))


def warp(frequency: ArrayLike, alpha: float) -> Array:
    """ω̃ of ω, both in radians per sample, 0…π; rises from 0 to π for every |α| < 1."""
    omega = np.asarray(frequency, dtype=np.float64)
    return omega + 2 * np.arctan2(alpha * np.sin(omega), 1 - alpha * np.cos(omega))


@lru_cache(maxsize=16)
def _maps(bins: int, order: int, alpha: float) -> tuple[Array, Array]:
    """``(bins, order + 1)`` from log-amplitude to coefficients, ``(order + 1, bins)`` back."""
    if bins < 2 or order < 0 or not -1 < alpha < 1:
        raise UserError(
            f"mel-cepstrum: {bins} bins, order {order}, α {alpha}: needs at least 2 bins, an"
            " order of at least 0 and |α| below 1"
        )
    omega = np.linspace(0, np.pi, bins)
    cosines = np.cos(np.outer(np.arange(order + 1), warp(omega, alpha)))
    # dω̃/dω; the trapezoidal rule is exact to rounding for smooth functions of one period.
    slope = (1 - alpha**2) / (1 + alpha**2 - 2 * alpha * np.cos(omega))
    weight = slope / (bins - 1)
    weight[[0, -1]] /= 2
    forward = (cosines * weight).T * np.where(np.arange(order + 1) == 0, 1.0, 2.0)
    for array in (forward, cosines):
        array.setflags(write=False)
    return forward, cosines


def envelope_to_mel_cepstrum(envelope: ArrayLike, order: int, alpha: float) -> Array:
    """Mel-cepstra of power spectra.

    Args:
        envelope: power ``|H|²`` at equally spaced frequencies from 0 to half the sample rate,
            shape ``(frames, bins)``; powers below 1e-20 count as 1e-20.
        order: the highest index ``m``.
        alpha: the all-pass constant.

    Returns:
        ``(order + 1, frames)``: c₀ (the mean log-amplitude over ω̃) … c_order, natural logarithm.
    """
    power = np.asarray(envelope, dtype=np.float64)
    forward, _ = _maps(power.shape[-1], order, alpha)
    log_amplitude = 0.5 * np.log(np.maximum(power, _FLOOR))
    with one_blas_thread():
        return (log_amplitude @ forward).T


def mel_cepstrum_to_envelope(coefficients: ArrayLike, bins: int, alpha: float) -> Array:
    """Power spectra ``(frames, bins)`` of mel-cepstra ``(order + 1, frames)``, c₀ first."""
    values = np.asarray(coefficients, dtype=np.float64)
    _, backward = _maps(bins, values.shape[0] - 1, alpha)
    with one_blas_thread():
        log_amplitude = values.T @ backward
    return np.exp(2 * log_amplitude)


def rewarp(coefficients: ArrayLike, alpha: float, new_alpha: float, order: int) -> Array:
    """Mel-cepstra ``(n + 1, frames)`` with ``alpha`` as ``(order + 1, frames)`` with another.

    A linear map, since both describe one log-amplitude: exact as far as ``n`` coefficients hold it.
    """
    values = np.asarray(coefficients, dtype=np.float64)
    _, backward = _maps(_REWARP_BINS, values.shape[0] - 1, alpha)
    forward, _ = _maps(_REWARP_BINS, order, new_alpha)
    with one_blas_thread():
        return (backward @ forward).T @ values
