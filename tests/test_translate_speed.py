"""Fast translation is the same translation: what is computed otherwise stays near to fp32."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_files
from torch import Tensor, nn

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.media.video import VideoReader
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, import_published, save_model
from cyclegan_media.translate import Translator, precision, quantise
from cyclegan_media.translate.compiled import CompiledNetwork, worth_compiling
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.inference import SplitConvolution, inference_copy
from cyclegan_media.translate.quantise import QuantisedOnUse, psnr

CPU = torch.device("cpu")
needs_int8 = pytest.mark.skipif(
    not precision.has_int8(), reason="this processor has no instructions for int8"
)


def pictures(count: int, size: int = 64) -> Tensor:
    """Smooth shapes on a gradient, each a little further: as frames of a video are."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    frames = []
    for k in range(count):
        disc = ((x - 0.05 * k) ** 2 + y**2 < 0.3).float()
        frames.append(torch.stack([0.8 * x, disc * 1.6 - 0.8, torch.sin(6 * y + 0.2 * k)]))
    return torch.stack(frames)


def released(spec: dict[str, Any]) -> Backbone:
    """Weights as the CycleGAN release begins with, N(0, 0.02²); harder than those of trained ones.

    Every layer passes on noise at full strength, where a trained network has learned to ignore it.
    """
    torch.manual_seed(5)
    network = build(spec).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0, 0.02)
    return network


def model_of(network: Backbone, spec: dict[str, Any]) -> PretrainedModel:
    return PretrainedModel(
        ModelConfig(modality="image", generators={"a2b": spec}), {"a2b": network}
    )


SPECS: list[dict[str, Any]] = [
    {"name": "resnet", "width": 16, "blocks": 9},
    {"name": "resnet", "width": 8, "blocks": 2, "norm": "batch"},
    {"name": "unet", "width": 8, "downsamplings": 5},
    {"name": "pix2pixhd_global", "width": 8},
    {"name": "cin_resnet", "width": 8, "blocks": 2},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec['name']} {spec.get('norm', '')}")
