"""Voices at 24 and 48 kHz: recipes, a training, a conversion with its high frequencies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.optimize import minimize_scalar
from scipy.signal import butter, sosfilt
from torch import nn

from cyclegan_media.datasets.discover import find_files
from cyclegan_media.datasets.recordings import check_rates
from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import read_rate
from cyclegan_media.pretrained import load_model
from cyclegan_media.recipe import load_recipe
from cyclegan_media.speech import AnalysisConfig, LogMelConfig, analyse, synthesise
from cyclegan_media.speech.mel_cepstrum import warp
from cyclegan_media.training import train
from cyclegan_media.translate.voice import translate_recording

RECIPES = [f"{system}_{rate}khz" for system in ("cyclegan_vc", "cyclegan_vc2") for rate in (24, 48)]

SLIM = {
    "cyclegan_vc_24khz": {
        "generator": "{name: gated_cnn, coefficients: 36, width: 2, residual_blocks: 1}",
        "discriminator": "{name: gated_cnn_discriminator, coefficients: 36, width: 2}",
    },
    "cyclegan_vc2_48khz": {
        "generator": "{name: vc2, coefficients: 48, width: 2, residual_blocks: 1}",
        "discriminator": "{name: vc2_discriminator, coefficients: 48, width: 2}",
    },
}


class Same(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def babble(rate: int, pitch: float, seed: int = 0, seconds: float = 1.6) -> np.ndarray:
    """Vowels and hisses by turns; the hisses, of 6 to 11 kHz, are what a low rate would lose."""
    random = np.random.default_rng(seed)
    clock = np.arange(int(seconds * rate)) / rate
    glide = pitch * (1 + 0.15 * np.sin(2 * np.pi * (0.7 + 0.1 * seed) * clock))
    phase = 2 * np.pi * np.cumsum(glide) / rate
    vowel = np.zeros_like(clock)
    for k in range(1, int(5000 / pitch)):
        gain = sum(1 / (1 + ((k * pitch - at) / 90) ** 2) for at in (600, 1200 + pitch, 2500))
        vowel += (gain + 0.02) * np.cos(k * phase) / k
    band = (6000, min(11000, 0.45 * rate))
    filtered = butter(4, band, "bandpass", fs=rate, output="sos")
    hiss = sosfilt(filtered, random.normal(size=len(clock)))
    hissing = (clock * 4).astype(int) % 4 == 3
    return (0.1 * np.where(hissing, hiss, vowel) + 1e-4 * random.normal(size=len(clock))).astype(
        np.float32
    )


def voices(folder: Path, rates: dict[str, int]) -> Path:
    for (side, rate), pitch in zip(rates.items(), (110.0, 200.0), strict=True):
        (folder / side).mkdir(parents=True)
        for k in range(3):
            soundfile.write(folder / side / f"{k}.wav", babble(rate, pitch, k), rate)
    return folder


def share_above(samples: np.ndarray, rate: int, hertz: float) -> float:
    """Of the power, what lies above a frequency."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return float(power[np.fft.rfftfreq(len(samples), 1 / rate) > hertz].sum() / power.sum())


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_analyse_the_whole_band_on_the_mel_scale(name: str) -> None:
    recipe = load_recipe(name)
    analysis = recipe.data.analysis
    rate = analysis.sample_rate
    assert rate == 1000 * int(name.rpartition("_")[2].removesuffix("khz"))
    omega = np.linspace(0, np.pi, 2000)
    mel = np.log(1 + omega / np.pi * rate / 2 / 1000)

    def distance(alpha: float) -> float:
        return float(np.mean((warp(omega, alpha) - np.pi * mel / mel[-1]) ** 2))

    nearest = minimize_scalar(distance, bounds=(0, 0.9), method="bounded").x
    assert analysis.alpha == pytest.approx(nearest, abs=0.001)
    # Three periods of the lowest pitch, as at 16 kHz, in the next power of two.
    assert analysis.fft_size >= 3 * rate / analysis.f0_floor
    base = load_recipe(name.rpartition("_")[0])
    assert analysis.coefficients >= base.data.analysis.coefficients
    assert recipe.trainer == base.trainer
    assert recipe.objective == base.objective


