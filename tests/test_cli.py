"""The command line as its users meet it: what it prints, returns and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cyclegan_media
from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.demo.scenes import make_scene, write_clip
from cyclegan_media.media import Image, read_image, write_audio, write_image
from cyclegan_media.media.kinds import SUFFIXES
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model

COMMANDS = ["train", "translate", "batch", "download", "info", "recipes", "import"]

TINY_RECIPE = """\
name: tiny
modality: image
model:
  generator: {name: resnet, width: 2, blocks: 1}
  discriminator: {name: patchgan, width: 2, layers: 1}
objective:
  adversarial: {loss: lsgan}
  cycle: {weight: 10}
data: {load_size: 18, crop_size: 16}
trainer: {steps: 4, checkpoint_every: 2, preview_every: 4, validate_every: 4, workers: 0}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    spec = {"name": "resnet", "width": 4, "blocks": 1}
    config = ModelConfig(
        modality="image",
        domains={"a": "horse", "b": "zebra"},
        generators={"a2b": spec},
        origin="trained",
        steps=7,
    )
    return save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec)}))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 14, 3)).astype(np.uint8)
    return write_image(tmp_path / "in.png", Image(pixels))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cyclegan_media.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_examples_and_fits_the_terminal(
    name: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*([name] if name else []), "--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:\n  cyclegan-media " in text
    assert max(map(len, text.splitlines())) <= 100
    if name is None:
        assert all(f"\n    {command} " in text for command in COMMANDS)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cyclegan-media {cyclegan_media.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["info", "MODEL"],
        ["info", "PICTURE"],
        ["info", "SOUND"],
        ["info", "cyclegan_vc2"],
        ["recipes"],
        ["recipes", "--json"],
    ],
)
def test_help_and_info_answer_without_loading_torch(
    arguments: list[str], model: Path, picture: Path, tmp_path: Path
) -> None:
    sound = write_audio(tmp_path / "a.wav", np.zeros(800, np.float32), 16000)
    places = {"MODEL": str(model), "PICTURE": str(picture), "SOUND": str(sound)}
    code = (
        "import sys; from cyclegan_media.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'pydantic', 'scipy'} & set(sys.modules)), file=sys.stderr);"
        "sys.exit(code)"
    )
    filled = [places.get(argument, argument) for argument in arguments]
    result = subprocess.run(
        [sys.executable, "-c", code, *filled], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["paint"], "'paint'"),
        (["translate", "a.png"], "-o/--output"),
        (["translate", "a.png", "-o", "b.png"], "--model"),
        (["translate", "a.png", "-m", "m", "-o", "o", "--direction", "up"], "'up'"),
        (["translate", "a.png", "-m", "m", "-o", "o", "--batch-size", "0"], "at least 1"),
        (["translate", "a.png", "-m", "m", "-o", "o", "--video-stream", "x"], "at least 0"),
        (["translate", "a.mp4", "-m", "m", "-o", "o", "--crf", "good"], "'good'"),
        (["info", "a", "b"], "unrecognized arguments: b"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert "--help" in error


def test_a_picture_is_translated_as_the_python_interface_does(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "out.png"
    assert main(["translate", str(picture), "-m", str(model), "-o", str(target)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{target}\n"
    assert captured.err == ""
    wanted = cyclegan_media.load(model, device="cpu").translate(read_image(picture).pixels)
    np.testing.assert_array_equal(read_image(target).pixels, wanted)


def test_quiet_prints_nothing_and_options_may_come_first(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["translate", str(picture), "-m", str(model), "-o", str(tmp_path / "out.png")]
    assert main(["--quiet", *arguments]) == 0
    assert main([*arguments, "--overwrite", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    other = write_image(tmp_path / "other.jpg", read_image(picture))
    arguments = ["translate", str(picture), str(other), "-m", str(model), "-o", str(out)]
    before = sorted(tmp_path.rglob("*"))
    assert main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{picture} → {out}/in.png\n{other} → {out}/other.jpg\n"
    assert sorted(tmp_path.rglob("*")) == before
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["in.png", "other.jpg"]
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_one_bad_file_among_several_is_named_and_the_rest_is_done(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["translate", str(bad), str(picture), "-m", str(model), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'in.png'}\n"
    lines = captured.err.splitlines()
    assert lines[0].startswith(f"error: {bad}: ")
    assert lines[1:] == ["error: 1 of 2 files could not be translated"]
    assert [path.name for path in out.iterdir()] == ["in.png"]


def test_info_tells_pictures_models_recipes_and_folders_apart(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def info(target: object) -> tuple[dict, str]:
        assert main(["info", str(target), "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert main(["info", str(target)]) == 0
        return content, capsys.readouterr().out

    content, text = info(picture)
    assert content["kind"] == "image"
    assert (content["width"], content["height"], content["bits"]) == (14, 10, 8)
    assert "14 × 10 pixels" in text

    content, text = info(model)
    parameters = sum(
        p.numel() for p in build({"name": "resnet", "width": 4, "blocks": 1}).parameters()
    )
    assert content["kind"] == "model"
    assert content["directions"][0]["from"] == "horse"
    assert content["directions"][0]["parameters"] == parameters
    assert "horse → zebra" in text
    assert f"{parameters} parameters" in text

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY_RECIPE)
    content, text = info(recipe)
    assert content["kind"] == "recipe"
    assert content["objective"]["cycle"]["weight"] == 10
    assert content["trainer"]["batch_size"] == 1  # a default that the file leaves out
    assert "cycle weight 10" in text

    content, text = info("cyclegan")
    assert content["parameters"]["generator"] == 11_378_179  # of the release's ResNet with 9 blocks
    assert Path(content["path"]).is_file()

    sound = write_audio(tmp_path / "a.wav", np.zeros((2, 8000), np.float32), 16000)
    content, text = info(sound)
    assert (content["kind"], content["duration"]) == ("audio", 0.5)
    assert content["streams"][0]["sample_rate"] == 16000
    assert "16000 Hz" in text

    content, text = info(tmp_path)
    assert content["files"] == {"image": 1, "video": 0, "audio": 1}


def test_info_describes_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", make_scene(0), "a", seconds=0.5, fps=12, size=(32, 48))
    assert main(["info", str(clip), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    video, audio = content["streams"]
    assert content["kind"] == "video"
    assert (video["width"], video["height"], video["frames"]) == (48, 32, 6)
    assert (video["frame_rate"], video["duration"], video["chosen"]) == (12.0, 0.5, True)
    assert (audio["type"], audio["sample_rate"]) == ("audio", 44100)


def test_info_marks_the_streams_that_are_used(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(shared_data / "video" / "nasa_13013.mp4"), "--json"]) == 0
    streams = json.loads(capsys.readouterr().out)["streams"]
    assert [(s["type"], s["number"]) for s in streams if s["chosen"]] == [
        ("video", 1),
        ("audio", 1),
    ]
    assert streams[3]["width"] == 480


def test_recipes_lists_every_shipped_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    from cyclegan_media.recipe import shipped_recipes

    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(shipped_recipes())
    assert main(["recipes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["path"] for row in rows} == {
        name: str(path) for name, path in shipped_recipes().items()
    }


def test_a_published_checkpoint_becomes_a_model(
    shared_golden: Path, tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = shared_golden / "latest_net_G.pth", tmp_path / "imported"
    assert main(["info", str(checkpoint)]) == 0
    assert "resnet, blocks 9" in capsys.readouterr().out
    arguments = ["import", str(checkpoint), "-o", str(folder), "--direction", "b2a"]
    assert main([*arguments, "--domains", "zebra", "horse"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert main(arguments) == 2  # exists already
    translate = ["translate", str(picture), "-m", str(folder), "-o", str(tmp_path / "out.png")]
    assert main(translate) == 2
    assert "no generator for the direction a2b, only for b2a" in capsys.readouterr().err
    assert main([*translate, "--direction", "b2a"]) == 0
    assert main(["info", str(folder)]) == 0
    assert "horse → zebra" in capsys.readouterr().out


def pictures(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for k in range(count):
        write_image(folder / f"{k}.png", Image(rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)))
    return folder


def test_train_overrides_resumes_and_leaves_a_model_that_translates(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(TINY_RECIPE)
    data = [
        "--data-a",
        str(pictures(tmp_path / "a", 3, 1)),
        "--data-b",
        str(pictures(tmp_path / "b", 3, 2)),
    ]
    arguments = ["train", str(recipe), *data, "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--set", "trainer.steps=2"]) == 0
    assert capsys.readouterr().out == f"{out / 'model'}\n"
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert main(["info", str(out), "--json"]) == 0
    content = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert content["kind"] == "training"
    scores = {checkpoint["steps"]: checkpoint["score"] for checkpoint in content["checkpoints"]}
    assert sorted(scores) == [2, 4]
    assert content["model"]["steps"] == min(scores, key=scores.__getitem__)  # the best one
    translate = ["translate", str(picture), "-m", str(out), "-o", str(tmp_path / "out.png")]
    assert main([*translate, "--direction", "b2a"]) == 0
    assert read_image(tmp_path / "out.png").pixels.shape == (10, 14, 3)


def test_an_interrupted_training_says_how_to_go_on(tmp_path: Path) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(
        TINY_RECIPE.replace("steps: 4", "steps: 1000000").replace("every: 4", "every: 500000")
    )
    data = ["--data-a", pictures(tmp_path / "a", 3, 1), "--data-b", pictures(tmp_path / "b", 3, 2)]
    process = subprocess.Popen(
        command("train", recipe, *data, "--out", out, "--device", "cpu"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/step-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "go on with --resume" in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, make_scene(0), "a", seconds=25, fps=24, size=(96, 96))


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interrupted_translation_leaves_nothing_half_written(
    number: signal.Signals, code: int, said: str, model: Path, long_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("translate", long_clip, "-m", model, "-o", f"{out}/"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    # Frames are being written, not only the file opened.
    while not any(path.stat().st_size for path in out.glob(".*.partial-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (code, "", f"{said}\n")
    assert list(out.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(picture: Path) -> None:
    process = subprocess.Popen(
        command("info", picture, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == 0


def test_a_bug_is_one_line_and_debug_shows_where(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(target: str, **_: bool) -> None:
        raise ZeroDivisionError("nobody\nthought of this")

    monkeypatch.setattr("cyclegan_media.commands.describe.describe", broken)
    assert main(["info", str(picture)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ZeroDivisionError: nobody thought of this" in error
    assert main(["info", str(picture), "--debug"]) == 1
    assert "in broken" in capsys.readouterr().err


def test_a_failing_thread_is_one_line(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise OSError("no\nway")

    def with_thread(target: str, **_: bool) -> dict[str, object]:
        thread = threading.Thread(target=failing)
        thread.start()
        thread.join()
        return {"kind": "folder", "path": target, "files": dict.fromkeys(SUFFIXES, 0)}

    monkeypatch.setattr("cyclegan_media.commands.describe.describe", with_thread)
    assert main(["info", str(picture)]) == 0
    error = capsys.readouterr().err
    assert error == "warning: a background thread failed: OSError: no way\n"


def test_debug_shows_the_traceback_of_a_users_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--debug", "info", "nowhere.png"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_threads_wait_asleep_unless_the_user_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    with monkeypatch.context() as own:
        own.setenv("OMP_WAIT_POLICY", "ACTIVE")
        assert main(["recipes"]) == 0
        assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert main(["recipes"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert main(["recipes"]) == 0
    assert int(os.environ["GOMP_SPINCOUNT"]) < 10_000  # libgomp's own is 30 times that and more