def test_the_copy_for_inference_is_the_same_function(spec: dict[str, Any]) -> None:
    network = build(spec).eval().requires_grad_(False)
    x = pictures(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wanted = network(x)
    result = inference_copy(network, torch.float32)(x)
    torch.testing.assert_close(result, wanted, atol=2e-5, rtol=0)
    torch.testing.assert_close(network(x), wanted, atol=0, rtol=0)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("padding", [0, (2, 0), (1, 3), (0, 9)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_split_by_columns_is_the_convolution(
    bias: bool, padding: int | tuple[int, int]
) -> None:
    conv = nn.Conv2d(5, 3, (7, 5), padding=padding, bias=bias).requires_grad_(False)
    x = torch.randn(2, 5, 20, 19)
    torch.testing.assert_close(SplitConvolution(conv)(x), conv(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "spec", SPECS[:4], ids=lambda spec: f"{spec['name']} {spec.get('norm', '')}"
)
def test_bf16_stays_above_40_db_from_fp32(spec: dict[str, Any]) -> None:
    parts = model_of(released(spec), spec)
    x = pictures(2)
    full = Translator(parts, device="cpu", precision="fp32").translate(x)
    half = Translator(parts, device="cpu", precision="bf16").translate(x)
    assert 40 < psnr(half, full) < 100


def test_bf16_stays_above_40_db_from_fp32_in_a_published_file(shared_golden: Path) -> None:
    parts = import_published(shared_golden / "latest_net_G.pth")
    x = pictures(2)
    full = Translator(parts, device="cpu", precision="fp32").translate(x)
    half = Translator(parts, device="cpu", precision="bf16").translate(x)
    assert 40 < psnr(half, full) < 100


def test_auto_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, wanted in (({"avx512_f"}, "fp32"), ({"avx512_f", "avx512_bf16"}, "bf16")):
        monkeypatch.setattr(precision, "_flags", lambda flags=flags: frozenset(flags))
        assert precision.choose_precision("auto", CPU)[0] == wanted
        assert precision.choose_precision("fp32", CPU) == ("fp32", torch.float32)
    assert precision.choose_precision("auto", torch.device("mps"))[0] == "fp32"


def test_int8_is_refused_where_it_would_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_flags", frozenset)
    with pytest.raises(UserError, match="no instructions for it"):
        Engine(CPU, "int8")
    with pytest.raises(UserError, match="is for CPUs, not for cuda"):
        precision.choose_precision("int8", torch.device("cuda"))


@needs_int8
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-2.0, 1.0)])
def test_an_int8_convolution_is_the_rounded_one(low: float, high: float, padding: int) -> None:
    conv = nn.Conv2d(32, 40, 3, padding=padding).requires_grad_(False)
    x = (low + (high - low) * torch.rand(1, 32, 12, 10)).to(memory_format=torch.channels_last)
    scale, zero = (high - low) / 255, round(-low / ((high - low) / 255))
    part = quantise.QuantisedConvolution(conv, scale, zero, [1, 32, 12, 10])
    # By hand: inputs and weights rounded to their levels, then the convolution in double precision.
    levels = ((x.double() / scale).round() + zero).clamp(0, 255)
    steps = (conv.weight.double().abs().amax((1, 2, 3)) / 127)[:, None, None, None]
    weight = (conv.weight.double() / steps).round() * steps
    wanted = nn.functional.conv2d((levels - zero) * scale, weight, None, padding=padding)
    wanted += conv.bias.double()[:, None, None]  # type: ignore[union-attr]
    # A value near the middle between two levels may fall to either; few do, each by one step.
    error = (part(x).double() - wanted).abs()
    assert error.max() < 9 * scale * float(weight.abs().max()) + 1e-5
    assert error.mean() < 1e-3
    other = part(torch.cat([x, x])[:, :, :9])  # of another shape than it was laid out for
    assert other.shape == (2, 40, 7 + 2 * padding, 8 + 2 * padding)


@needs_int8
def test_int8_stays_above_35_db_from_fp32(caplog: pytest.LogCaptureFixture) -> None:
    spec = {"name": "resnet", "width": 16, "blocks": 9}
    parts = model_of(released(spec), spec)
    frames = pictures(quantise.FRAMES + 4)
    full = Translator(parts, device="cpu", precision="fp32").translate(frames)
    translator = Translator(parts, device="cpu", precision="int8")
    with caplog.at_level(logging.INFO, "cyclegan_media"):
        result = translator.translate(frames, batch_size=1)
    assert "int8: " in caplog.text
    first, later = slice(None, quantise.FRAMES), slice(quantise.FRAMES, None)
    assert psnr(result[first], full[first]) > 40  # those are in bfloat16
    assert psnr(result[later], full[later]) > 35
    assert psnr(result[later], full[later]) < psnr(result[first], full[first])


@needs_int8
def test_a_network_that_does_not_bear_int8_goes_on_as_it_was(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "LEAST_PSNR", 1000.0)
    spec = {"name": "resnet", "width": 8, "blocks": 2}
    network = inference_copy(build(spec), torch.float32)
    x = pictures(quantise.FRAMES)
    wanted = network(x)
    run = QuantisedOnUse(network)
    run(x)
    assert "does not bear it" in caplog.text
    torch.testing.assert_close(run(x), wanted, atol=0, rtol=0)


def test_compiling_is_for_clips_that_earn_it_back() -> None:
    cuda = torch.device("cuda")
    assert worth_compiling(cuda, 100_000, 0.01)  # 0.2 · 1000 s are saved
    assert not worth_compiling(cuda, 1_000, 0.01)
    assert not worth_compiling(cuda, None, 0.01)
    assert not worth_compiling(CPU, 10**9, 1.0)


def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(module: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found")

    caplog.set_level(logging.WARNING)
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda run: real(run, backend=broken))
    network = build({"name": "resnet", "width": 4, "blocks": 1}).eval().requires_grad_(False)
    run, x = CompiledNetwork(network), pictures(2, 16)
    torch.testing.assert_close(run(x), network(x), atol=0, rtol=0)
    assert "no C++ compiler was found" in caplog.text
    run(x)
    assert sum(record.name == "cyclegan_media" for record in caplog.records) == 1


def test_a_compiled_network_fills_up_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def recorded(x: Tensor) -> Tensor:
        seen.append(len(x))
        return -x

    monkeypatch.setattr(torch, "compile", lambda run: run)
    run, x = CompiledNetwork(recorded), pictures(3, 8)
    torch.testing.assert_close(run(x), -x)
    torch.testing.assert_close(run(x[:1]), -x[:1])
    assert seen == [3, 3]


def test_the_command_takes_every_precision(tmp_path: Path) -> None:
    spec = {"name": "resnet", "width": 8, "blocks": 1}
    save_model(tmp_path / "model", model_of(released(spec), spec))
    source = tmp_path / "clip.mp4"
    video_files.write_video(source, video_files.moving(10, (32, 48)))
    frames = {}
    for chosen in ("fp32", "bf16", "auto", *(["int8"] if precision.has_int8() else [])):
        target = tmp_path / f"{chosen}.mkv"
        options = ["--precision", chosen, "--no-compile", "--batch-size", "auto", "--quiet"]
        command = ["translate", str(source), "-m", str(tmp_path / "model"), "-o", str(target)]
        assert main([*command, *options, "--codec", "ffv1", "--device", "cpu"]) == 0
        with VideoReader(target) as video:
            frames[chosen] = np.stack([frame.pixels for frame in video]).astype(float)
    for chosen, result in frames.items():
        error = np.square(result - frames["fp32"]).mean()
        assert error < 255**2 * 10 ** (-35 / 10), chosen
