"""Log-mel analysis: values by hand and by librosa, odd lengths, and what vocoders are held to."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest

from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import resample
from cyclegan_media.speech import (
    AnalysisConfig,
    LogMelConfig,
    SpeakerStatistics,
    active_frames,
    analyse_corpus,
    has_speech,
    parse_analysis,
)

CONFIG = LogMelConfig()
CENTRED = LogMelConfig(
    sample_rate=24000, bands=100, f_max=None, filters="htk", floor=1e-7, centred=True
)


def speech(config: LogMelConfig = CONFIG, sentence: int = 3) -> np.ndarray:
    return resample(say(sentence, "a")[None], 16000, config.sample_rate)[0]


def test_a_sine_by_hand() -> None:
    # At the frequency of a bin, a Hann window of N samples turns a sine of amplitude A into the
    # magnitude A N / 4 there and A N / 8 at the two bins beside it; Slaney's scale is linear below
    # 1 kHz, 200/3 Hz a mel, so bands there are triangles of equal width and area 1.
    amplitude, bin_hertz = 0.5, 22050 / 1024
    hertz = 20 * bin_hertz
    clock = np.arange(40 * 256) / 22050
    found = CONFIG.analyse(amplitude * np.sin(2 * np.pi * hertz * clock)).log_mel
    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)  # 8 kHz in mel
    step = top / 81 * 200 / 3  # Hz between the centres of bands
    wanted = []
    for band in range(1, 16):
        total = 0.0
        for offset, share in ((-1, 1 / 8), (0, 1 / 4), (1, 1 / 8)):
            away = abs(hertz + offset * bin_hertz - band * step)
            total += max(0.0, 1 - away / step) / step * amplitude * 1024 * share
        wanted.append(np.log(max(total, 1e-5)))
    audible = np.array(wanted) > -11
    assert 3 <= audible.sum() <= 4
    middle = found[:15, 5:-5]
    np.testing.assert_allclose(
        middle[audible], np.array(wanted)[audible][:, None] + 0 * middle[audible], atol=1e-3
    )
    np.testing.assert_allclose(middle[~audible], np.log(1e-5), atol=1e-3)


@pytest.mark.parametrize("config", [CONFIG, CENTRED], ids=["hifigan", "vocos"])
def test_speech_as_librosa_analyses_it(config: LogMelConfig) -> None:
    signal = speech(config)
    signal = signal[: len(signal) // config.hop * config.hop]
    margin = 0 if config.centred else (config.n_fft - config.hop) // 2
    mel = librosa.feature.melspectrogram(
        y=np.pad(signal, margin, mode="reflect"),
        sr=config.sample_rate,
        n_fft=1024,
        hop_length=256,
        center=config.centred,
        pad_mode="reflect",
        power=1.0,
        n_mels=config.bands,
        fmax=8000 if config is CONFIG else 12000,
        htk=config.centred,
        norm=None if config.centred else "slaney",
    )
    found = config.analyse(signal)
    assert found.log_mel.dtype == np.float32
    assert found.frames == len(signal) // 256 + config.centred == config.frames(len(signal))
    np.testing.assert_allclose(found.log_mel, np.log(np.maximum(mel, config.floor)), atol=1e-4)


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 1023, 5000])
@pytest.mark.parametrize("config", [CONFIG, CENTRED], ids=["hifigan", "vocos"])
def test_every_length_is_covered_by_frames(config: LogMelConfig, samples: int) -> None:
    found = config.analyse(speech(config)[20000 : 20000 + samples])
    assert found.samples == samples
    assert found.log_mel.shape == (config.bands, config.frames(samples))
    assert len(found.voiced) == found.frames
    assert samples <= config.samples(found.frames) < samples + 256
    assert np.isfinite(found.log_mel).all()


def test_long_recordings_are_analysed_as_short_ones() -> None:
    signal = np.resize(speech(), 2100 * 256)  # more than a block
    whole = CONFIG.analyse(signal)
    late = CONFIG.analyse(signal[2000 * 256 :])
    np.testing.assert_allclose(whole.log_mel[:, 2010:2090], late.log_mel[:, 10:90], atol=1e-5)


def test_silence_is_the_floor_and_no_speech() -> None:
    found = CONFIG.analyse(np.zeros(10000))
    np.testing.assert_allclose(found.log_mel, np.log(1e-5), atol=1e-6)
    assert not active_frames(found).any()
    assert not has_speech(found)
    # So are what cannot be heard, and the noise of rounding to 16 bits.
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 10000) / 32768
    assert not active_frames(CONFIG.analyse(noise)).any()
    assert not active_frames(CONFIG.analyse(np.full(10000, 0.2))).any()


def test_speech_is_told_from_pauses_and_noise() -> None:
    sentence = speech()
    quiet = np.zeros(22050)
    found = CONFIG.analyse(np.concatenate([quiet, sentence, quiet]))
    active = np.flatnonzero(active_frames(found))
    assert has_speech(found)
    edge = 22050 // 256
    assert edge - 4 <= active[0]
    assert active[-1] <= found.frames - edge + 4
    assert not has_speech(CONFIG.analyse(0.01 * np.random.default_rng(0).normal(size=22050)))


def test_gain_is_an_offset() -> None:
    signal = speech()
    loud, soft = (CONFIG.analyse(gain * signal) for gain in (1.0, 0.5))
    above = soft.log_mel > np.log(2e-5)
    np.testing.assert_allclose((loud.log_mel - soft.log_mel)[above], np.log(2), atol=1e-4)
    speech_frames = active_frames(loud)
    difference = (loud.level() - soft.level())[speech_frames]
    assert np.median(difference) == pytest.approx(20 * np.log10(2), abs=0.1)


def test_bands_are_standardised_over_what_is_no_pause() -> None:
    items = [CONFIG.analyse(speech(CONFIG, number)) for number in (3, 4)]
    statistics = SpeakerStatistics.from_features(items)
    joined = np.concatenate([item.log_mel[:, active_frames(item)] for item in items], axis=1)
    standardised = statistics.standardise(joined)
    np.testing.assert_allclose(standardised.mean(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(standardised.std(axis=1), 1, atol=1e-3)
    assert not statistics.is_voiced  # the bands hold the pitch
    again = SpeakerStatistics.from_tensors(statistics.to_tensors("a"), "a")
    np.testing.assert_allclose(again.destandardise(standardised), joined, atol=1e-4)


def read_sentence(path: Path, sample_rate: int) -> np.ndarray:
    return resample(say(int(path.read_text()), "a")[None], 16000, sample_rate)[0]


def refuse(path: Path, sample_rate: int) -> np.ndarray:
    raise AssertionError(f"{path} is analysed again")


def test_a_corpus_is_analysed_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in (3, 4)]
    for path in paths:
        path.write_text(path.stem)
    cache = tmp_path / "cache"
    first = analyse_corpus(paths, CONFIG, read=read_sentence, cache=cache, workers=1)
    again = analyse_corpus(paths, CONFIG, read=refuse, cache=cache, workers=1)
    for one, other, number in zip(first, again, (3, 4), strict=True):
        direct = CONFIG.analyse(speech(CONFIG, number))
        for item in (one, other):
            np.testing.assert_array_equal(item.log_mel, direct.log_mel)
            np.testing.assert_array_equal(item.voiced, direct.voiced)
            assert item.samples == direct.samples
    # Null stands for half the sample rate; other bands are another analysis.
    nyquist = [LogMelConfig(f_max=f_max) for f_max in (None, 11025.0)]
    analyse_corpus(paths, nyquist[0], read=read_sentence, cache=cache, workers=1)
    analyse_corpus(paths, nyquist[1], read=refuse, cache=cache, workers=1)
    with pytest.raises(AssertionError, match="analysed again"):
        analyse_corpus(paths, LogMelConfig(bands=40), read=refuse, cache=cache, workers=1)
    with pytest.raises(AssertionError, match="analysed again"):
        analyse_corpus(paths, AnalysisConfig(f0="dio"), read=refuse, cache=cache, workers=1)


def test_damaged_entries_of_the_cache_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "3.txt"
    path.write_text("3")
    (wanted,) = analyse_corpus([path], CONFIG, read=read_sentence, cache=tmp_path, workers=1)
    (entry,) = (tmp_path / "speech").glob("*.npz")
    with np.load(entry) as file:
        arrays = dict(file)
    np.savez(entry, **{**arrays, "voiced": arrays["voiced"][:-1]})
    (found,) = analyse_corpus([path], CONFIG, read=read_sentence, cache=tmp_path, workers=1)
    np.testing.assert_array_equal(found.voiced, wanted.voiced)


def test_settings_without_a_kind_are_worlds() -> None:
    assert parse_analysis({}) == AnalysisConfig()
    assert parse_analysis({"f0": "dio"}) == AnalysisConfig(f0="dio")
    for config in (CONFIG, CENTRED, AnalysisConfig(f0="dio")):
        assert parse_analysis(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "log_mel", "coefficients": 24}, r"^analysis\.coefficients: "),
        ({"bands": 80}, r"^analysis\.bands: "),
        ({"kind": "lpc"}, r"^analysis: kind must be 'world' or 'log_mel'"),
        ({"kind": "log_mel", "sample_rate": 8000}, r"f_max \(8000\) must be above .* \(4000\)"),
        ({"kind": "log_mel", "hop": 1024}, r"hop \(1024\) must be at most half of n_fft"),
        ({"kind": "log_mel", "hop": 255}, r"hop \(255\) .* by an even number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_analysis(settings)


def test_what_is_no_recording_is_refused() -> None:
    for samples, says in (
        (np.zeros((2, 100)), "need one channel"),
        (np.zeros(0), "no samples"),
        (np.array([0.1, np.nan]), "not finite"),
    ):
        with pytest.raises(UserError, match=says):
            CONFIG.analyse(samples)
