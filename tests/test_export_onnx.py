"""What is exported computes what the model computes, at any size, and runs in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
from many_to_many import many, noise
from test_translate_voice import CONFIG
from test_translate_voice import SPEC as VOICE
from video_files import moving, psnr, times, write_video

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.export import export_model, load_onnx
from cyclegan_media.export.graph import input_names, to_onnx
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import SpeakerStatistics, analyse
from cyclegan_media.translate import Translator

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RESNET = {"name": "resnet", "width": 4, "blocks": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(modality="image", generators={"a2b": RESNET}, recipe="cyclegan")
    return save_model(
        tmp_path / "horse2zebra", PretrainedModel(config, {"a2b": build(RESNET).eval()})
    )


@pytest.mark.parametrize(
    ("spec", "voice"),
    [
        (RESNET, False),
        ({"name": "unet", "width": 4, "downsamplings": 3}, False),
        ({"name": "pix2pixhd_global", "width": 4, "downsamplings": 2, "blocks": 1}, False),
        ({"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 3}, False),
        (VOICE, True),
    ],
    ids=lambda spec: spec["name"] if isinstance(spec, dict) else "",
)
def test_a_graph_computes_what_the_network_does_at_any_size(
    spec: dict[str, Any], voice: bool
) -> None:
    network = build(spec).eval()
    session = onnxruntime.InferenceSession(to_onnx(network, voice))
    step = network.multiple
    for batch, rows, columns in ((1, 5, 7), (3, 9, 2), (2, 4, 13)):
        size = (24, step * rows) if voice else (3, step * rows, step * columns)
        inputs = [torch.rand(batch, *size) * 2 - 1]
        if network.latent:
            inputs.append(torch.randn(batch, network.latent))
        feed = {k: x.numpy() for k, x in zip(input_names(network), inputs, strict=True)}
        (output,) = session.run(None, feed)
        with torch.no_grad():
            expected = network(*inputs).numpy()
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() <= 1e-4


def test_pictures_of_any_size_and_folders_are_translated_alike(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for k, size in enumerate([(37, 53), (5, 8)]):
        PIL.Image.fromarray(noise(k, size)).save(tmp_path / "in" / f"{k}.png")
    assert main(["export", str(folder), "-o", str(tmp_path / "onnx")]) == 0
    inputs = [str(tmp_path / "in")]
    by_torch = ["-m", str(folder), "-o", str(tmp_path / "t"), "--precision", "fp32"]
    by_onnx = ["-m", str(tmp_path / "onnx"), "-o", str(tmp_path / "o"), "--runtime", "onnx"]
    assert main(["translate", *inputs, *by_torch]) == 0
    assert main(["translate", *inputs, *by_onnx]) == 0
    for k in range(2):
        one, other = (
            np.asarray(PIL.Image.open(tmp_path / where / f"{k}.png")).astype(int)
            for where in ("t", "o")
        )
        assert np.abs(one - other).max() <= 1


def test_a_video_is_translated_alike_and_keeps_its_times(folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, moving(5))
    Translator.load(folder, precision="fp32").translate(clip, tmp_path / "torch.mp4")
    load_onnx(folder).translate(clip, tmp_path / "onnx.mp4")  # exported in passing
    assert times(tmp_path / "onnx.mp4") == times(clip)
    assert psnr(tmp_path / "onnx.mp4", tmp_path / "torch.mp4") > 40


def test_a_voice_is_converted_alike(tmp_path: Path) -> None:
    statistics: dict[str, torch.Tensor] = {}
    for voice in ("a", "b"):
        of = SpeakerStatistics.from_features([analyse(say(10, voice), CONFIG)])
        statistics |= of.to_tensors(voice)
    config = ModelConfig(
        modality="voice", generators={"a2b": VOICE}, analysis=CONFIG.model_dump(mode="json")
    )
    model = PretrainedModel(config, {"a2b": build(VOICE).eval()}, statistics)
    save_model(tmp_path / "model", model)
    export_model(tmp_path / "model", tmp_path / "onnx")
    soundfile.write(tmp_path / "a.wav", 0.3 * say(3, "a"), 16000)
    exact = Translator.load(tmp_path / "model", precision="fp32")
    exact.translate(tmp_path / "a.wav", tmp_path / "t.wav")
    load_onnx(tmp_path / "onnx").translate(tmp_path / "a.wav", tmp_path / "o.wav")
    one, other = (soundfile.read(tmp_path / name)[0] for name in ("t.wav", "o.wav"))
    assert np.abs(one).max() > 0.01
    np.testing.assert_allclose(other, one, atol=1e-3)


def test_samples_of_a_many_to_many_model_are_the_same(tmp_path: Path) -> None:
    save_model(tmp_path / "model", many())
    picture = noise(3)
    one = Translator.load(tmp_path / "model", precision="fp32").translate(picture, samples=2)
    other = load_onnx(tmp_path / "model").translate(picture, samples=2)
    assert np.abs(one[0].astype(int) - one[1]).max() > 2
    assert np.abs(one.astype(int) - other).max() <= 1


def test_the_manifest_says_how_to_run_it(folder: Path, tmp_path: Path) -> None:
    export_model(folder, tmp_path / "onnx")
    manifest = json.loads((tmp_path / "onnx" / "export.json").read_text())
    graph = manifest["generators"]["a2b"]
    assert (graph["file"], graph["multiple"], graph["minimum"]) == ("generator_a2b.onnx", 4, 8)
    assert manifest["name"] == "horse2zebra"
    assert manifest["model"]["recipe"] == "cyclegan"


def test_what_is_damaged_or_for_another_runtime_is_refused(folder: Path, tmp_path: Path) -> None:
    out = export_model(folder, tmp_path / "onnx")
    with pytest.raises(UserError, match="exists already"):
        export_model(folder, out)
    with pytest.raises(UserError, match="no exported model"):
        export_model(folder, folder, overwrite=True)
    export_model(folder, out, overwrite=True)
    graph = out / "generator_a2b.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"generator_a2b\.onnx: is damaged"):
        load_onnx(out)
    (out / "export.json").write_text("{}")
    with pytest.raises(UserError, match=r"export\.json: runtime"):
        load_onnx(out)
    with pytest.raises(UserError, match="tile"):
        load_onnx(folder).translate(noise(0), tile=64)


def test_without_onnxruntime_it_says_what_to_install(folder: Path) -> None:
    script = (
        "import sys; sys.modules['onnxruntime'] = None; from cyclegan_media.cli import main;"
        f"sys.exit(main(['translate', 'x.png', '-m', {str(folder)!r}, '-o', 'y.png',"
        " '--runtime', 'onnx']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the runtime onnx needs onnxruntime; install it")
