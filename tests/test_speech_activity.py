"""Speech is told from silence, hiss, hum, tones and bangs, in recordings of any rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import resample
from cyclegan_media.speech.activity import find_speech, long_term_flatness, measure_activity

RATE = 16000


def hiss(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def hum(count: int) -> np.ndarray:
    clock = np.arange(count) / RATE
    return np.sum([np.sin(2 * np.pi * 100 * k * clock) / k for k in range(1, 12)], axis=0)


def tone(count: int) -> np.ndarray:
    return np.sin(2 * np.pi * 220 * np.arange(count) / RATE)


def bangs(count: int) -> np.ndarray:
    fading = np.exp(-np.arange(RATE // 5) / (0.03 * RATE)) * hiss(RATE // 5)
    sound = np.zeros(count)
    for start in range(RATE // 2, count - RATE // 5, RATE):
        sound[start : start + RATE // 5] = fading
    return sound


def clicks(count: int) -> np.ndarray:
    sound = np.zeros(count)
    sound[RATE // 3 :: RATE] = 1
    return sound


BACKGROUNDS = [np.zeros, hiss, hum, tone, bangs, clicks]


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def shares(sentence: np.ndarray, background: np.ndarray) -> tuple[float, float]:
    """Of the speech, and of the seconds before and after it, what is found to be speech.

    The sentence begins two seconds after the background and ends two seconds before it.
    """
    pause = 2 * RATE
    mixed = background.astype(np.float32)
    mixed[pause : pause + len(sentence)] += sentence
    found = np.zeros(len(mixed), dtype=bool)
    for start, stop in find_speech(mixed, RATE):
        found[round(start * RATE) : round(stop * RATE)] = True
    frames = sentence[: len(sentence) // 160 * 160].reshape(-1, 160)
    power = np.square(frames).mean(axis=1)
    loud = np.repeat(power > power.max() / 1000, 160)
    spoken = found[pause : pause + len(loud)]
    # A stretch may reach 0.2 s beyond the speech.
    far = np.concatenate([found[: pause - RATE // 5], found[pause + len(sentence) + RATE // 5 :]])
    return float(spoken[loud].mean()), float(far.mean())


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_speech_is_found_and_nothing_else(background: Callable[[int], np.ndarray]) -> None:
    sentence = 0.3 * say(3, "a")
    sound = background(len(sentence) + 4 * RATE)
    loudness = level(sound)
    if loudness > 0:
        sound = sound * (0.25 * level(sentence) / loudness)  # 12 dB below
    hits, false_alarms = shares(sentence, sound)
    assert hits > 0.97
    assert false_alarms == 0


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_without_speech_nothing_is_found(background: Callable[[int], np.ndarray]) -> None:
    assert find_speech(0.1 * background(4 * RATE), RATE) == []


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_the_rate_does_not_matter(rate: int) -> None:
    sentence = np.pad(0.3 * say(3, "a"), RATE)
    wanted = find_speech(sentence, RATE)
    got = find_speech(resample(sentence[None], RATE, rate)[0], rate)
    assert len(got) == len(wanted)
    np.testing.assert_allclose(got, wanted, atol=0.05)


def test_a_long_pause_parts_what_is_said() -> None:
    sentence = 0.3 * say(3, "a")
    pause = np.zeros(3 * RATE)
    (one, two) = find_speech(np.concatenate([sentence, pause, sentence]), RATE)
    second = (len(sentence) + len(pause)) / RATE
    assert one[0] < 0.3
    assert len(sentence) / RATE - 0.3 < one[1] < len(sentence) / RATE + 0.2
    assert second - 0.1 < two[0] < second + 0.3


def test_blocks_of_any_size_are_measured_alike() -> None:
    sentence = say(3, "a").astype(np.float32)
    whole = measure_activity([sentence], RATE)
    parts = measure_activity(np.array_split(sentence, 97), RATE)
    assert len(whole.level) == -(-len(sentence) // 160)
    np.testing.assert_allclose(parts.level, whole.level, atol=1e-3)
    np.testing.assert_allclose(parts.voicing, whole.voicing, atol=1e-4)


def test_flatness_by_hand() -> None:
    still, jump = np.ones((90, 3), np.float32), np.ones((90, 3), np.float32)
    jump[45:] = 100
    np.testing.assert_allclose(long_term_flatness(still), 0, atol=1e-6)
    flatness = long_term_flatness(jump)
    assert flatness[5] == pytest.approx(0, abs=1e-6)
    # Means of ten frames rise from 1 to 100 over ten frames; thirty of them are compared.
    rise = [1 + 9.9 * k for k in range(1, 10)]
    around = [1.0] * 11 + rise + [100.0] * 10
    wanted = np.mean(np.log10(around)) - np.log10(np.mean(around))
    assert flatness[45] == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 100, 639, 641])
def test_very_short_recordings_hold_no_speech(count: int) -> None:
    assert find_speech(np.full(count, 0.5), RATE) == []


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(UserError, match="mix to mono"):
        find_speech(np.zeros((2, 100)), RATE)
    with pytest.raises(UserError, match="2000 Hz"):
        find_speech(np.zeros(100), 2000)


@pytest.mark.parametrize("background", [np.zeros, hiss, hum, bangs])
@pytest.mark.parametrize("speaker", ["SF1", "TM1"])
def test_real_speech_is_found(
    speaker: str, background: Callable[[int], np.ndarray], shared_data: Path
) -> None:
    sentence, _ = soundfile.read(shared_data / f"vcc2016/{speaker}/200002.wav", dtype="float32")
    sound = background(len(sentence) + 4 * RATE)
    loudness = level(sound)
    if loudness > 0:
        sound = sound * (0.2 * level(sentence) / loudness)  # 14 dB below
    hits, false_alarms = shares(sentence, sound)
    assert hits > 0.95
    assert false_alarms < 0.01
