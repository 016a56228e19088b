"""Fast conversion is the same conversion: in bfloat16 a voice stays near to single precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.media.audio import resample
from cyclegan_media.metrics.voice import DECIBEL, METRIC_ANALYSIS, mel_cepstral_distortion
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import (
    AnalysisConfig,
    LogMelConfig,
    SpeakerStatistics,
    active_frames,
    analyse,
)
from cyclegan_media.speech.conversion import convert_features
from cyclegan_media.translate import Translator, precision
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.voice_network import VoiceNetwork

CPU = torch.device("cpu")
WORLD = AnalysisConfig(f0="dio")
WORLD_36 = AnalysisConfig(f0="dio", coefficients=36)
LOG_MEL = LogMelConfig()
NETWORKS: list[tuple[dict[str, Any], AnalysisConfig | LogMelConfig]] = [
    ({"name": "gated_cnn", "width": 16}, WORLD),
    ({"name": "vc2", "width": 16}, WORLD_36),
    ({"name": "mask_vc", "width": 16}, LOG_MEL),
]
AUDIBLE = 0.1
"""dB of mel-cepstral distortion; listeners tell voices apart from some tenths upwards."""

each_network = pytest.mark.parametrize(
    ("spec", "config"), NETWORKS, ids=[spec["name"] for spec, _ in NETWORKS]
)


def sentence(voice: str, config: AnalysisConfig | LogMelConfig) -> np.ndarray:
    return resample(say(3, voice)[None], 16000, config.sample_rate)[0]


def statistics(config: AnalysisConfig | LogMelConfig) -> dict[str, SpeakerStatistics]:
    return {
        voice: SpeakerStatistics.from_features([config.analyse(sentence(voice, config))])
        for voice in ("a", "b")
    }


def trained(spec: dict[str, Any], config: AnalysisConfig | LogMelConfig) -> Backbone:
    """A network that has begun to learn the voice: its output spreads as spectra do."""
    network = build(spec)
    speaker = statistics(config)["a"]
    spectrum = speaker.standardise(config.analyse(sentence("a", config)).spectrum)
    whole = torch.from_numpy(spectrum)[None]
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(60):
        start = 37 * step % (whole.shape[2] - 128)
        part = whole[:, :, start : start + 128]
        optimiser.zero_grad()
        (network(part) - part).abs().mean().backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def model_of(
    network: Backbone, spec: dict[str, Any], config: AnalysisConfig | LogMelConfig
) -> PretrainedModel:
    speakers = statistics(config)
    return PretrainedModel(
        ModelConfig(
            modality="voice", generators={"a2b": spec}, analysis=config.model_dump(mode="json")
        ),
        {"a2b": network},
        {**speakers["a"].to_tensors("a"), **speakers["b"].to_tensors("b")},
    )


def distortion(network: Backbone, config: AnalysisConfig | LogMelConfig) -> float:
    """dB between the spectra converted in bf16 and in fp32, frame by frame, over speech.

    The root mean square difference of the log spectra on their mel axis; of mel-cepstra that is
    the mel-cepstral distortion (Parseval).
    """
    features, speakers = config.analyse(sentence("a", config)), statistics(config)
    spectra = {
        kind: convert_features(
            features, VoiceNetwork(network, Engine(CPU, kind)), speakers["a"], speakers["b"]
        ).spectrum[:, active_frames(features)]
        for kind in ("fp32", "bf16")
    }
    difference = (spectra["bf16"] - spectra["fp32"]).astype(np.float64)
    if isinstance(config, LogMelConfig):
        return float(np.mean(20 / np.log(10) * np.sqrt(np.square(difference).mean(axis=0))))
    return float(np.mean(DECIBEL * np.linalg.norm(difference, axis=0)))


@each_network
def test_single_precision_by_the_engine_is_the_network(
    spec: dict[str, Any], config: AnalysisConfig | LogMelConfig
) -> None:
    network = build(spec).eval().requires_grad_(False)
    x = torch.randn(1, config.coefficients, 64)
    result = VoiceNetwork(network, Engine(CPU, "fp32"))(x)
    torch.testing.assert_close(result, network(x), atol=2e-5, rtol=0)


@each_network
def test_bf16_cannot_be_heard_beside_fp32_with_random_weights(
    spec: dict[str, Any], config: AnalysisConfig | LogMelConfig
) -> None:
    network = build(spec).eval().requires_grad_(False)
    assert 0 < distortion(network, config) < AUDIBLE


@each_network
def test_bf16_cannot_be_heard_beside_fp32_in_a_trained_voice(
    spec: dict[str, Any], config: AnalysisConfig | LogMelConfig
) -> None:
    network = trained(spec, config)
    assert 0 < distortion(network, config) < AUDIBLE
    if isinstance(config, LogMelConfig):
        return  # Griffin-Lim's phases hang on the last digit
    signal, heard = sentence("a", config), {}
    for kind in ("fp32", "bf16"):
        translator = Translator(model_of(network, spec, config), device="cpu", precision=kind)
        out = translator.translate(signal, sample_rate=config.sample_rate)
        heard[kind] = analyse(out, METRIC_ANALYSIS)
    assert mel_cepstral_distortion(heard["bf16"], heard["fp32"]) < AUDIBLE


def test_auto_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    model = model_of(build(spec), spec, WORLD)

    def converted(kind: Any) -> np.ndarray:
        translator = Translator(model, device="cpu", precision=kind)
        return translator.translate(sentence("a", WORLD)[:8000], sample_rate=16000)

    full, half = converted("fp32"), converted("bf16")
    assert not np.array_equal(full, half)
    for flags, wanted in (({"avx512_f"}, full), ({"avx512_f", "avx512_bf16"}, half)):
        monkeypatch.setattr(precision, "_flags", lambda flags=flags: frozenset(flags))
        np.testing.assert_array_equal(converted("auto"), wanted)


@pytest.mark.skipif(not precision.has_int8(), reason="this processor has no int8 instructions")
def test_int8_is_bf16_for_voices_since_a_talking_clip_has_pictures_too() -> None:
    spec = {"name": "vc2", "coefficients": 24, "width": 32, "residual_blocks": 1}
    model = model_of(build(spec), spec, WORLD)
    half, int8 = (
        Translator(model, device="cpu", precision=kind).translate(  # type: ignore[arg-type]
            sentence("a", WORLD), sample_rate=16000
        )
        for kind in ("bf16", "int8")
    )
    np.testing.assert_array_equal(int8, half)


def test_the_command_takes_every_precision(tmp_path: Path) -> None:
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    save_model(tmp_path / "model", model_of(build(spec), spec, WORLD))
    soundfile.write(tmp_path / "in.wav", sentence("a", WORLD)[:16000], 16000)
    for kind in ("auto", "fp32", "bf16", "fp16"):
        target = tmp_path / f"{kind}.wav"
        command = ["translate", str(tmp_path / "in.wav"), "-m", str(tmp_path / "model")]
        assert main([*command, "-o", str(target), "--precision", kind, "--device", "cpu"]) == 0
        assert len(soundfile.read(target)[0]) == 16000


def test_what_overflows_is_said_and_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    network = build(spec)
    with torch.no_grad():
        network.head.weight.mul_(1e6)  # beyond what fp16 holds
    save_model(tmp_path / "model", model_of(network, spec, WORLD))
    soundfile.write(tmp_path / "in.wav", sentence("a", WORLD)[:16000], 16000)
    command = ["translate", str(tmp_path / "in.wav"), "-m", str(tmp_path / "model")]
    target = tmp_path / "out.wav"
    assert main([*command, "-o", str(target), "--precision", "fp16", "--device", "cpu"]) == 1
    assert "try --precision fp32" in capsys.readouterr().err
    assert not target.exists()
