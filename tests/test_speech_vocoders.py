"""Waveforms of log-mel spectra: copy synthesis, lengths, and what a conversion must keep."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import resample
from cyclegan_media.speech import (
    GriffinLim,
    LogMelConfig,
    SpeakerStatistics,
    active_frames,
    check_vocoder,
    convert_features,
    convert_signal,
    vocode,
)
from cyclegan_media.speech.griffin_lim import mel_to_magnitude
from cyclegan_media.speech.log_mel import mel_filters

HIFIGAN = LogMelConfig()
VOCOS = LogMelConfig(
    sample_rate=24000, bands=100, f_max=None, filters="htk", floor=1e-7, centred=True
)


def speech(config: LogMelConfig = HIFIGAN, voice: str = "a", sentence: int = 3) -> np.ndarray:
    spoken = say(sentence, voice)  # type: ignore[arg-type]
    return resample(spoken[None], 16000, config.sample_rate)[0]


def distance(signal: np.ndarray, wanted: np.ndarray, config: LogMelConfig) -> float:
    """Mean distance of the log-mel spectra over frames of speech."""
    there, here = (config.analyse(samples) for samples in (signal[: len(wanted)], wanted))
    return float(np.abs(there.log_mel - here.log_mel)[:, active_frames(here)].mean())


def zero_phase(log_mel: np.ndarray, config: LogMelConfig) -> np.ndarray:
    return librosa.istft(
        mel_to_magnitude(log_mel, config), hop_length=config.hop, n_fft=config.n_fft
    )


def check_copy(signal: np.ndarray, config: LogMelConfig) -> None:
    log_mel = config.analyse(signal).log_mel
    copy = GriffinLim(config)(log_mel)
    assert copy.dtype == np.float32
    assert copy.shape == (config.samples(log_mel.shape[1]),)
    found = distance(copy, signal, config)
    untuned = np.pad(zero_phase(log_mel, config), (0, config.n_fft))
    noise = np.random.default_rng(0).normal(size=len(signal)) * signal.std()
    assert found < 0.5 * distance(untuned, signal, config)
    assert found < 0.25 * distance(noise, signal, config)
    # Frames lie where they lay: half a hop to either side is further away.
    late, early = np.roll(copy, config.hop // 2), np.roll(copy, -config.hop // 2)
    assert found < min(distance(late, signal, config), distance(early, signal, config))


@pytest.mark.parametrize("config", [HIFIGAN, VOCOS], ids=["hifigan", "vocos"])
def test_a_copy_by_griffin_lim_is_near(config: LogMelConfig) -> None:
    check_copy(speech(config), config)


def test_a_copy_of_a_real_voice_is_near(shared_data: Path) -> None:
    samples, rate = soundfile.read(shared_data / "vcc2016/SF1/200001.wav", dtype="float32")
    check_copy(resample(samples[None], rate, HIFIGAN.sample_rate)[0], HIFIGAN)


def test_magnitudes_have_the_bands_that_they_are_made_of() -> None:
    log_mel = HIFIGAN.analyse(speech()).log_mel
    magnitude = mel_to_magnitude(log_mel, HIFIGAN)
    assert magnitude.shape == (513, log_mel.shape[1])
    assert (magnitude >= 0).all()
    assert not magnitude[400:].any()  # above 8 kHz there are no bands
    again = np.log(np.maximum(mel_filters(HIFIGAN) @ magnitude, 1e-5))
    assert np.abs(again - log_mel).mean() < 0.01
    assert not mel_to_magnitude(np.full((80, 3), np.log(1e-5), np.float32), HIFIGAN).any()


def test_the_same_spectrum_sounds_the_same() -> None:
    log_mel = HIFIGAN.analyse(speech()).log_mel[:, :40]
    vocoder = GriffinLim(HIFIGAN)
    np.testing.assert_array_equal(vocoder(log_mel), vocoder(log_mel))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames_are_enough(frames: int) -> None:
    log_mel = HIFIGAN.analyse(speech()).log_mel[:, 40 : 40 + frames]
    made = GriffinLim(HIFIGAN)(log_mel)
    assert made.shape == (frames * 256,)
    assert np.isfinite(made).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sample_rate": 24000}, "sample_rate 22050, .* has sample_rate 24000"),
        ({"hop": 128}, "hop 256, .* has hop 128"),
        ({"bands": 100}, "bands 80, .* has bands 100"),
        ({"f_max": None}, "f_max 8000, .* has f_max 11025"),
        ({"filters": "htk"}, "filters slaney, .* has filters htk"),
        ({"centred": True}, "centred false, .* has centred true"),
    ],
)
def test_a_vocoder_for_other_spectra_is_refused(change: dict, says: str) -> None:
    with pytest.raises(UserError, match=f"^vocoder griffin_lim: is for spectra of {says}"):
        check_vocoder(GriffinLim(HIFIGAN), HIFIGAN.model_copy(update=change))


def test_the_floor_and_the_name_of_the_highest_frequency_do_not_matter() -> None:
    check_vocoder(GriffinLim(HIFIGAN), HIFIGAN.model_copy(update={"floor": 1e-7}))
    check_vocoder(
        GriffinLim(HIFIGAN.model_copy(update={"f_max": None})),
        HIFIGAN.model_copy(update={"f_max": 11025.0}),
    )


class Same(nn.Module):
    """Returns what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.one


