"""Variance and pitch brought to the target's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech import Features, SpeakerStatistics, convert_features, transform_f0
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.speech.postfilter import expected_deviation, stretch_variance

ORDER, FRAMES = 4, 5000


def spectrum(seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    scale = np.array([[1.0], [0.5], [0.2], [0.1]])
    return (scale * random.standard_normal((ORDER, FRAMES)) + 1).astype(np.float32)


def test_the_whole_strength_gives_the_target_s_deviation_and_keeps_the_mean() -> None:
    before = spectrum()
    wanted = np.array([2.0, 0.25, 0.4, 0.1], dtype=np.float32)
    after = stretch_variance(before, np.ones(FRAMES, dtype=bool), wanted, 1.0)
    np.testing.assert_allclose(after.mean(axis=1), before.mean(axis=1), atol=1e-4)
    # So much speech is believed to 99 %.
    np.testing.assert_allclose(after.std(axis=1), wanted, rtol=0.02)


def test_half_the_strength_goes_half_the_way_in_decibels() -> None:
    before = spectrum()
    wanted = 2 * before.std(axis=1)
    after = stretch_variance(before, np.ones(FRAMES, dtype=bool), wanted, 0.5)
    np.testing.assert_allclose(after.std(axis=1) / before.std(axis=1), np.sqrt(2), rtol=0.01)


def test_no_strength_changes_nothing_and_pauses_stay_as_they_are() -> None:
    before = spectrum()
    active = np.zeros(FRAMES, dtype=bool)
    active[1000:2000] = True
    wanted = np.full(ORDER, 3.0, dtype=np.float32)
    assert np.array_equal(stretch_variance(before, active, wanted, 0.0), before)
    after = stretch_variance(before, active, wanted, 1.0)
    assert np.array_equal(after[:, :990], before[:, :990])
    assert np.array_equal(after[:, 2010:], before[:, 2010:])
    assert (after[:, 1000:2000].std(axis=1) > 1.5 * before[:, 1000:2000].std(axis=1)).all()
    silent = np.zeros(FRAMES, dtype=bool)
    assert np.array_equal(stretch_variance(before, silent, wanted, 1.0), before)


def test_a_coefficient_that_does_not_vary_is_not_blown_up() -> None:
    before = np.full((1, 200), 2.0, dtype=np.float32)
    before[0, ::2] += 1e-5
    after = stretch_variance(before, np.ones(200, dtype=bool), np.ones(1, dtype=np.float32), 1.0)
    assert np.abs(after - 2).max() < 1e-4


def test_a_sentence_is_expected_to_vary_as_the_source_s_does() -> None:
    whole, target = np.full(ORDER, 2.0, np.float32), np.full(ORDER, 3.0, np.float32)
    before = spectrum()
    before *= np.array([[2.0], [1.0], [0.001], [1000.0]]) / before.std(axis=1, keepdims=True)
    active = np.ones(FRAMES, dtype=bool)
    found = expected_deviation(before, active, whole, target)
    # As usual, half as much, and what no sentence does: at most half, or twice, as much.
    np.testing.assert_allclose(found, [3.0, 1.5, 1.5, 6.0], rtol=1e-3)
    before[:, :1000] *= 100  # a pause says nothing
    active[:1000] = False
    np.testing.assert_allclose(expected_deviation(before, active, whole, target), found, rtol=0.1)
    silent = np.zeros(FRAMES, dtype=bool)
    assert np.array_equal(expected_deviation(before, silent, whole, target), target)


def speaker(pitches: NDArray[np.float64], seed: int = 0) -> SpeakerStatistics:
    random = np.random.default_rng(seed)
    features = Features(
        f0=pitches.astype(np.float32),
        mel_cepstrum=random.standard_normal((ORDER, len(pitches))).astype(np.float32),
        energy=np.zeros(len(pitches), dtype=np.float32),
        samples=80 * len(pitches),
        aperiodicity=None,
    )
    return SpeakerStatistics.from_features([features])


LOW = 100 * np.exp(0.2 * np.random.default_rng(1).standard_normal(2000))
SKEWED = 180 * np.exp(0.3 * np.random.default_rng(2).gamma(1.5, size=2000))


def test_quantiles_give_the_target_s_whole_distribution() -> None:
    low, skewed = speaker(LOW), speaker(SKEWED)
    moved = transform_f0(LOW, low, skewed, "quantile")
    stretched = transform_f0(LOW, low, skewed)
    shares = np.linspace(2, 98, 25)
    wanted = np.log(np.percentile(SKEWED, shares))
    error = np.abs(np.log(np.percentile(moved, shares)) - wanted).max()
    assert error < 0.02
    assert error < np.abs(np.log(np.percentile(stretched, shares)) - wanted).max() / 3


@given(st.lists(st.floats(min_value=40, max_value=900), min_size=2, max_size=30))
def test_quantiles_keep_the_order_of_pitches_and_unvoiced_frames(values: list[float]) -> None:
    f0 = np.array([0.0, *values])
    moved = transform_f0(f0, speaker(LOW), speaker(SKEWED), "quantile")
    assert moved[0] == 0
    assert (moved[1:] > 0).all()
    order = np.argsort(values)
    assert (np.diff(moved[1:][order]) >= -1e-3).all()


def test_beyond_the_outermost_quantile_the_distance_is_kept() -> None:
    low, skewed = speaker(LOW), speaker(SKEWED)
    far = np.array([LOW.max() * 1.5])
    moved = transform_f0(far, low, skewed, "quantile")
    assert moved[0] == pytest.approx(SKEWED.max() * 1.5, rel=1e-3)


def test_models_from_before_have_no_quantiles_and_others_keep_them() -> None:
    low = speaker(LOW)
    tensors = low.to_tensors("a")
    loaded = SpeakerStatistics.from_tensors(tensors, "a")
    assert loaded.log_f0_quantiles is not None
    assert low.log_f0_quantiles is not None
    assert np.array_equal(loaded.log_f0_quantiles, low.log_f0_quantiles)
    del tensors["a.log_f0_quantiles"]
    old = SpeakerStatistics.from_tensors(tensors, "a")
    with pytest.raises(UserError, match="no quantiles"):
        transform_f0(LOW, old, low, "quantile")
    with pytest.raises(UserError, match="101 rising"):
        SpeakerStatistics.from_tensors(
            {**tensors, "a.log_f0_quantiles": torch.linspace(1, 0, 101)}, "a"
        )


def test_a_conversion_stretches_what_the_network_smoothed() -> None:
    features = Features(
        f0=LOW.astype(np.float32),
        mel_cepstrum=np.random.default_rng(3).standard_normal((ORDER, 2000)).astype(np.float32),
        energy=np.zeros(2000, dtype=np.float32),
        samples=160000,
        aperiodicity=None,
    )
    own = SpeakerStatistics.from_features([features])

    class Smoother(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gain * x

    plain = convert_features(features, Smoother(), own, own)
    whole = convert_features(features, Smoother(), own, own, Conversion(variance=1.0))
    np.testing.assert_allclose(plain.mel_cepstrum.std(axis=1), 0.5 * own.std, rtol=0.01)
    np.testing.assert_allclose(whole.mel_cepstrum.std(axis=1), own.std, rtol=0.05)


@pytest.mark.parametrize("wrong", [{"variance": 1.5}, {"variance": float("nan")}, {"pitch": "x"}])
def test_what_no_conversion_can_do_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Conversion(**wrong)  # type: ignore[arg-type]
