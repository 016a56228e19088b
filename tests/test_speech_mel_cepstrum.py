"""The mel-cepstrum is what its definition says, and goes back to the envelope it came from."""

from __future__ import annotations

import numpy as np
import pytest

from cyclegan_media.errors import UserError
from cyclegan_media.speech.mel_cepstrum import (
    default_alpha,
    envelope_to_mel_cepstrum,
    mel_cepstrum_to_envelope,
    warp,
)


@pytest.mark.parametrize("alpha", [0.0, 0.42, 0.55])
def test_warping_rises_from_0_to_pi(alpha: float) -> None:
    omega = np.linspace(0, np.pi, 200)
    warped = warp(omega, alpha)
    assert warped[0] == pytest.approx(0)
    assert warped[-1] == pytest.approx(np.pi)
    assert (np.diff(warped) > 0).all()
    if alpha == 0:
        np.testing.assert_allclose(warped, omega)


def test_warping_is_the_phase_of_the_all_pass_filter() -> None:
    # The filter is (z⁻¹ − α) / (1 − α z⁻¹); its phase is −ω̃.
    omega, alpha = np.linspace(0.01, 3.1, 50), 0.42
    z = np.exp(-1j * omega)
    np.testing.assert_allclose(-np.unwrap(np.angle((z - alpha) / (1 - alpha * z))),
                               warp(omega, alpha), atol=1e-12)  # fmt: skip


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_alpha_brings_the_warping_closest_to_the_mel_scale(rate: int) -> None:
    # Fant's: mel = 1000 log₂(1 + f / 1 kHz). The usual constants are rounded.
    hertz = np.linspace(0, rate / 2, 300)
    mel = np.log2(1 + hertz / 1000)
    alphas = np.linspace(0.2, 0.7, 101)
    errors = [
        np.square(warp(hertz * 2 * np.pi / rate, alpha) / np.pi - mel / mel[-1]).mean()
        for alpha in alphas
    ]
    assert alphas[np.argmin(errors)] == pytest.approx(default_alpha(rate), abs=0.02)


def test_alpha_follows_the_sample_rate() -> None:
    assert default_alpha(16000) == pytest.approx(0.42)
    assert default_alpha(48000) == pytest.approx(0.55)
    assert default_alpha(18000) == pytest.approx(0.42 + (0.45 - 0.42) * 2000 / 6050)
    assert default_alpha(4000) == default_alpha(8000)
    assert default_alpha(192000) == default_alpha(48000)


@pytest.mark.parametrize("alpha", [0.0, 0.42, 0.55])
def test_coefficients_of_a_spectrum_made_of_them(alpha: float) -> None:
    # log|H| = Σ cₘ cos(m ω̃), written out.
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(13, 5)) / np.arange(1, 14)[:, None]
    warped = warp(np.linspace(0, np.pi, 513), alpha)
    log_amplitude = np.zeros((5, 513))
    for m, coefficient in enumerate(wanted):
        log_amplitude += coefficient[:, None] * np.cos(m * warped)
    np.testing.assert_allclose(
        envelope_to_mel_cepstrum(np.exp(2 * log_amplitude), 12, alpha), wanted, atol=1e-9
    )
    np.testing.assert_allclose(
        mel_cepstrum_to_envelope(wanted, 513, alpha), np.exp(2 * log_amplitude), rtol=1e-9
    )


def test_without_warping_it_is_the_cepstrum() -> None:
    # Of log-amplitude, by the inverse Fourier transform; cₘ counts both m and −m.
    power = np.exp(np.random.default_rng(1).normal(size=(3, 257)))
    cepstrum = np.fft.irfft(0.5 * np.log(power))[:, :20].T
    cepstrum[1:] *= 2
    np.testing.assert_allclose(envelope_to_mel_cepstrum(power, 19, 0.0), cepstrum, atol=1e-12)


def test_loudness_moves_c0_alone() -> None:
    power = np.exp(np.random.default_rng(2).normal(size=(4, 257)))
    soft, loud = (envelope_to_mel_cepstrum(scale * power, 24, 0.42) for scale in (1, 4))
    np.testing.assert_allclose(loud[0] - soft[0], np.log(2))  # twice the amplitude
    np.testing.assert_allclose(loud[1:], soft[1:], atol=1e-9)


def test_envelopes_come_back_the_closer_the_higher_the_order() -> None:
    omega = np.linspace(0, np.pi, 513)
    envelope = sum(
        1 / ((omega - at) ** 2 + width**2) for at, width in ((0.2, 0.1), (0.6, 0.1), (1.2, 0.2))
    )[None]
    errors = []
    for order in (12, 24, 48):
        again = mel_cepstrum_to_envelope(envelope_to_mel_cepstrum(envelope, order, 0.42), 513, 0.42)
        errors.append(np.sqrt(np.mean((10 * np.log10(again / envelope)) ** 2)))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1  # dB


def test_silence_is_finite() -> None:
    coefficients = envelope_to_mel_cepstrum(np.zeros((2, 257)), 24, 0.42)
    np.testing.assert_allclose(coefficients[0], np.log(1e-10))
    np.testing.assert_allclose(coefficients[1:], 0, atol=1e-9)


@pytest.mark.parametrize(("bins", "order", "alpha"), [(1, 4, 0.4), (9, -1, 0.4), (9, 4, 1.0)])
def test_what_has_no_mel_cepstrum_is_refused(bins: int, order: int, alpha: float) -> None:
    with pytest.raises(UserError, match="mel-cepstrum"):
        envelope_to_mel_cepstrum(np.ones((1, bins)), order, alpha)
