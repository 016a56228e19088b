"""Two speakers brought closer before any network: weights of coefficients, lengths of tracts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cyclegan_media.speech import AnalysisConfig, Features, SpeakerStatistics, analyse
from cyclegan_media.speech.matching import (
    TRACT_COEFFICIENTS,
    gaussian_distance,
    match_tracts,
    retract,
    weigh,
)
from cyclegan_media.speech.mel_cepstrum import (
    envelope_to_mel_cepstrum,
    mel_cepstrum_to_envelope,
    rewarp,
)


def speaker(std: list[float]) -> SpeakerStatistics:
    values = np.array(std, dtype=np.float32)
    return SpeakerStatistics(np.arange(len(std), dtype=np.float32), values, 5.0, 0.2)


def test_full_whitening_leaves_every_deviation_1() -> None:
    a, b = weigh(speaker([1, 0.1]), speaker([2, 0.4]), 1.0)
    np.testing.assert_array_equal(a.weight, [1, 1])
    np.testing.assert_array_equal(b.weight, [1, 1])


def test_without_whitening_proportions_stay_and_are_common() -> None:
    a, b = weigh(speaker([1, 0.1]), speaker([4, 0.1]), 0.0)
    # Geometric means 2 and 0.1, over their root mean square.
    wanted = np.array([2, 0.1]) / np.sqrt((4 + 0.01) / 2)
    np.testing.assert_allclose(a.weight, wanted, rtol=1e-6)
    np.testing.assert_allclose(b.weight, wanted, rtol=1e-6)
    halfway, _ = weigh(speaker([1, 0.1]), speaker([4, 0.1]), 0.5)
    np.testing.assert_allclose(halfway.weight, np.sqrt(wanted), rtol=1e-6)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_the_identity_still_matches_mean_and_deviation(whitening: float) -> None:
    rng = np.random.default_rng(0)
    plain_a, plain_b = speaker([1, 0.1, 0.3]), speaker([2, 0.4, 0.2])
    a, b = weigh(plain_a, plain_b, whitening)
    cepstrum = rng.normal(size=(3, 50)).astype(np.float32)
    np.testing.assert_allclose(
        b.destandardise(a.standardise(cepstrum)),
        plain_b.destandardise(plain_a.standardise(cepstrum)),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(a.destandardise(a.standardise(cepstrum)), cepstrum, atol=1e-5)


def test_without_whitening_distances_are_those_of_the_cepstrum() -> None:
    same = speaker([1, 0.1, 0.3])
    a, _ = weigh(same, same, 0.0)
    x, y = np.random.default_rng(1).normal(size=(2, 3, 40)).astype(np.float32)
    ratios = np.linalg.norm(a.standardise(x) - a.standardise(y), axis=0) / np.linalg.norm(
        x - y, axis=0
    )
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)


def test_weights_and_warping_survive_a_model_folder() -> None:
    a, _ = weigh(speaker([1, 0.1]), speaker([2, 0.4]), 0.0)
    again = SpeakerStatistics.from_tensors(replace(a, alpha=0.375).to_tensors("a"), "a")
    np.testing.assert_array_equal(again.weight, a.weight)
    assert again.alpha == 0.375
    assert again.analysis(AnalysisConfig()).warping == 0.375
    assert SpeakerStatistics.from_tensors(a.to_tensors("a"), "a").alpha is None
    assert a.analysis(AnalysisConfig()).warping == pytest.approx(0.42)


def test_rewarping_is_analysis_with_another_constant() -> None:
    omega = np.linspace(0, np.pi, 1025)
    envelope = sum(1 / ((omega - at) ** 2 + 0.15**2) for at in (0.3, 0.9, 1.8))[None]
    high = envelope_to_mel_cepstrum(envelope, 80, 0.42)
    np.testing.assert_allclose(
        rewarp(high, 0.42, 0.3, 24), envelope_to_mel_cepstrum(envelope, 24, 0.3), atol=1e-3
    )
    low = envelope_to_mel_cepstrum(envelope, 24, 0.42)
    np.testing.assert_allclose(rewarp(low, 0.42, 0.42, 24), low, atol=1e-9)


def spoken(factor: float, seed: int) -> Features:
    """Vowels at random, of a speaker whose resonances are all higher by ``factor``."""
    rng = np.random.default_rng(seed)
    hertz = np.linspace(0, 8000, 513)
    formants = np.array([[700, 1200, 2600], [300, 2200, 2900], [350, 800, 2300], [500, 1500, 2500]])
    targets = formants[rng.integers(0, 4, 60)].repeat(20, axis=0) * rng.normal(1, 0.03, (1200, 1))
    envelope = np.ones((1200, 513))
    for formant in factor * targets.T[:, :, None]:
        envelope *= formant**4 / ((formant**2 - hertz**2) ** 2 + (120 * hertz) ** 2)
    cepstrum = envelope_to_mel_cepstrum(envelope, TRACT_COEFFICIENTS, 0.42).astype(np.float32)
    return Features(
        f0=np.full(1200, 100, np.float32),
        mel_cepstrum=cepstrum[1:],
        energy=np.full(1200, -3, np.float32),
        samples=96000,
    )


@pytest.mark.parametrize("factor", [1.0, 1.15, 0.87])
def test_tracts_of_different_length_are_told_without_pairs(factor: float) -> None:
    config = AnalysisConfig()
    a, b = [spoken(factor, 1)], [spoken(1.0, 2)]
    alpha_a, alpha_b = match_tracts(a, b, config)
    assert (alpha_a + alpha_b) / 2 == pytest.approx(0.42)
    if factor == 1:
        assert abs(alpha_a - alpha_b) <= 0.03
    else:  # higher resonances: less warping
        assert np.sign(alpha_b - alpha_a) == np.sign(factor - 1)

        def distance(x: Features, y: Features) -> float:
            means = [item.mel_cepstrum.mean(axis=1, keepdims=True) for item in (x, y)]
            return gaussian_distance(x.mel_cepstrum - means[0], y.mel_cepstrum - means[1])

        before = distance(retract(a[0], 0.42, config), retract(b[0], 0.42, config))
        after = distance(retract(a[0], alpha_a, config), retract(b[0], alpha_b, config))
        assert after < 0.7 * before


def test_retracted_features_keep_everything_else() -> None:
    item = spoken(1.0, 3)
    config = AnalysisConfig()
    changed = retract(item, 0.35, config)
    assert changed.mel_cepstrum.shape == (24, 1200)
    assert changed.mel_cepstrum.dtype == changed.energy.dtype == np.float32
    np.testing.assert_array_equal(changed.f0, item.f0)
    same = retract(item, 0.42, config)
    np.testing.assert_allclose(same.mel_cepstrum, item.mel_cepstrum[:24], atol=1e-4)
    np.testing.assert_allclose(same.energy, item.energy, atol=1e-4)


def test_retracting_is_analysing_with_another_constant() -> None:
    rng = np.random.default_rng(0)
    signal = np.convolve(rng.normal(size=8000), [1, -1.2, 0.8], "same") * 0.1
    wide = AnalysisConfig(f0="dio", coefficients=TRACT_COEFFICIENTS)
    config = AnalysisConfig(f0="dio")
    direct = analyse(signal, config.model_copy(update={"alpha": 0.36}))
    through = retract(analyse(signal, wide), 0.36, config)
    assert np.abs(through.mel_cepstrum - direct.mel_cepstrum).mean() < 0.01


def test_gaussian_distance_by_hand() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 20000))
    assert gaussian_distance(x, x) == pytest.approx(0, abs=1e-6)
    # Means 2 apart in one of three dimensions: √(4 / 3); deviations 1 and 3 in all: √(3 · 4 / 3).
    assert gaussian_distance(x + np.array([[2], [0], [0]]), x) == pytest.approx(
        np.sqrt(4 / 3), rel=1e-6
    )
    assert gaussian_distance(3 * x, x) == pytest.approx(2 * x.std(), rel=1e-2)
    broken = x.copy()
    broken[0, 0] = np.nan
    assert gaussian_distance(broken, x) == float("inf")


def test_an_envelope_on_another_axis_is_the_same_envelope() -> None:
    omega = np.linspace(0, np.pi, 513)
    envelope = (2 + np.cos(omega) + 0.5 * np.cos(2 * omega))[None]
    cepstrum = envelope_to_mel_cepstrum(envelope, 60, 0.42)
    again = mel_cepstrum_to_envelope(rewarp(cepstrum, 0.42, 0.3, 60), 513, 0.3)
    np.testing.assert_allclose(again, envelope, rtol=1e-3)
