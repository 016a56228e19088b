"""The trivial and the parallel method: what they compute."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.alignment import align
from cyclegan_media.metrics.voice_baselines import JointDensityGMM, match_moments
from cyclegan_media.speech import Features, SpeakerStatistics, active_frames
from cyclegan_media.speech.postfilter import expected_deviation


def speech(seed: int, gain: float = 1.0, shift: float = 0.0, f0: float = 100.0) -> Features:
    noise = np.random.default_rng(seed).standard_normal((4, 200))
    movement = 4 * uniform_filter1d(noise, 9, axis=1)
    pitch = f0 * np.exp(0.1 * np.sin(np.arange(200) / 10))
    return Features(
        f0=np.where(np.arange(200) % 50 < 40, pitch, 0).astype(np.float32),
        mel_cepstrum=(gain * movement + shift).astype(np.float32),
        energy=np.zeros(200, dtype=np.float32),
        samples=16000,
    )


def test_moments_become_the_targets() -> None:
    source, target = (
        [speech(0), speech(1)],
        [speech(2, 0.5, 3.0, 220.0), speech(3, 0.7, 2.0, 200.0)],
    )
    there = SpeakerStatistics.from_features(target)
    moved = [match_moments(item, SpeakerStatistics.from_features(source), there) for item in source]
    got = SpeakerStatistics.from_features(moved)
    np.testing.assert_allclose(got.mean, there.mean, atol=1e-5)
    np.testing.assert_allclose(got.std, there.std, rtol=1e-5)
    assert got.log_f0_mean == pytest.approx(there.log_f0_mean, abs=1e-5)
    assert got.log_f0_std == pytest.approx(there.log_f0_std, abs=1e-5)
    np.testing.assert_array_equal(moved[0].voiced, source[0].voiced)


def test_one_gaussian_is_linear_regression() -> None:
    pairs = [(speech(k), speech(k, 0.8, 0.3)) for k in range(5)]
    model = JointDensityGMM(*map(list, zip(*pairs, strict=True)), mixtures=1)

    joined = []
    for a, b in pairs:
        here, there = align(a.mel_cepstrum, b.mel_cepstrum)
        joined.append((a.mel_cepstrum[:, here], b.mel_cepstrum[:, there]))
    x, y = (np.concatenate(side, axis=1).T.astype(float) for side in zip(*joined, strict=True))
    new = speech(9)
    for direction, given, wanted in (("a2b", x, y), ("b2a", y, x)):
        design = np.column_stack([given, np.ones(len(given))])
        slope, *_ = np.linalg.lstsq(design, wanted, rcond=None)
        expected = np.column_stack([new.mel_cepstrum.T, np.ones(200)]) @ slope
        got = model.convert(new, direction)
        np.testing.assert_allclose(got.mel_cepstrum.T, expected, atol=5e-3)
        np.testing.assert_array_equal(got.energy, new.energy)


def sound(x: np.ndarray) -> Features:
    return Features(
        f0=np.full(x.shape[1], 100, np.float32),
        mel_cepstrum=x.astype(np.float32),
        energy=np.zeros(x.shape[1], np.float32),
        samples=16000,
    )


def test_several_gaussians_convert_each_sound_in_its_own_way() -> None:
    # Three sounds: the outer ones move up by 1, the middle one down by 1, which no line does.
    random = np.random.default_rng(0)
    kind = np.array([-5.0, 0.0, 5.0])[np.arange(240) // 20 % 3]
    pairs = []
    for _ in range(4):
        x = kind + 0.1 * random.standard_normal((1, 240))
        pairs.append((sound(x), sound(x + np.where(kind == 0, -1, 1))))
    errors = {}
    for mixtures in (1, 3):
        model = JointDensityGMM(*map(list, zip(*pairs, strict=True)), mixtures=mixtures)
        got = model.convert(pairs[0][0]).mel_cepstrum
        errors[mixtures] = np.abs(got - pairs[0][1].mel_cepstrum).mean()
    assert errors[3] < 0.15
    assert errors[1] > 0.5


def test_the_variance_of_the_mean_of_what_could_be_said_is_restored() -> None:
    pairs = [(speech(k), speech(k + 40)) for k in range(4)]
    model = JointDensityGMM(*map(list, zip(*pairs, strict=True)), mixtures=1)
    item = pairs[0][0]
    deviations = [
        model.convert(item, variance=share).mel_cepstrum[:, active_frames(item)].std(axis=1)
        for share in (0.0, 0.5, 1.0)
    ]
    wanted = expected_deviation(
        item.mel_cepstrum,
        active_frames(item),
        *(model.speakers[side].std for side in "ab"),
    )
    errors = [np.abs(np.log(deviation / wanted)).mean() for deviation in deviations]
    assert errors[0] > errors[1] > errors[2]
    # Of so short a recording, 200 frames, four fifths of the way.
    assert errors[2] < 0.3 * errors[0]


def test_says_what_it_cannot_learn_from() -> None:
    with pytest.raises(UserError, match="2 recordings of A and 1 of B"):
        JointDensityGMM([speech(0), speech(1)], [speech(0)])
    with pytest.raises(UserError, match="too few for 32 Gaussians of 8 dimensions"):
        JointDensityGMM([speech(0)], [speech(0)])
