"""Octave jumps of F0 are undone, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclegan_media.speech import AnalysisConfig, analyse
from cyclegan_media.speech import analysis as analysis_module
from cyclegan_media.speech.octaves import repair_octaves

PERIOD = 5.0


def track(frames: int = 200, seed: int = 0) -> np.ndarray:
    """A voice that moves by up to a quarter of an octave, with a pause in it."""
    place = np.arange(frames) / frames
    f0 = 130 * 2 ** (0.25 * np.sin(2 * np.pi * (1.5 * place + seed / 7)))
    f0[90:110] = 0
    return f0


@given(
    start=st.integers(12, 180),
    length=st.integers(1, 20),
    factor=st.sampled_from([0.5, 2.0]),
    seed=st.integers(0, 6),
)
def test_short_jumps_between_voiced_frames_are_undone(
    start: int, length: int, factor: float, seed: int
) -> None:
    true = track(seed=seed)
    stop = start + length
    if stop > 190 or (start < 120 and stop > 80):
        return
    jumped = true.copy()
    jumped[start:stop] *= factor
    np.testing.assert_allclose(repair_octaves(jumped, PERIOD), true)


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(71, 800)), min_size=1, max_size=80),
    st.sampled_from([1.0, 5.0, 10.0, 20.0]),
)
def test_whatever_comes_frames_only_move_by_octaves(values: list[float], period: float) -> None:
    f0 = np.array(values)
    repaired = repair_octaves(f0, period)
    np.testing.assert_array_equal(repaired > 0, f0 > 0)
    moved = np.log2(repaired[f0 > 0] / f0[f0 > 0])
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-12)
    assert np.abs(moved).max(initial=0) <= 1


@pytest.mark.parametrize("octaves", [1.2, -1.2])
def test_a_glide_of_more_than_an_octave_in_half_a_second_is_kept(octaves: float) -> None:
    glide = 200 * 2 ** np.linspace(0, octaves, 100)
    f0 = np.concatenate([np.full(50, glide[0]), glide, np.full(50, glide[-1])])
    np.testing.assert_array_equal(repair_octaves(f0, PERIOD), f0)


def test_a_change_of_register_that_lasts_is_kept() -> None:
    f0 = np.concatenate([np.full(60, 110.0), np.full(40, 220.0), np.full(60, 110.0)])
    np.testing.assert_array_equal(repair_octaves(f0, PERIOD), f0)


def test_a_leap_at_the_end_of_a_phrase_is_kept() -> None:
    f0 = np.concatenate([np.full(60, 110.0), np.full(8, 55.0), np.zeros(40), np.full(60, 110.0)])
    np.testing.assert_array_equal(repair_octaves(f0, PERIOD), f0)


def test_a_leap_of_another_interval_is_kept() -> None:
    f0 = np.concatenate([np.full(60, 110.0), np.full(8, 330.0), np.full(60, 110.0)])
    np.testing.assert_array_equal(repair_octaves(f0, PERIOD), f0)


def test_the_analysis_repairs_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    true = np.full(201, 140.0)
    jumped = true.copy()
    jumped[80:90] /= 2
    real = analysis_module.world()

    class Jumping:
        """WORLD, but for F0 that jumps."""

        d4c, cheaptrick = staticmethod(real.d4c), staticmethod(real.cheaptrick)

        @staticmethod
        def harvest(*_: object, **__: object) -> tuple[np.ndarray, np.ndarray]:
            return jumped, np.arange(201) * 0.005

    monkeypatch.setattr(analysis_module, "world", lambda: Jumping)
    noise = np.random.default_rng(0).normal(scale=0.1, size=16000)
    np.testing.assert_allclose(analyse(noise, AnalysisConfig(f0_repair=True)).f0, true)
    np.testing.assert_allclose(analyse(noise, AnalysisConfig()).f0, jumped)
