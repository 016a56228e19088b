"""Pauses sound as they were recorded, at their level; speech is converted to its last consonant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt, sosfiltfilt
from torch import nn

from cyclegan_media.demo.voices import say
from cyclegan_media.speech import (
    AnalysisConfig,
    SpeakerStatistics,
    active_frames,
    analyse,
    convert_signal,
)
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.speech.log_mel import LogMelConfig
from cyclegan_media.speech.pauses import speech_share

RATE = 16000
CONFIG = AnalysisConfig(f0="dio")
FRAME = 0.005
LOG_MEL = LogMelConfig(sample_rate=RATE, n_fft=1024, hop=256)


class Applied(nn.Module):
    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    """Room tone: noise that is louder at low frequencies, of so many dB of full scale."""
    white = np.random.default_rng(seed).normal(size=round(seconds * RATE))
    made = sosfilt(butter(1, 500, fs=RATE, output="sos"), white)
    return (made * 10 ** (level / 20) / np.sqrt(np.mean(made**2))).astype(np.float32)


def talk(pause: float = 0.5, floor: float = -65.0) -> tuple[np.ndarray, list[slice]]:
    """Three sentences with pauses before, between and after; and the insides of the pauses."""
    silence = np.zeros(round(pause * RATE), dtype=np.float32)
    parts, insides, length = [silence], [], 0
    margin = round(0.1 * RATE)  # what the vowels' windows reach, and the fade
    for number in (3, 4, 5):
        parts += [say(number, "a"), silence]
    for number, part in enumerate(parts):
        if number % 2 == 0:
            insides.append(slice(length + margin, length + len(part) - margin))
        length += len(part)
    signal = np.concatenate(parts)
    return signal + noise(len(signal) / RATE, floor)[: len(signal)], insides


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


@pytest.fixture(scope="module")
def speakers() -> dict[str, SpeakerStatistics]:
    return {
        voice: SpeakerStatistics.from_features([analyse(say(k, voice), CONFIG) for k in (10, 11)])
        for voice in ("a", "b")
    }


@pytest.mark.parametrize("synthesis", ["vocoder", "differential"])
@pytest.mark.parametrize("floor", [-80.0, -60.0])
def test_pauses_keep_their_level(
    speakers: dict[str, SpeakerStatistics], synthesis: str, floor: float
) -> None:
    signal, pauses = talk(floor=floor)
    conversion = Conversion(synthesis=synthesis)  # type: ignore[arg-type]
    network = Applied(1.5, 0.3)
    out = convert_signal(
        signal, network, speakers["a"], speakers["b"], CONFIG, conversion=conversion
    )
    before, after = (analyse(x, CONFIG).level() for x in (signal, out))
    for pause in pauses:
        assert decibels(out[pause]) == pytest.approx(decibels(signal[pause]), abs=0.5)
        frames = slice(-(-pause.start // 80), pause.stop // 80)
        assert after[frames].mean() == pytest.approx(before[frames].mean(), abs=0.5)


def test_pauses_keep_their_level_with_a_vocoder_of_log_mel_spectra() -> None:
    signal, pauses = talk()
    speaker = SpeakerStatistics.from_features([LOG_MEL.analyse(signal)])
    louder = replace(speaker, mean=speaker.mean + np.linspace(2, -2, 80, dtype=np.float32))
    out = convert_signal(signal, Applied(), speaker, louder, LOG_MEL)
    for pause in pauses:
        assert decibels(out[pause]) == pytest.approx(decibels(signal[pause]), abs=0.5)


def test_speech_is_converted_exactly_as_without(speakers: dict[str, SpeakerStatistics]) -> None:
    signal, _ = talk()
    pair = speakers["a"], speakers["b"]
    kept, all_converted = (
        convert_signal(signal, Applied(1.5), *pair, CONFIG, conversion=Conversion(keep_pauses=keep))
        for keep in (True, False)
    )
    features = analyse(signal, CONFIG)
    active = np.repeat(active_frames(features), 80)[: len(signal)]
    # All between two active frames is speech, too.
    inside = active & np.roll(active, 80)
    np.testing.assert_array_equal(kept[inside], all_converted[inside])
    assert not np.array_equal(kept, all_converted)


@pytest.mark.parametrize("below", [25.0, 35.0])
def test_quiet_fricatives_are_not_lost(
    speakers: dict[str, SpeakerStatistics], below: float
) -> None:
    """As in "huff": a hiss after a vowel, a long way below it, ends before a pause."""
    signal, _ = talk(floor=-85)
    hiss = sosfiltfilt(
        butter(4, 2500, "highpass", fs=RATE, output="sos"),
        np.random.default_rng(1).normal(size=round(0.12 * RATE)),
    )
    loudest = max(decibels(part) for part in np.split(signal[: len(signal) // 400 * 400], 400))
    hiss *= 10 ** ((loudest - below - decibels(hiss)) / 20)
    start = len(signal) - round(0.45 * RATE)
    signal[start : start + len(hiss)] += hiss.astype(np.float32)
    share = speech_share(analyse(signal, CONFIG), FRAME)
    first, last = start // 80 + 2, (start + len(hiss)) // 80 - 2
    out = convert_signal(signal, Applied(), speakers["a"], speakers["b"], CONFIG)
    inside = slice(first * 80, last * 80)
    assert decibels(out[inside]) > decibels(signal[inside]) - 3
    if below < 30:
        assert (share[first:last] == 1).all()


def test_the_fades_are_smooth(speakers: dict[str, SpeakerStatistics]) -> None:
    signal, _ = talk()
    pair = speakers["a"], speakers["b"]
    kept, all_converted = (
        convert_signal(signal, Applied(1.5), *pair, CONFIG, conversion=Conversion(keep_pauses=keep))
        for keep in (True, False)
    )
    share = speech_share(analyse(signal, CONFIG), FRAME)
    assert np.abs(np.diff(share)).max() < 0.2  # 30 ms from 0 to 1
    fading = np.interp(np.arange(len(signal)) / 80, np.arange(len(share)), share)
    inside = np.flatnonzero((fading > 0) & (fading < 1))[:-1]
    assert len(inside) > RATE * 0.1
    steps = [np.abs(np.diff(x))[inside].max() for x in (kept, all_converted, signal)]
    assert steps[0] < 1.1 * max(steps[1:])


def test_an_offset_of_the_recording_does_not_come_and_go(
    speakers: dict[str, SpeakerStatistics],
) -> None:
    signal, _ = talk()
    pair = speakers["a"], speakers["b"]
    plain, offset = (
        convert_signal(x.astype(np.float32), Applied(), *pair, CONFIG)
        for x in (signal, signal + 0.05)
    )
    low = butter(2, 15, fs=RATE, output="sos")
    rumble = [np.abs(sosfiltfilt(low, x)[RATE // 4 : -RATE // 4]).max() for x in (plain, offset)]
    assert rumble[1] < rumble[0] + 0.002


def test_quiet_words_beside_a_shout_are_no_pause() -> None:
    words, _ = talk(pause=0.3, floor=-100)
    shout = np.concatenate([say(6, "a"), np.zeros(3 * RATE, np.float32)])
    signal = np.concatenate([shout, 10 ** (-36 / 20) * words])
    features = analyse(signal, CONFIG)
    later = slice(len(shout) // 80 + 1, None)
    spoken = active_frames(analyse(words, CONFIG))[1 : 1 + len(features.f0[later])]
    assert not active_frames(features)[later].all()
    assert (speech_share(features, FRAME)[later][: len(spoken)][spoken] > 0.99).all()


def test_nothing_is_a_pause_where_the_background_is_as_loud_as_speech() -> None:
    signal, _ = talk(floor=-30)
    assert (speech_share(analyse(signal, CONFIG), FRAME) == 1).all()


@pytest.mark.parametrize("synthesis", ["vocoder", "differential"])
def test_a_section_that_is_one_long_pause_stays_as_it_is(
    speakers: dict[str, SpeakerStatistics], synthesis: str
) -> None:
    signal = noise(2.0, -60)
    conversion = Conversion(synthesis=synthesis)  # type: ignore[arg-type]
    out = convert_signal(
        signal,
        Applied(1.5),
        *(speakers["a"], speakers["b"]),
        CONFIG,
        conversion=conversion,
        range_db=-10,  # the loudest speech of the whole recording is elsewhere, and much louder
    )
    assert decibels(out) == pytest.approx(decibels(signal), abs=0.5)


def test_digital_silence_stays_digital(speakers: dict[str, SpeakerStatistics]) -> None:
    silence = np.zeros(RATE // 2, dtype=np.float32)
    signal = np.concatenate([silence, say(3, "a"), silence])
    out = convert_signal(signal, Applied(), speakers["a"], speakers["b"], CONFIG)
    edge = RATE // 2 - round(0.15 * RATE)
    assert decibels(np.concatenate([out[:edge], out[-edge:]]) + 1e-12) < -100


def test_the_level_does_not_drift(speakers: dict[str, SpeakerStatistics]) -> None:
    """The same words again and again for over a minute, which is synthesised in several parts."""
    signal, _ = talk()
    times = -(-70 * RATE // len(signal))
    assert times > 4
    long = np.tile(signal, times)
    out = convert_signal(long, Applied(1.2), speakers["a"], speakers["b"], CONFIG)
    levels = [decibels(part) for part in np.split(out, times)]
    assert max(levels) - min(levels) < 0.5
    assert np.mean(levels) == pytest.approx(decibels(signal), abs=0.5)


def test_parts_of_speech_without_a_pause_join_without_a_click(
    speakers: dict[str, SpeakerStatistics],
) -> None:
    """A vowel of 40 s leaves no pause to cut at."""
    clock = np.arange(40 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(130 * (1 + 0.1 * np.sin(2 * np.pi * 0.5 * clock))) / RATE
    vowel = sum(np.cos(k * phase) / k for k in range(1, 30)) * 0.05
    vowel = vowel.astype(np.float32)
    out = convert_signal(vowel, Applied(), speakers["a"], speakers["a"], CONFIG)
    steps = np.abs(np.diff(out)).reshape(-1)[: 39 * RATE].reshape(-1, RATE // 10).max(axis=1)
    assert steps[5:].max() < 1.5 * np.median(steps)
    levels = np.array([decibels(x) for x in out[: 39 * RATE].reshape(-1, RATE // 20)])
    wanted = np.array([decibels(x) for x in vowel[: 39 * RATE].reshape(-1, RATE // 20)])
    assert np.abs(levels - wanted)[10:].max() < 3
