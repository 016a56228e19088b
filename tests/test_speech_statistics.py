"""Speaker statistics, F0 transformation: against hand-computed values, and round trips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan_media.errors import UserError
from cyclegan_media.speech import (
    Features,
    SpeakerStatistics,
    active_frames,
    has_speech,
    transform_f0,
)


def features(f0: list[float], levels: list[float], cepstrum: list[list[float]]) -> Features:
    """By F0 in Hz, level in dB and coefficients, each frame by frame."""
    return Features(
        f0=np.array(f0, dtype=np.float32),
        mel_cepstrum=np.array(cepstrum, dtype=np.float32),
        energy=(np.array(levels) * np.log(10) / 20).astype(np.float32),
        samples=80 * len(f0),
    )


def speaker(pitch: float, deviation: float) -> SpeakerStatistics:
    unit = np.ones(2, dtype=np.float32)
    return SpeakerStatistics(0 * unit, unit, float(np.log(pitch)), deviation)


def test_level_is_in_decibels() -> None:
    item = features([0, 0], [-20, -50], [[0, 0]])
    np.testing.assert_allclose(item.level(), [-20, -50], atol=1e-4)


def test_pauses_are_30_db_below_the_loudest_frame() -> None:
    item = features([0] * 4, [-40, -20, -49.9, -50.1], [[0] * 4])
    assert active_frames(item).tolist() == [True, True, True, False]
    assert active_frames(item, 10).tolist() == [False, True, False, False]


def test_silence_is_no_speech_however_even_it_is() -> None:
    silent = features([100, 100], [-95, -96], [[0, 0]])
    assert not active_frames(silent).any()
    assert not has_speech(silent)
    assert has_speech(features([0, 100], [-40, -41], [[0, 0]]))
    assert not has_speech(features([0, 0], [-40, -41], [[0, 0]]))
    assert not has_speech(features([0, 100], [-40, -80], [[0, 0]]))  # voiced in the pause alone


def test_statistics_by_hand() -> None:
    loud = features([100, 0, 200, 300], [-20, -20, -20, -70], [[1, 2, 3, 99], [4, 4, 4, 99]])
    more = features([400], [-30], [[6], [4]])
    found = SpeakerStatistics.from_features([loud, more])
    # The fourth frame is a pause. Coefficients 1, 2, 3, 6 and 4, 4, 4, 4; F0 100, 200, 400 Hz.
    np.testing.assert_allclose(found.mean, [3, 4])
    np.testing.assert_allclose(found.std, [np.sqrt(3.5), 1e-3], rtol=1e-6)
    assert found.log_f0_mean == pytest.approx(np.log(200))
    assert found.log_f0_std == pytest.approx(np.log(2) * np.sqrt(2 / 3))
    assert found.is_voiced


def test_recordings_without_voice_do_not_count_unless_there_is_nothing_else() -> None:
    noise = features([0, 0], [-20, -20], [[50, 70]])
    speech = features([100, 100], [-20, -20], [[1, 3]])
    assert SpeakerStatistics.from_features([noise, speech]).mean == pytest.approx(2)
    alone = SpeakerStatistics.from_features([noise])
    assert alone.mean == pytest.approx(60)
    assert not alone.is_voiced
    with pytest.raises(UserError, match="at least one"):
        SpeakerStatistics.from_features([])


def test_standardised_features_have_mean_0_and_deviation_1_and_come_back() -> None:
    rng = np.random.default_rng(0)
    cepstrum = (rng.normal(size=(24, 500)) * 0.2 + rng.normal(size=(24, 1))).astype(np.float32)
    item = Features(
        np.full(500, 120, np.float32), cepstrum, np.full(500, -3, np.float32), samples=40000
    )
    found = SpeakerStatistics.from_features([item])
    standardised = found.standardise(cepstrum)
    np.testing.assert_allclose(standardised.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(found.destandardise(standardised), cepstrum, atol=1e-5)


def test_statistics_survive_a_model_folder() -> None:
    found = SpeakerStatistics(
        np.array([1, -2], np.float32), np.array([0.5, 2], np.float32), 4.75, 0.25
    )
    tensors = {**found.to_tensors("a"), **speaker(100, 0.1).to_tensors("b")}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    again = SpeakerStatistics.from_tensors(tensors, "a")
    np.testing.assert_array_equal(again.mean, found.mean)
    np.testing.assert_array_equal(again.std, found.std)
    assert (again.log_f0_mean, again.log_f0_std) == (4.75, 0.25)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", None, "'a.mean' is missing"),
        ("mean", torch.tensor([float("nan"), 0.0]), "'a.mean' must be a list of finite"),
        ("mean", torch.zeros(3), "differ in shape"),
        ("std", torch.tensor([1.0, 0.0]), "a.std must be above 0"),
        ("std", torch.zeros(2, 2), "'a.std' must be a list"),
        ("log_f0", torch.tensor([5.0]), "a mean and a deviation"),
        ("log_f0", torch.tensor([5.0, -1.0]), "a mean and a deviation"),
    ],
)
def test_damaged_statistics_are_named(name: str, value: torch.Tensor | None, message: str) -> None:
    tensors = speaker(100, 0.2).to_tensors("a")
    del tensors[f"a.{name}"]
    if value is not None:
        tensors[f"a.{name}"] = value
    with pytest.raises(UserError, match=message):
        SpeakerStatistics.from_tensors(tensors, "a")


def test_f0_moves_by_mean_and_deviation_of_its_logarithm() -> None:
    source, target = speaker(200, 0.1), speaker(100, 0.2)
    # One deviation above the source's mean becomes one above the target's.
    f0 = np.array([200, 0, 200 * np.exp(0.1), 200 * np.exp(-0.05)])
    wanted = [100, 0, 100 * np.exp(0.2), 100 * np.exp(-0.1)]
    np.testing.assert_allclose(transform_f0(f0, source, target), wanted, rtol=1e-6)


def test_f0_comes_back_the_other_way() -> None:
    source, target = speaker(210, 0.25), speaker(120, 0.17)
    f0 = np.array([0, 150, 220, 300, 0, 410], dtype=np.float32)
    there = transform_f0(f0, source, target)
    np.testing.assert_allclose(transform_f0(there, target, source), f0, rtol=1e-5)


def test_a_monotone_source_is_shifted_and_an_unvoiced_speaker_changes_nothing() -> None:
    f0 = np.array([0, 200, 210], dtype=np.float32)
    np.testing.assert_allclose(
        transform_f0(f0, speaker(200, 0.0), speaker(100, 0.3)), f0 / 2, rtol=1e-6
    )
    unvoiced = SpeakerStatistics(np.zeros(2, np.float32), np.ones(2, np.float32), 0.0, 0.0)
    np.testing.assert_array_equal(transform_f0(f0, unvoiced, speaker(100, 0.1)), f0)
    np.testing.assert_array_equal(transform_f0(f0, speaker(100, 0.1), unvoiced), f0)
