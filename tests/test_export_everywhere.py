"""Exported models in batches, evaluations and talking clips, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from batch_files import inputs, media, tiny_model
from evaluation_files import picture_model, voice_folders, voice_model
from talking_clips import same_picture, same_voice, write_clip
from video_files import psnr

from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.export import export_model, load_onnx
from cyclegan_media.media import VideoReader
from cyclegan_media.media.audio import resample
from cyclegan_media.media.sound_track import SoundReader
from cyclegan_media.pretrained import save_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return export_model(tiny_model(tmp_path / "model"), tmp_path / "exported")


def test_a_batch_of_an_exported_model_is_what_the_model_makes(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    source, out = inputs(tmp_path / "in", pictures=3, frames=6), tmp_path / "out"
    command = ["batch", str(source), "-o", str(out), "--workers", "2", "--quiet"]
    assert main([*command, "-m", str(exported), "--runtime", "onnx"]) == 0
    wanted, one = {}, load_onnx(exported)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = str(path.relative_to(source))
        (tmp_path / "wanted" / name).parent.mkdir(parents=True, exist_ok=True)
        one.translate(path, tmp_path / "wanted" / name)
        wanted[name] = (tmp_path / "wanted" / name).read_bytes()
    assert media(out) == wanted


def test_a_batch_knows_its_runtime_and_its_model(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = inputs(tmp_path / "in", pictures=1), tmp_path / "out"
    command = ["batch", str(source), "-o", str(out), "--workers", "1", "--quiet"]
    onnx = [*command, "-m", str(exported), "--runtime", "onnx"]
    assert main(onnx) == 0
    made = (out / "0.png").stat().st_mtime_ns
    assert main(onnx) == 0
    assert (out / "0.png").stat().st_mtime_ns == made
    # The same model, but not the same arithmetic; and another model in its place.
    assert main([*command, "-m", str(tmp_path / "model")]) == 2
    assert "--restart" in capsys.readouterr().err
    export_model(tiny_model(tmp_path / "other", seed=1), exported, overwrite=True)
    assert main(onnx) == 2
    assert "--restart" in capsys.readouterr().err
    assert main([*onnx, "--restart"]) == 0
    assert (out / "0.png").stat().st_mtime_ns != made


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "bf16"], "--precision bf16: ONNX Runtime computes in fp32 on the CPU"),
        (["--device", "cuda"], "--device cuda: ONNX Runtime computes in fp32 on the CPU"),
        (["--tile", "64"], "tile: ONNX Runtime computes pictures as a whole"),
        (["--runtime", "torch"], "is an exported model; run it with --runtime onnx"),
    ],
)
def test_what_onnx_runtime_cannot_is_refused_before_any_work(
    options: list[str],
    said: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = inputs(tmp_path / "in", pictures=2), tmp_path / "out"
    asked = [str(source), "-m", str(exported), "-o", str(out), "--runtime", "onnx", *options]
    for command in (["translate"], ["batch", "--workers", "1", "--quiet"]):
        assert main([*command, *asked]) == 2
        errors = capsys.readouterr().err
        assert said in errors
        assert errors.count("\n") == 1
        assert not out.exists() or media(out) == {}


def test_a_row_of_a_manifest_is_held_against_the_runtime(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs(tmp_path / "in", pictures=2)
    rows = [{"input": "in/0.png"}, {"input": "in/1.png", "options": {"tile": 64}}]
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n".join(map(json.dumps, rows)))
    command = ["batch", str(jobs), "-m", str(exported), "-o", str(tmp_path / "out")]
    assert main([*command, "--runtime", "onnx", "--workers", "1"]) == 2
    assert "line 2: tile: ONNX Runtime" in capsys.readouterr().err
    assert media(tmp_path / "out") == {}


def test_compiling_is_refused_for_two_models_too(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["translate", "x.mp4", "-o", str(tmp_path / "out.mp4"), "--runtime", "onnx"]
    for model in (["-m", str(exported)], ["--video-model", str(exported)]):
        assert main([*command, *model, "--compile"]) == 2
        assert "compile: is for PyTorch" in capsys.readouterr().err


def test_a_talking_clip_is_translated_alike(tmp_path: Path) -> None:
    for name, translator in (("faces", same_picture()), ("voices", same_voice())):
        save_model(tmp_path / name, translator.model)
        export_model(tmp_path / name, tmp_path / f"{name}_onnx")
    speech = resample((0.3 * say(3, "a"))[None].astype(np.float32), 16000, 48000)
    hiss = 0.001 * np.random.default_rng(0).standard_normal((1, 48000))
    track = np.concatenate([hiss, speech, hiss], 1).astype(np.float32)
    count = track.shape[1] - track.shape[1] % (48000 // 25)
    source = write_clip(tmp_path / "in.mkv", [track[:, :count]])
    made = {}
    for runtime, suffix in (("torch", ""), ("onnx", "_onnx")):
        made[runtime] = tmp_path / f"{runtime}.mkv"
        models = ["--video-model", str(tmp_path / f"faces{suffix}")]
        models += ["--voice-model", str(tmp_path / f"voices{suffix}")]
        command = ["translate", str(source), "-o", str(made[runtime]), *models]
        assert main([*command, "--runtime", runtime, "--device", "cpu"]) == 0
    assert psnr(made["onnx"], made["torch"]) > 45
    with VideoReader(made["onnx"]) as video:
        assert len(list(video)) == count * 25 // 48000
    one, other = (_sound(made[runtime]) for runtime in ("torch", "onnx"))
    assert np.abs(one - track[:, :count]).max() > 0.01  # it was converted
    np.testing.assert_allclose(other, one, atol=2e-3)


def _sound(path: Path) -> np.ndarray:
    return np.concatenate([block.samples for block in SoundReader(path)], 1)


def test_exported_pictures_are_evaluated_as_the_model(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side, base in (("A", 0), ("B", 100)):
        for part in ("train", "test"):
            folder = tmp_path / f"{part}{side}"
            folder.mkdir()
            for k in range(4):
                pixels = random.integers(base, base + 156, (32, 32, 3)).astype(np.uint8)
                PIL.Image.fromarray(pixels).save(folder / f"{part}{k}.png")
    model = picture_model(tmp_path / "half", 0.5)
    exported = export_model(model, tmp_path / "half_onnx")
    reports = []
    for name, given in (
        ("t", ["--model", str(model), "--precision", "fp32"]),
        ("o", ["--model", str(exported), "--runtime", "onnx"]),
    ):
        out = tmp_path / f"{name}.html"
        command = ["evaluate", "--data-a", str(tmp_path), "--data-b", str(tmp_path)]
        command += ["--size", "32", "--unpaired", "--device", "cpu", "--quiet", "--out", str(out)]
        assert main([*command, *given]) == 0
        reports.append(json.loads(out.with_suffix(".json").read_text()))
    for way in ("a2b", "b2a"):
        one, other = (report["directions"][way]["half"] for report in reports)
        assert one.keys() == other.keys()
        for measure, value in one.items():
            assert other[measure] == pytest.approx(value, rel=1e-3, abs=1e-4), measure
    assert "ONNX Runtime" in json.dumps(reports[1]["made"])


@pytest.mark.slow
def test_an_exported_voice_is_evaluated_as_the_model(tmp_path: Path) -> None:
    folders = voice_folders(tmp_path / "data")
    model = voice_model(tmp_path / "shift")
    exported = export_model(model, tmp_path / "shift_onnx")
    reports = []
    for name, given in (("t", [str(model)]), ("o", [str(exported), "--runtime", "onnx"])):
        out = tmp_path / f"{name}.html"
        command = ["evaluate", "--data-a", str(folders["a"]), "--data-b", str(folders["b"])]
        command += ["--held-out", "held*", "--quiet", "--out", str(out), "--model", *given]
        assert main([*command, "--device", "cpu"]) == 0
        reports.append(json.loads(out.with_suffix(".json").read_text()))
    one, other = (report["directions"]["a2b"]["shift"] for report in reports)
    assert one.keys() == other.keys()
    for measure, value in one.items():
        assert other[measure] == pytest.approx(value, rel=1e-2, abs=1e-3), measure
