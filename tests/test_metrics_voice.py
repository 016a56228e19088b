"""Voice metrics: hand-computed values, what each must and must not notice, and real speakers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from scipy.ndimage import uniform_filter1d
from scipy.spatial.distance import cdist

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.alignment import align
from cyclegan_media.metrics.voice import (
    METRIC_ANALYSIS,
    MODULATION_FRAMES,
    compare_voices,
    global_variance,
    global_variance_distance,
    log_f0_rmse,
    mel_cepstral_distortion,
    modulation_spectrum,
    modulation_spectrum_distance,
)
from cyclegan_media.speech import Features, analyse, synthesise


def features(
    spectrum: np.ndarray, f0: np.ndarray | float = 100.0, energy: np.ndarray | float = 0.0
) -> Features:
    frames = spectrum.shape[1]
    return Features(
        f0=np.broadcast_to(np.float32(f0), frames).astype(np.float32),
        mel_cepstrum=spectrum.astype(np.float32),
        energy=np.broadcast_to(np.float32(energy), frames).astype(np.float32),
        samples=80 * (frames - 1) + 1,
    )


def movement(seed: int, frames: int = 400, coefficients: int = 5) -> np.ndarray:
    """Trajectories that move about as slowly as those of speech."""
    noise = np.random.default_rng(seed).standard_normal((coefficients, frames))
    return 0.5 * uniform_filter1d(noise, 9, axis=1)


# Alignment


def test_alignment_of_a_sequence_with_itself_is_the_diagonal() -> None:
    x = movement(0)
    np.testing.assert_array_equal(align(x, x), np.arange(400)[None].repeat(2, axis=0))


def test_alignment_finds_which_frames_were_repeated() -> None:
    x = np.array([[0.0, 1.0, 5.0, 2.0]])
    slower = x[:, [0, 0, 1, 2, 2, 2, 3]]
    here, there = align(x, slower)
    np.testing.assert_array_equal(here, [0, 0, 1, 2, 2, 2, 3])
    np.testing.assert_array_equal(there, np.arange(7))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 40), (60, 90), (91, 60)])
@pytest.mark.parametrize("table_cells", [1 << 24, 200, 4])
def test_alignment_costs_as_little_as_librosas(shape: tuple[int, int], table_cells: int) -> None:
    random = np.random.default_rng(1)
    x, y = (random.standard_normal((3, frames)) for frames in shape)
    cost = cdist(x.T, y.T)
    best = librosa.sequence.dtw(C=cost, backtrack=False)[-1, -1]

    here, there = align(x, y, table_cells=table_cells)

    assert cost[here, there].sum() == pytest.approx(best, rel=1e-12)
    steps = np.diff([here, there], axis=1)
    assert set(map(tuple, steps.T)) <= {(0, 1), (1, 0), (1, 1)}
    assert (here[0], there[0]) == (0, 0)
    assert (here[-1] + 1, there[-1] + 1) == shape


def test_alignment_says_what_cannot_be_aligned() -> None:
    x = np.zeros((3, 4))
    with pytest.raises(UserError, match="3 and of 2 coefficients"):
        align(x, np.zeros((2, 4)))
    with pytest.raises(UserError, match=r"second sequence has the shape \(3, 0\)"):
        align(x, np.zeros((3, 0)))
    with pytest.raises(UserError, match="first sequence holds values that are not finite"):
        align(np.full((3, 4), np.nan), x)


# Mel-cepstral distortion and F0


def test_distortion_of_one_coefficient_by_one_is_six_decibels() -> None:
    still = np.zeros((24, 50))
    off = still.copy()
    off[6] = 1.0
    # 10 √2 / ln 10 for a distance of 1.
    assert mel_cepstral_distortion(features(off), features(still)) == pytest.approx(
        6.1418, abs=1e-3
    )


def test_distortion_is_the_root_mean_square_spectral_distance_in_decibels() -> None:
    # By Parseval: over the warped axis, the mean square of 20 log₁₀ of the amplitudes' ratio.
    random = np.random.default_rng(2)
    one, other = 0.1 * random.standard_normal((2, 24))
    omega = np.linspace(0, np.pi, 4096, endpoint=False) + np.pi / 8192
    ripple = np.cos(np.outer(omega, np.arange(1, 25))) @ (one - other)
    expected = np.sqrt(np.mean((20 / np.log(10) * ripple) ** 2))
    got = mel_cepstral_distortion(*(features(v[:, None].repeat(9, axis=1)) for v in (one, other)))
    assert got == pytest.approx(expected, rel=1e-5)


def test_distortion_ignores_timing_pauses_and_level() -> None:
    spectrum = movement(3)
    slower = spectrum.repeat(np.arange(400) % 3 + 1, axis=1)
    assert mel_cepstral_distortion(features(slower), features(spectrum)) == 0

    paused = np.concatenate([spectrum, np.full((5, 100), 7.0)], axis=1)
    level = np.concatenate([np.zeros(400), np.full(100, -4.0)])  # −4 is −35 dB
    spoken = features(spectrum, energy=1.5)
    assert mel_cepstral_distortion(features(paused, energy=level), spoken) == 0


def test_distortion_grows_with_the_difference_and_is_symmetric() -> None:
    spectrum, noise = movement(4), movement(5)
    values = [
        mel_cepstral_distortion(features(spectrum + amount * noise), features(spectrum))
        for amount in (0.0, 0.1, 0.3, 0.6, 1.0)
    ]
    assert values[0] == 0
    assert values == sorted(values)
    there = mel_cepstral_distortion(features(spectrum), features(spectrum + noise))
    assert there == pytest.approx(values[-1], rel=1e-9)


def test_f0_error_of_an_octave_is_ln_2_over_frames_voiced_in_both() -> None:
    spectrum = movement(6)
    f0 = np.where(np.arange(400) < 200, 100.0, 0.0)
    octave = np.where(np.arange(400) < 300, 200.0, 0.0)
    got = log_f0_rmse(features(spectrum, octave), features(spectrum, f0))
    assert got == pytest.approx(np.log(2), rel=1e-6)


def test_f0_error_is_unknown_where_nothing_is_voiced_in_both() -> None:
    spectrum = movement(6)
    whispered = features(spectrum, 0.0)
    assert np.isnan(log_f0_rmse(whispered, features(spectrum)))
    assert np.isnan(compare_voices([whispered], [features(spectrum)]).log_f0_rmse)
    both = compare_voices([whispered, features(spectrum, 200.0)], 2 * [features(spectrum)])
    assert both.log_f0_rmse == pytest.approx(np.log(2), rel=1e-6)


# Global variance and modulation spectrum


def test_global_variance_is_that_of_all_frames_together() -> None:
    halves = [np.zeros((2, 30)), np.full((2, 10), 4.0)]
    # Of 30 zeros and 10 fours: mean 1, mean square 4.
    np.testing.assert_allclose(global_variance([features(half) for half in halves]), [3.0, 3.0])


def test_variances_that_differ_by_a_factor_are_apart_by_its_logarithm() -> None:
    spectrum = movement(7)
    target = [features(spectrum)]
    for factor in (0.5, 2.0):
        scaled = [features(np.sqrt(factor) * spectrum)]
        got = global_variance_distance(scaled, target)
        assert got == pytest.approx(np.log(2), rel=1e-5)
    assert global_variance_distance(target, [features(spectrum[:, ::-1] + 3)]) < 1e-5


def test_a_spectrum_that_never_moves_is_far_but_not_infinitely_far() -> None:
    value = global_variance_distance([features(np.zeros((5, 300)))], [features(movement(8))])
    assert 100 < value < 1000


def test_modulation_of_one_rate_stands_in_its_bin() -> None:
    # 128 frames of 5 ms: bins of 1.5625 Hz, of which the first is bin 1.
    cycles = 8
    wave = np.cos(2 * np.pi * cycles * np.arange(1280) / MODULATION_FRAMES)[None]
    spectrum = modulation_spectrum([features(wave)])
    assert spectrum.shape == (1, MODULATION_FRAMES // 2)
    assert spectrum[0].argmax() == cycles - 1
    # A Hann window of N frames sums to N/2 and its square to 3N/8, half the amplitude each side:
    # (N/4)² / (3N/8) = N/6.
    assert spectrum[0, cycles - 1] == pytest.approx(10 * np.log10(MODULATION_FRAMES / 6), abs=1e-3)


def test_movement_twice_as_large_is_six_decibels_more_at_every_rate() -> None:
    spectrum = movement(9)
    got = modulation_spectrum_distance([features(2 * spectrum)], [features(spectrum)])
    assert got == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert modulation_spectrum_distance([features(spectrum + 3)], [features(spectrum)]) < 1e-3


def test_modulation_distance_grows_with_muffling() -> None:
    spectrum = movement(10)
    values = [
        modulation_spectrum_distance(
            [features(uniform_filter1d(spectrum, width, axis=1))], [features(spectrum)]
        )
        for width in (1, 3, 7, 15)
    ]
    assert values[0] == 0
    assert values == sorted(values)


def test_short_recordings_have_a_modulation_spectrum_too() -> None:
    assert np.isfinite(modulation_spectrum([features(movement(11, frames=1))])).all()
    assert modulation_spectrum([features(movement(11, frames=40))]).shape == (5, 64)


# What cannot be compared


def test_says_what_cannot_be_compared() -> None:
    one, other = features(movement(12)), features(movement(12, coefficients=4))
    with pytest.raises(UserError, match="no recordings"):
        compare_voices([], [])
    with pytest.raises(UserError, match="2 converted and 1 target"):
        compare_voices([one, one], [one])
    for measure in (
        lambda: mel_cepstral_distortion(one, other),
        lambda: global_variance_distance([one], [other]),
        lambda: modulation_spectrum_distance([one], [other]),
    ):
        with pytest.raises(UserError, match="5 and of 4 coefficients"):
            measure()
    with pytest.raises(UserError, match="no speech"):
        mel_cepstral_distortion(features(movement(12), energy=-40.0), one)
    broken = replace(one, mel_cepstrum=np.full_like(one.mel_cepstrum, np.nan))
    with pytest.raises(UserError, match="not finite"):
        global_variance([broken])


# Real speakers: what two independent computations of the same definition must agree on


@pytest.fixture(scope="module")
def speakers(shared_data: Path) -> dict[str, list[Features]]:
    """The five evaluation sentences of a woman and a man, of the man's with aperiodicity."""
    return {
        speaker: [
            analyse(soundfile.read(path)[0], METRIC_ANALYSIS, aperiodicity=speaker == "TM1")
            for path in sorted((shared_data / "vcc2016" / speaker).glob("2*.wav"))
        ]
        for speaker in ("SF1", "TM1")
    }


def test_unconverted_speech_is_as_far_as_known(speakers: dict[str, list[Features]]) -> None:
    scores = compare_voices(speakers["SF1"], speakers["TM1"])
    assert scores.mcd == pytest.approx(9.75, abs=0.15)
    assert scores.log_f0_rmse == pytest.approx(0.51, abs=0.02)
    assert scores.gv_distance == pytest.approx(0.29, abs=0.02)
    back = compare_voices(speakers["TM1"], speakers["SF1"])
    assert back.mcd == pytest.approx(scores.mcd, abs=1e-6)
    assert back.ms_distance == pytest.approx(scores.ms_distance, abs=1e-9)


def test_copy_synthesis_is_as_near_as_known(speakers: dict[str, list[Features]]) -> None:
    target = speakers["TM1"]
    copies = [analyse(synthesise(item, METRIC_ANALYSIS), METRIC_ANALYSIS) for item in target]
    scores = compare_voices(copies, target)
    assert scores.mcd == pytest.approx(2.08, abs=0.15)
    assert scores.log_f0_rmse == pytest.approx(0.09, abs=0.02)
    assert scores.gv_distance == pytest.approx(0.04, abs=0.02)
    assert scores.ms_distance < compare_voices(speakers["SF1"], target).ms_distance
