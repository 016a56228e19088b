"""``cyclegan-media evaluate`` on voices: from folders to a page and its numbers."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from evaluation_files import Page, picture_model, voice_folders, voice_model

from cyclegan_media.cli import main
from cyclegan_media.datasets.discover import Files, find_files
from cyclegan_media.errors import UserError
from cyclegan_media.evaluation.embedding import load_embedding
from cyclegan_media.evaluation.inputs import warn_where_all_was_learned
from cyclegan_media.metrics import voice_table
from cyclegan_media.metrics.voice import mel_cepstral_distortion
from cyclegan_media.page.fragments import number
from cyclegan_media.translate import Translator

ROWS = [voice_table.UNCONVERTED, voice_table.MOMENTS, "moves", voice_table.COPY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices, a model with a checkpoint, and a report on them."""
    root = tmp_path_factory.mktemp("voices")
    voice_folders(root)
    model = voice_model(root / "moves" / "model")
    # What a training leaves, one checkpoint long.
    shutil.copytree(model, root / "moves" / "checkpoints" / "step-00000007" / "model")
    (root / "moves" / "recipe.yaml").write_text("name: moves\n")
    command = ["evaluate", "--run", str(root / "moves"), *_data(root), "--held-out", "held*"]
    command += ["--out", str(root / "report.html"), "--examples", "1", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CYCLEGAN_MEDIA_CACHE", str(root / "cache"))
        assert main(command) == 0
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def _data(root: Path) -> list[str]:
    return ["--data-a", str(root / "a"), "--data-b", str(root / "b")]


def test_the_numbers_are_those_of_the_metrics(
    folder: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYCLEGAN_MEDIA_CACHE", str(folder / "cache"))  # analysed already
    assert data["modality"] == "voice"
    assert data["sentences"] == ["held90", "held91"]
    files = [
        sorted(path for path in (folder / side).iterdir() if path.stem.startswith("held") is held)
        for held in (False, True)
        for side in "ab"
    ]
    voices = voice_table.read_voices(*files)
    verifier = voice_table.train_verifier(voices)
    model = Translator.load(folder / "moves", device="cpu")
    assert data["verifier_equal_error"] == verifier.equal_error

    def convert(item: voice_table.Recording) -> Any:
        samples = np.asarray(item.samples, dtype=np.float32)
        return model.translate(samples, sample_rate=16000, direction="b2a")

    assert list(data["directions"]["b2a"]) == ROWS
    converted = voice_table.convert_all(convert, voices, "b2a")
    found = data["directions"]["b2a"]["moves"]
    wanted = voice_table.score(converted, voices, "b2a", verifier)
    assert found["mcd"] == pytest.approx(wanted.distances.mcd)
    assert found["log_f0_rmse"] == pytest.approx(wanted.distances.log_f0_rmse)
    assert found["gv_distance"] == pytest.approx(wanted.distances.gv_distance)
    assert found["ms_distance"] == pytest.approx(wanted.distances.ms_distance)
    assert found["probability"] == pytest.approx(wanted.probability)
    assert found["similarity"] == pytest.approx(wanted.similarity)
    alone = data["per_sentence"]["b2a"]["moves"]["held91"]["mcd"]
    target = voices.held_out["a"][1].features
    assert alone == pytest.approx(mel_cepstral_distortion(converted[1].features, target))


def test_checkpoints_are_measured_as_models_are(data: dict[str, Any]) -> None:
    (checkpoint,) = data["training"]["moves"]["checkpoints"]
    assert checkpoint["step"] == 7
    for way, values in checkpoint["directions"].items():
        assert data["directions"][way]["moves"] == pytest.approx(values)


def test_the_page_says_what_the_numbers_say_and_plays_the_voices(
    folder: Path, data: dict[str, Any]
) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []  # every element was closed
    assert page.sections == ["a2b", "b2a", "training", "made"]
    assert len(page.tables) == 2
    for table, way in zip(page.tables, ("a2b", "b2a"), strict=True):
        lines = {name.removesuffix("for comparison"): cells for name, cells in table.items()}
        for name, values in data["directions"][way].items():
            assert lines[name] == [number(value) for value in values.values()]
    assert all(source.startswith("data:") for source in page.sources)
    # Of one sentence a direction: source, matched moments, the model, target.
    sounds = [source for source in page.sources if source.startswith("data:audio/flac")]
    assert len(sounds) == page.players == 2 * 4
    stored = Page.content(sounds[0])
    heard, rate = soundfile.read(io.BytesIO(stored))
    original, _ = soundfile.read(folder / "a" / "held90.wav")
    assert rate == 16000
    np.testing.assert_allclose(heard, original, atol=1 / 32768)


def test_a_report_is_replaced_only_if_so_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "report.html").read_bytes()
    command = ["evaluate", "--model", str(folder / "moves"), *_data(folder)]
    assert main([*command, "--out", str(folder / "report.html")]) == 2
    assert "report.html: exists already; pass --overwrite" in capsys.readouterr().err
    assert (folder / "report.html").read_bytes() == before


def test_what_is_wrong_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture_model(tmp_path / "pictures")
    model = ["--model", str(folder / "moves")]
    none = ["--data-a", str(folder / "none"), "--data-b", str(folder / "b")]
    swapped = ["--data-a", str(folder / "moves"), "--data-b", str(folder / "b")]
    out = ["--out", str(tmp_path / "report.html")]
    for arguments, message in (
        ([*_data(folder), *out], "no model to evaluate"),
        ([*model, "--model", str(tmp_path / "pictures"), *_data(folder), *out], "models of one"),
        ([*model, *model, *_data(folder), *out], "is given twice"),
        ([*model, *none, *out], "none: no such folder"),
        ([*model, *swapped, *out], "holds no recordings"),
        ([*model, *_data(folder), *out], "no file is held out; name some by --held-out"),
        ([*model, *_data(folder), *out, "--held-out", "no*"], "no file is like no*"),
        ([*model, *_data(folder), *out, "--held-out", "[15]*"], "have the same name"),
        ([*model, *_data(folder), "--out", str(tmp_path / "report")], "ends in .html"),
        (["--run", str(folder), *_data(folder), *out], "is no folder of a training"),
        (["--model", str(tmp_path), *_data(folder), *out], "is not a model folder"),
        ([*model, *_data(folder), *out, "--vocoder", "griffin_lim"], "takes log-mel spectra"),
    ):
        assert main(["evaluate", *arguments, "--device", "cpu"]) == 2, arguments
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_speaker_embedding_is_a_model_of_waveforms(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def save(shape: list[Any], operator: str, path: Path, **attributes: Any) -> Path:
        graph = helper.make_graph(
            [helper.make_node(operator, ["waveform"], ["embedding"], **attributes)],
            "test",
            [helper.make_tensor_value_info("waveform", kind, shape)],
            [helper.make_tensor_value_info("embedding", kind, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        if operator == "ReduceMax":
            helper.set_model_props(model, {"sample_rate": "8000"})
        onnx.save(model, str(path))
        return path

    loudest = load_embedding(save([1, "n"], "ReduceMax", tmp_path / "max.onnx", axes=[1]))
    ramp = np.linspace(0, 0.5, 4000)
    assert loudest(ramp, 8000) == pytest.approx([0.5])
    alike = load_embedding(save(["n"], "Identity", tmp_path / "same.onnx"))
    np.testing.assert_allclose(alike(ramp, 16000), ramp, atol=1e-6)
    assert alike(ramp, 8000).shape == (8000,)  # resampled to 16 kHz
    with pytest.raises(UserError, match="takes waveform"):
        load_embedding(save([1, 80, "n"], "Identity", tmp_path / "bands.onnx"))
    (tmp_path / "code.pt").write_bytes(b"PK\x03\x04 not a graph")
    with pytest.raises(UserError, match="is no ONNX model"):
        load_embedding(tmp_path / "code.pt")
    with pytest.raises(UserError, match="no such file"):
        load_embedding(tmp_path / "none.onnx")


def test_a_training_that_held_nothing_out_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = find_files(folder / "a", folder / "b", ("audio",))
    files = Files(found.train_a[1:], found.train_b[1:], found.train_a[:1], found.train_b[:1])
    run = folder / "greedy"
    run.mkdir()
    for name, warned in (("cyclegan_vc_minute", True), ("cyclegan_vc_small", False)):
        caplog.clear()
        (run / "recipe.yaml").write_text(f"extends: {name}\nname: {name}\n")
        warn_where_all_was_learned([folder / "moves" / "model", run], files)
        assert ("greedy: learned from all files" in caplog.text) == warned
    elsewhere = Files(files.train_a, files.train_b, [folder / "test" / "x.wav"], [])
    caplog.clear()
    (run / "recipe.yaml").write_text("extends: cyclegan_vc_minute\nname: minute\n")
    warn_where_all_was_learned([run], elsewhere)
    assert not caplog.text