def statistics(voice: str) -> SpeakerStatistics:
    return SpeakerStatistics.from_features(
        [HIFIGAN.analyse(speech(HIFIGAN, voice, number)) for number in (10, 11)]
    )


def test_speech_gets_the_targets_bands_and_pauses_stay() -> None:
    a, b = statistics("a"), statistics("b")
    quiet = np.full(2 * 22050, 0.0)
    features = HIFIGAN.analyse(np.concatenate([quiet, speech(), quiet]))
    converted = convert_features(features, Same(), a, b)
    active = active_frames(features)
    inside = np.flatnonzero(active)[0] + 1, np.flatnonzero(active)[-1]
    wanted = b.destandardise(a.standardise(features.log_mel))
    np.testing.assert_allclose(
        converted.log_mel[:, slice(*inside)], wanted[:, slice(*inside)], atol=1e-3
    )
    np.testing.assert_allclose(converted.log_mel[:, :100], features.log_mel[:, :100], atol=1e-3)
    assert np.abs(wanted[:, :100] - features.log_mel[:, :100]).mean() > 0.1


@pytest.mark.parametrize("samples", [1, 255, 5000, 22050])
def test_conversion_keeps_the_length_to_the_sample(samples: int) -> None:
    a, b = statistics("a"), statistics("b")
    for config in (HIFIGAN, HIFIGAN.model_copy(update={"centred": True})):
        out = convert_signal(speech()[8000 : 8000 + samples], Same(), a, b, config)
        assert out.shape == (samples,)
        assert np.isfinite(out).all()


def test_long_recordings_are_converted_in_parts_without_seams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vocode, "_PART_SECONDS", 3.0)
    a = statistics("a")
    again = np.concatenate([speech(), np.zeros(11025, np.float32)])
    signal = np.resize(again, 8 * 22050)
    out = convert_signal(signal, Same(), a, a, HIFIGAN)
    assert out.shape == signal.shape
    noise = np.random.default_rng(0).normal(size=len(signal)) * signal.std()
    assert distance(out, signal, HIFIGAN) < 0.25 * distance(noise, signal, HIFIGAN)
    # Nowhere, a cut included, does the level of half a second fall or rise much.
    halves = [np.square(part.reshape(-1, 11025)).mean(axis=1) for part in (out, signal)]
    loud = halves[1] > 0.05 * halves[1].max()
    ratio = 10 * np.log10(halves[0][loud] / halves[1][loud])
    assert np.abs(ratio).max() < 6


def test_the_vocoder_asked_for_makes_the_waveform() -> None:
    class Tone:
        name, convention = "tone", HIFIGAN

        def __call__(self, log_mel: np.ndarray) -> np.ndarray:
            clock = np.arange(log_mel.shape[1] * 256) / 22050
            return np.sin(2 * np.pi * 1000 * clock).astype(np.float32)

    a, signal = statistics("a"), speech()
    out = convert_signal(signal, Same(), a, a, HIFIGAN, Tone())
    spectrum = np.abs(np.fft.rfft(out))
    assert np.fft.rfftfreq(len(out), 1 / 22050)[spectrum.argmax()] == pytest.approx(1000, abs=2)
    place = np.minimum(np.arange(len(signal)) // 256, HIFIGAN.frames(len(signal)) - 1)
    spoken = active_frames(HIFIGAN.analyse(signal))[place]
    level = [10 * np.log10(np.square(part[spoken]).mean()) for part in (out, signal)]
    assert level[0] == pytest.approx(level[1], abs=0.5)
