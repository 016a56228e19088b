"""WORLD analysis and synthesis: known signals, odd signals, long signals, and back again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from cyclegan_media.errors import UserError
from cyclegan_media.speech import AnalysisConfig, Features, analyse, find_aperiodicity, synthesise
from cyclegan_media.speech import analysis as module

RATE = 16000
CONFIG = AnalysisConfig(f0="dio")


def vowel(seconds: float, pitch: float = 140.0, rate: int = RATE) -> np.ndarray:
    """Pulses through three resonances, gliding in pitch, with a pause in the middle."""
    clock = np.arange(int(seconds * rate)) / rate
    glide = pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * clock))
    phase = 2 * np.pi * np.cumsum(glide) / rate
    signal = np.zeros_like(clock)
    for harmonic in range(1, int(rate / 2 / pitch / 1.3)):
        hertz = harmonic * pitch
        gain = sum(1 / (1 + ((hertz - at) / 90) ** 2) for at in (600, 1200, 2500)) + 0.02
        signal += gain * np.cos(harmonic * phase) / harmonic
    middle = np.abs(clock - seconds / 2) < 0.08
    noise = np.random.default_rng(0).normal(size=len(clock))
    signal = 0.1 * np.where(middle, 0, signal) + 1e-4 * noise
    return signal.astype(np.float32)


def distortion(x: np.ndarray, y: np.ndarray) -> float:
    """Mel-cepstral distortion in dB of aligned ``(coefficients, frames)``."""
    return float((10 / np.log(10) * np.sqrt(2 * np.square(x - y).sum(0))).mean())


@pytest.mark.parametrize("method", ["harvest", "dio"])
def test_the_pitch_of_a_known_signal(method: str) -> None:
    features = analyse(vowel(1.0), AnalysisConfig.model_validate({"f0": method}))
    clock = np.arange(features.frames) * 0.005
    pitch = 140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * clock))
    inside = (clock > 0.1) & (clock < 0.9) & (np.abs(clock - 0.5) > 0.13)
    assert features.voiced[inside].mean() > 0.95
    heard = inside & features.voiced
    assert np.abs(np.log(features.f0[heard] / pitch[heard])).max() < 0.02
    assert not features.voiced[np.abs(clock - 0.5) < 0.03].any()


def test_features_have_the_shapes_and_kinds_they_promise() -> None:
    config = AnalysisConfig(f0="dio", coefficients=30, frame_period=10)
    features = analyse(vowel(0.5), config, aperiodicity=True)
    assert features.frames == config.frames(8000) == 51
    assert features.samples == 8000
    assert features.mel_cepstrum.shape == (30, 51)
    assert features.energy.shape == features.level().shape == (51,)
    assert features.aperiodicity is not None
    assert features.aperiodicity.shape == (51, config.fft_size // 2 + 1)
    assert {value.dtype for value in vars(features).values() if isinstance(value, np.ndarray)} == {
        np.dtype(np.float32)
    }
    assert analyse(vowel(0.5), config).aperiodicity is None


def test_louder_speech_differs_in_energy_alone() -> None:
    soft, loud = (analyse(gain * vowel(0.6), CONFIG) for gain in (0.5, 1.0))
    np.testing.assert_allclose(loud.energy - soft.energy, np.log(2), atol=1e-3)
    np.testing.assert_allclose(loud.level() - soft.level(), 6.02, atol=0.01)
    np.testing.assert_allclose(loud.mel_cepstrum, soft.mel_cepstrum, atol=1e-3)


def test_copy_synthesis_gives_the_same_features_again() -> None:
    config = AnalysisConfig(f0="harvest", coefficients=40)
    signal = vowel(1.0)
    features = analyse(signal, config, aperiodicity=True)
    again = synthesise(features, config)
    assert again.shape == signal.shape
    assert again.dtype == np.float32
    heard = analyse(again, config)
    speech = features.level() > features.level().max() - 30
    both = speech & features.voiced & heard.voiced
    assert both.sum() > 0.9 * (speech & features.voiced).sum()
    assert np.abs(np.log(heard.f0[both] / features.f0[both])).mean() < 0.01
    unlike = np.roll(features.mel_cepstrum, 60, axis=1)
    assert distortion(heard.mel_cepstrum[:, both], features.mel_cepstrum[:, both]) < 0.25 * (
        distortion(unlike[:, both], features.mel_cepstrum[:, both])
    )


def test_copy_synthesis_of_real_speech_stays_near_it(shared_data) -> None:  # type: ignore[no-untyped-def]
    import soundfile

    signal, _ = soundfile.read(shared_data / "vcc2016/SF1/200001.wav", dtype="float32")
    config = AnalysisConfig()
    features = analyse(signal, config, aperiodicity=True)
    heard = analyse(synthesise(features, config), config)
    speech = features.level() > features.level().max() - 30
    # 24 coefficients smooth the spectrum; another speaker of the same sentence is at 9.75 dB.
    assert distortion(heard.mel_cepstrum[:, speech], features.mel_cepstrum[:, speech]) < 3


@pytest.mark.parametrize("method", ["harvest", "dio"])
def test_a_long_recording_is_analysed_as_if_at_once(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = vowel(4.0)
    config = AnalysisConfig.model_validate({"f0": method})
    whole = analyse(signal, config, aperiodicity=True)
    monkeypatch.setattr(module, "_BLOCK_SECONDS", 1.0)
    parts = analyse(signal, config, aperiodicity=True)
    assert parts.frames == whole.frames == 801
    assert (parts.voiced == whole.voiced).mean() > 0.995
    both = parts.voiced & whole.voiced
    np.testing.assert_allclose(parts.f0[both], whole.f0[both], rtol=2e-3)
    np.testing.assert_allclose(parts.mel_cepstrum[:, both], whole.mel_cepstrum[:, both], atol=5e-3)
    assert parts.aperiodicity is not None
    assert whole.aperiodicity is not None
    assert np.abs(parts.aperiodicity - whole.aperiodicity).mean() < 0.01


def test_the_frames_of_a_part_are_those_of_the_whole_at_odd_rates() -> None:
    # 110.25 samples per frame: blocks must begin where a frame does.
    config = AnalysisConfig(sample_rate=22050, f0="dio")
    signal = vowel(23.0, rate=22050)
    features = analyse(signal, config)
    assert features.frames == config.frames(len(signal))
    late = analyse(signal[-22050 * 2 :], config)  # starts on a frame, 21 s in
    np.testing.assert_allclose(
        features.mel_cepstrum[:, 4220:4560], late.mel_cepstrum[:, 20:360], atol=1e-3
    )


SILENCE = {
    "silence": np.zeros(8000),
    "a constant": np.full(8000, 0.3),
    "almost silence": 1e-9 * np.random.default_rng(0).normal(size=8000),
    "one sample": np.array([0.5]),
    "less than a window": 0.1 * np.random.default_rng(1).normal(size=100),
    "a click": np.eye(1, 8000, 4000)[0],
    "full scale": np.sign(np.sin(np.arange(8000) * 0.07)),
}


@pytest.mark.parametrize("method", ["harvest", "dio"])
@pytest.mark.parametrize("name", SILENCE)
def test_odd_recordings_are_analysed_and_synthesised(name: str, method: str) -> None:
    config = AnalysisConfig.model_validate({"f0": method})
    signal = SILENCE[name]
    features = analyse(signal, config, aperiodicity=True)
    assert features.frames == config.frames(len(signal))
    for value in vars(features).values():
        assert np.isfinite(value).all()
    again = synthesise(features, config)
    assert again.shape == signal.shape
    assert np.isfinite(again).all()
    if "silence" in name or "constant" in name:
        assert np.abs(again).max() < 1e-6


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_other_sample_rates(rate: int) -> None:
    config = AnalysisConfig(sample_rate=rate, f0="dio")
    signal = vowel(0.6, rate=rate)
    features = analyse(signal, config, aperiodicity=True)
    assert features.voiced.mean() > 0.4
    assert synthesise(features, config).shape == signal.shape


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 100)), "one channel"),
        (np.zeros(0), "no samples"),
        (np.array([0.0, np.nan]), "not finite"),
        (np.array([0.0, np.inf]), "not finite"),
    ],
)
def test_what_is_no_recording_is_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        analyse(samples, CONFIG)


def test_aperiodicity_apart_is_the_same() -> None:
    signal = vowel(0.6)
    features = analyse(signal, CONFIG, aperiodicity=True)
    found = find_aperiodicity(signal, features.f0, CONFIG)
    assert features.aperiodicity is not None
    np.testing.assert_allclose(found, features.aperiodicity, atol=0.05)


def test_synthesis_refuses_what_does_not_fit() -> None:
    features = analyse(vowel(0.3), CONFIG, aperiodicity=True)
    with pytest.raises(UserError, match="aperiodicity=True"):
        synthesise(replace(features, aperiodicity=None), CONFIG)
    with pytest.raises(UserError, match="mel_cepstrum has the shape"):
        synthesise(features, AnalysisConfig(coefficients=30))
    cut: Features = replace(features, f0=features.f0[:-1])
    with pytest.raises(UserError, match="is needed"):
        synthesise(cut, CONFIG)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"f0_floor": 300.0, "f0_ceil": 400.0}, "twice f0_floor"),
        ({"sample_rate": 1000}, "sample_rate"),
        ({"f0": "pyin"}, "f0"),
        ({"mels": 80}, "mels"),
    ],
)
def test_settings_are_checked(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AnalysisConfig.model_validate(keys)


def test_pyworld_is_imported_without_its_warning() -> None:
    # It imports pkg_resources, which warns; users cannot help it.
    code = "from cyclegan_media.speech.analysis import world; world().harvest"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    assert "pkg_resources" not in done.stderr