@pytest.mark.parametrize("name", RECIPES)
def test_copy_synthesis_keeps_what_lies_above_8_khz(name: str) -> None:
    config = load_recipe(name).data.analysis
    signal = babble(config.sample_rate, 140)
    again = synthesise(analyse(signal, config, aperiodicity=True), config)
    before, after = (share_above(x, config.sample_rate, 8000) for x in (signal, again))
    assert before > 0.01
    assert 10 * abs(np.log10(after / before)) < 3


@pytest.mark.parametrize("name", SLIM)
def test_a_model_of_a_high_rate_writes_files_of_that_rate(name: str, tmp_path: Path) -> None:
    rate = load_recipe(name).data.analysis.sample_rate
    tiny = {
        **{f"model.{kind}": shape for kind, shape in SLIM[name].items()},
        **{"data.frames": 64, "data.analysis.f0": "dio", "trainer.steps": 2},
        **{"trainer.decay_steps": 1, "trainer.log_every": 1, "trainer.validate_every": 3},
        **{"trainer.preview_every": 3, "trainer.checkpoint_every": 3},
    }
    recipe = load_recipe(name, [f"{key}={value}" for key, value in tiny.items()])
    folder = voices(tmp_path / "data", {"a": rate, "b": rate})
    files = find_files(folder / "a", folder / "b", ("audio",))
    train(recipe, files, tmp_path / "run", device="cpu", progress=False)
    model = load_model(tmp_path / "run" / "model")
    assert model.config.analysis is not None
    assert model.config.analysis["sample_rate"] == rate
    for side, directed in (("a", "a2b"), ("b", "b2a")):
        source, target = folder / side / "0.wav", tmp_path / f"{directed}.wav"
        translate_recording(model, source, target, directed)  # type: ignore[arg-type]
        samples, written = soundfile.read(target)
        assert written == rate == read_rate(target)
        original, _ = soundfile.read(source)
        assert len(samples) == len(original)
        assert np.isfinite(samples).all()
        assert samples.any()
    # A few steps teach nonsense, so the band is told by a network that changes nothing.
    of_a = {key: value for key, value in model.statistics.items() if key.startswith("a.")}
    same = replace(
        model,
        generators={"a2b": Same()},
        statistics=of_a | {f"b{key[1:]}": value for key, value in of_a.items()},
    )
    target = translate_recording(same, folder / "a" / "0.wav", tmp_path / "same.wav")
    before, after = (soundfile.read(path)[0] for path in (folder / "a" / "0.wav", target))
    shares = [share_above(x, rate, 8000) for x in (before, after)]
    assert shares[0] > 0.01
    assert 10 * abs(np.log10(shares[1] / shares[0])) < 3


def test_recordings_of_unlike_rates_are_refused(tmp_path: Path) -> None:
    folder = voices(tmp_path / "data", {"a": 48000, "b": 24000})
    files = find_files(folder / "a", folder / "b", ("audio",))
    recipe = load_recipe("cyclegan_vc_48khz")
    with pytest.raises(UserError) as caught:
        train(recipe, files, tmp_path / "run", device="cpu", progress=False)
    message = str(caught.value)
    assert str(folder / "b" / "0.wav") in message
    assert str(folder / "a" / "0.wav") in message
    assert "set data.analysis.sample_rate to 24000" in message
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    check_rates(files.train_a + files.train_b, AnalysisConfig(sample_rate=24000))
    check_rates(files.train_a + files.train_b, LogMelConfig(sample_rate=48000, f_max=12000))
    with pytest.raises(UserError, match=r"set data\.analysis\.f_max to 12000"):
        check_rates(files.train_a + files.train_b, LogMelConfig(sample_rate=48000, f_max=None))


def test_recordings_that_are_all_of_a_lower_rate_are_told_of(tmp_path: Path) -> None:
    folder = voices(tmp_path / "data", {"a": 16000, "b": 16000})
    said: list[str] = []
    paths = sorted(folder.rglob("*.wav"))
    check_rates(paths, AnalysisConfig(sample_rate=24000), said.append)
    assert len(said) == 1
    assert "nothing above 8000 Hz" in said[0]
    check_rates(paths, AnalysisConfig(), said.append)
    assert len(said) == 1
