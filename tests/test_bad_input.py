"""Bad input through the command line: one clear line, the right exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.demo.scenes import make_scene, write_clip
from cyclegan_media.media import (
    Image,
    VideoReader,
    read_audio,
    read_image,
    write_audio,
    write_image,
)
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics

RECIPE = """\
name: tiny
modality: image
model:
  generator: {name: resnet, width: 2, blocks: 1}
  discriminator: {name: patchgan, width: 2, layers: 1}
objective:
  adversarial: {loss: lsgan}
  cycle: {weight: 10}
data: {load_size: 18, crop_size: 16}
trainer: {steps: 2, checkpoint_every: 2, workers: 0}
"""

Refused = Callable[..., None]


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Checks that a command line fails as promised; sees what libraries in C print, too."""

    def check(*arguments: object, code: int, said: str) -> None:
        before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
        capfd.readouterr()
        assert main(list(map(str, arguments))) == code
        captured = capfd.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("error: ")
        assert said in captured.err
        assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before

    return check


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def image_model(tmp_path: Path) -> Path:
    spec = {"name": "resnet", "width": 2, "blocks": 1}
    config = ModelConfig(modality="image", generators={"a2b": spec})
    return save_model(tmp_path / "image_model", PretrainedModel(config, {"a2b": build(spec)}))


@pytest.fixture
def voice_model(tmp_path: Path) -> Path:
    spec = {"name": "gated_cnn", "coefficients": 24, "width": 2, "residual_blocks": 1}
    statistics = SpeakerStatistics(np.zeros(24, np.float32), np.ones(24, np.float32), 5.0, 0.2)
    tensors = statistics.to_tensors("a") | statistics.to_tensors("b")
    config = ModelConfig(
        modality="voice", generators={"a2b": spec}, analysis=AnalysisConfig(f0="dio").model_dump()
    )
    return save_model(
        tmp_path / "voice_model", PretrainedModel(config, {"a2b": build(spec)}, tensors)
    )


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)


def picture(path: Path) -> Path:
    return write_image(path, Image(noise(40, 40)))


def hum(seconds: float = 0.5, rate: int = 16000) -> np.ndarray:
    """Pulses, as the voice has them."""
    return 0.5 * (np.arange(round(seconds * rate)) % (rate // 150) == 0).astype(np.float32)


def clip(path: Path) -> Path:
    return write_clip(path, make_scene(0), "a", seconds=0.5, fps=12, size=(32, 48))


def shortened(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def filled(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def sound_only_mp4(path: Path) -> Path:
    write_audio(path.with_suffix(".m4a"), hum(), 16000)
    return path.with_suffix(".m4a").rename(path)


def frameless_mp4(path: Path) -> Path:
    """A video stream that was announced, of which no frame was ever written."""
    clip(path.with_name("whole.mp4"))
    with av.open(str(path.with_name("whole.mp4"))) as source, av.open(str(path), "w") as out:
        out.add_stream_from_template(source.streams.video[0])
        out.start_encoding()
    path.with_name("whole.mp4").unlink()
    return path


def animation(path: Path) -> Path:
    frames = [PIL.Image.new("RGB", (8, 8), (k * 80, 0, 0)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


JUNK = np.random.default_rng(5).bytes(3000)
TEXT = b"Neither a picture nor anything that moves. " * 99

PICTURES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.png", lambda path: None, "no such file"),
    "empty": ("a.png", lambda path: filled(path, b""), "is empty"),
    "truncated png": ("a.png", lambda path: shortened(picture(path), 0.5), "cut short"),
    "truncated jpeg": ("a.jpg", lambda path: shortened(picture(path), 0.5), "cut short"),
    "corrupt": ("a.png", lambda path: filled(path, b"\x89PNG\r\n\x1a\n" + JUNK), "a.png: is"),
    "text": ("a.png", lambda path: filled(path, TEXT), "not a picture"),
    "a sound named so": (
        "a.png",
        lambda path: write_audio(path.with_suffix(".wav"), hum(), 16000).rename(path),
        "not a picture",
    ),
    "animated": ("a.gif", animation, "holds 3 pictures"),
    "unknown suffix": ("a.xyz", lambda path: filled(path, JUNK), "'.xyz'"),
    "no suffix": ("a", lambda path: filled(path, JUNK), "suffix"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_bad_pictures(case: str, image_model: Path, tmp_path: Path, refused: Refused) -> None:
    name, make, said = PICTURES[case]
    make(tmp_path / name)
    out = tmp_path / "out" / "b.png"
    refused("translate", tmp_path / name, "-m", image_model, "-o", out, code=2, said=said)


VIDEOS: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "missing": (lambda path: None, 2, "no such file"),
    "empty": (lambda path: filled(path, b""), 2, "is empty"),
    "truncated": (lambda path: shortened(clip(path), 0.5), 2, "a.mp4: is truncated"),
    "headless": (lambda path: shortened(clip(path), 0.01), 2, "a.mp4: is"),
    "corrupt": (lambda path: filled(path, JUNK), 2, "is damaged or not a video"),
    "text": (lambda path: filled(path, TEXT), 2, "a.mp4: is"),
    "a picture named so": (
        lambda path: picture(path.with_suffix(".png")).rename(path),
        2,
        "is not a video",
    ),
    "only sound": (sound_only_mp4, 2, "holds no video, only audio"),
    "no frame": (frameless_mp4, 2, "a.mp4: "),
}


@pytest.mark.parametrize("case", VIDEOS)
def test_bad_videos(case: str, image_model: Path, tmp_path: Path, refused: Refused) -> None:
    make, code, said = VIDEOS[case]
    make(tmp_path / "a.mp4")
    out = tmp_path / "out" / "b.mp4"
    refused("translate", tmp_path / "a.mp4", "-m", image_model, "-o", out, code=code, said=said)


RECORDINGS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.wav", lambda path: None, "no such file"),
    "empty": ("a.wav", lambda path: filled(path, b""), "is empty"),
    "truncated wav": (
        "a.wav",
        lambda path: shortened(write_audio(path, hum(), 16000), 0.5),
        "cut short",
    ),
    "truncated flac": (
        "a.flac",
        lambda path: shortened(write_audio(path, hum(), 16000), 0.5),
        "damaged",
    ),
    "corrupt": ("a.wav", lambda path: filled(path, b"RIFF" + JUNK), "damaged"),
    "corrupt mp3": ("a.mp3", lambda path: filled(path, JUNK), "damaged or not a recording"),
    "text": ("a.flac", lambda path: filled(path, TEXT), "no sound"),
    "no samples": ("a.wav", lambda path: soundfile.write(path, np.zeros(0), 16000), "no sound"),
    "a picture named so": (
        "a.wav",
        lambda path: picture(path.with_suffix(".png")).rename(path),
        "is not a recording but",
    ),
    "a silent film": (
        "a.mp4",
        lambda path: write_clip(
            path, make_scene(0), "a", seconds=0.5, fps=12, size=(32, 48), with_sound=False
        ),
        "holds no sound",
    ),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_bad_recordings(case: str, voice_model: Path, tmp_path: Path, refused: Refused) -> None:
    name, make, said = RECORDINGS[case]
    make(tmp_path / name)
    out = tmp_path / "out" / "b.wav"
    refused("translate", tmp_path / name, "-m", voice_model, "-o", out, code=2, said=said)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.wav"])
@pytest.mark.parametrize("content", [b"", JUNK, TEXT])
def test_info_of_bad_files(name: str, content: bytes, tmp_path: Path, refused: Refused) -> None:
    refused("info", filled(tmp_path / name, content), code=2, said=name)
    refused("info", tmp_path / "nowhere", code=2, said="no such file or folder")


def test_the_smallest_files_there_are_do_work(
    image_model: Path, voice_model: Path, tmp_path: Path
) -> None:
    dot, film, tick = tmp_path / "dot.png", tmp_path / "dot.mkv", tmp_path / "tick.wav"
    write_image(dot, Image(noise(1, 1)))
    write_audio(tick, np.array([0.5], np.float32), 16000)
    out = tmp_path / "out"
    assert main(["translate", str(dot), "-m", str(image_model), "-o", f"{out}/"]) == 0
    assert read_image(out / "dot.png").pixels.shape == (1, 1, 3)
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 1, 1, "bgr0"
        frame = av.VideoFrame.from_ndarray(noise(1, 1), format="rgb24").reformat(format="bgr0")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert main(["translate", str(film), "-m", str(image_model), "-o", f"{out}/"]) == 0
    with VideoReader(out / "dot.mkv") as video:
        assert [frame.pixels.shape for frame in video] == [(1, 1, 3)]
    assert main(["translate", str(tick), "-m", str(voice_model), "-o", f"{out}/"]) == 0
    assert read_audio(out / "tick.wav").samples.shape == (1, 1)


def test_a_model_of_the_other_modality(
    image_model: Path, voice_model: Path, tmp_path: Path, refused: Refused
) -> None:
    sight, sound = picture(tmp_path / "a.png"), write_audio(tmp_path / "a.wav", hum(), 16000)
    film = clip(tmp_path / "a.mp4")
    out = tmp_path / "out"

    def given(source: Path, model: Path, target: str, said: str) -> None:
        refused("translate", source, "-m", model, "-o", out / target, code=2, said=said)

    given(sound, image_model, "b.wav", "is a recording, but this model translates pictures")
    given(sight, voice_model, "b.png", "is a picture, but this model converts voices")
    given(film, voice_model, "b.mp4", "is a recording")
    given(tmp_path, voice_model / "nothing", "", "no such model")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def other_format(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 99}))


def unknown_backbone(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"resnet"', '"os.system"'))


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "broken config": (broken_config, "is not valid JSON"),
    "another format": (other_format, "format is 99"),
    "unknown backbone": (unknown_backbone, "os.system"),
    "no weights": (
        lambda folder: (folder / "generator_a2b.safetensors").unlink(),
        "generator_a2b.safetensors: is missing",
    ),
    "damaged weights": (
        lambda folder: shortened(folder / "generator_a2b.safetensors", 0.5),
        "damaged",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(case: str, image_model: Path, tmp_path: Path, refused: Refused) -> None:
    damage, said = MODELS[case]
    damage(image_model)
    source = picture(tmp_path / "a.png")
    out = tmp_path / "out.png"
    refused("translate", source, "-m", image_model, "-o", out, code=2, said=said)
    if case not in ("no config", "unknown backbone"):  # a folder then, and a name like any other
        refused("info", image_model, code=2, said=said)


def test_a_file_or_a_checkpoint_given_as_a_model(tmp_path: Path, refused: Refused) -> None:
    source = picture(tmp_path / "a.png")
    out = tmp_path / "out.png"
    refused("translate", source, "-m", source, "-o", out, code=2, said="is a file, not a model")


class Executed:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: filled(path, b""), "g.pth: is"),
        (lambda path: filled(path, JUNK), "is damaged or not"),
        (lambda path: torch.save({"weight": torch.zeros(3)}, path), "'weight'"),
        (lambda path: torch.save([1, 2], path), "not a state dict"),
        (lambda path: torch.save(Executed(), path), "could run code"),
    ],
)
def test_bad_checkpoints(
    make: Callable[[Path], object],
    said: str,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "g.pth")
    refused("import", "g.pth", "-o", "model", code=2, said=said)
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    for side in "ab":
        (tmp_path / side).mkdir()
        for k in range(2):
            picture(tmp_path / side / f"{k}.png")
    return ["--data-a", str(tmp_path / "a"), "--data-b", str(tmp_path / "b")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + "colour: red\n", "colour: unknown key"),
        (lambda text: text.replace("blocks", "blocs"), "model.generator.blocs: unknown key"),
        (lambda text: text.replace("crop_size: 16", "crop: 16"), "data.crop: unknown key"),
        (lambda text: text.replace("weight: 10", "weigth: 10"), "objective.cycle.weigth"),
        (lambda text: text.replace("cycle:", "circle:"), "objective.circle"),
        (lambda text: text.replace("width: 2, blocks", "width: wide, blocks"), "width"),
        (lambda text: text.replace("name: resnet", "name: os.system"), "os.system"),
        (lambda text: text.replace("modality: image", "modality: smell"), "modality"),
        (lambda text: text.replace("load_size: 18", "load_size: 8"), "load_size"),
        (lambda text: "{" + text, "not valid YAML"),
        (lambda text: "!!python/object/apply:os.mkdir [executed]", "not valid YAML"),
        (lambda text: "", "is not a recipe"),
    ],
)
def test_bad_recipes(
    change: Callable[[str], str],
    said: str,
    data: list[str],
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(change(RECIPE))
    refused("train", recipe, *data, "--out", tmp_path / "run", code=2, said=said)
    refused("info", recipe, code=2, said=said)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trainer.steps", "write it as"),
        ("trainer.stepps=3", "stepps"),
        ("trainer.steps=-3", "steps"),
    ],
)
def test_bad_overrides(
    setting: str, said: str, data: list[str], tmp_path: Path, refused: Refused
) -> None:
    recipe = filled(tmp_path / "tiny.yaml", RECIPE.encode())
    refused("train", recipe, *data, "--out", tmp_path / "run", "--set", setting, code=2, said=said)


def test_bad_training_data(data: list[str], tmp_path: Path, refused: Refused) -> None:
    recipe = filled(tmp_path / "tiny.yaml", RECIPE.encode())
    (tmp_path / "none").mkdir()

    def given(folder: Path, said: str) -> None:
        pair = ["--data-a", folder, "--data-b", tmp_path / "b"]
        refused("train", recipe, *pair, "--out", tmp_path / "run", code=2, said=said)

    given(tmp_path / "nowhere", "nowhere: no such folder")
    given(tmp_path / "none", "holds no images or videos for domain A")
    given(recipe, "is a file, not a folder")
    refused("train", "no_such_recipe", *data, "--out", tmp_path / "run", code=2, said="cyclegan")
    refused("train", recipe, *data, "--out", tmp_path / "run", "--resume", code=2, said="--resume")


def test_a_damaged_picture_among_the_training_data_is_named(
    data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = filled(tmp_path / "tiny.yaml", RECIPE.encode())
    shortened(tmp_path / "a" / "1.png", 0.5)
    assert (
        main(["train", str(recipe), *data, "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
    )
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "1.png" in errors[0]
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("kind", ["picture", "clip", "voice"])
def test_an_output_that_cannot_be_written(
    kind: str, image_model: Path, voice_model: Path, tmp_path: Path, refused: Refused
) -> None:
    model = voice_model if kind == "voice" else image_model
    source = {
        "picture": lambda: picture(tmp_path / "a.png"),
        "clip": lambda: clip(tmp_path / "a.mp4"),
        "voice": lambda: write_audio(tmp_path / "a.wav", hum(), 16000),
    }[kind]()
    blocked = filled(tmp_path / "file", b"in the way")

    def to(target: Path, said: str) -> None:
        refused("translate", source, "-m", model, "-o", target, code=2, said=said)

    to(blocked / f"b{source.suffix}", "file")
    to(blocked / "deeper" / f"b{source.suffix}", "file")
    # Not even root makes files in there.
    to(Path("/proc/nobody") / f"b{source.suffix}", "/proc/nobody")
    to(tmp_path / "b.xyz", "'.xyz'")
    to(source, "its own source")


def test_a_model_or_training_that_cannot_be_written(
    data: list[str], tmp_path: Path, refused: Refused, shared_golden: Path
) -> None:
    recipe = filled(tmp_path / "tiny.yaml", RECIPE.encode())
    refused("train", recipe, *data, "--out", recipe, code=2, said="tiny.yaml")
    refused("train", recipe, *data, "--out", recipe / "run", code=2, said="tiny.yaml")
    checkpoint = shared_golden / "latest_net_G.pth"
    refused("import", checkpoint, "-o", recipe / "model", code=2, said="tiny.yaml")
    refused("import", checkpoint, "-o", tmp_path / "a", "--overwrite", code=2, said="not a model")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 kB, all of them taken."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=32k", "tmpfs"]
    try:
        mounted = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this machine has no mount command")
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        (place / "filler").write_bytes(bytes(32 * 1024))
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("kind", ["picture", "deep picture", "clip", "voice", "opus"])
def test_a_full_disk_while_translating(
    kind: str,
    image_model: Path,
    voice_model: Path,
    small_disk: Path,
    refused: Refused,
    tmp_path: Path,
) -> None:
    if kind == "picture":
        source = write_image(tmp_path / "a.png", Image(noise(80, 80)))
    elif kind == "deep picture":
        source = write_image(tmp_path / "a.png", Image(noise(80, 80).astype(np.uint16) * 257))
    elif kind == "clip":
        source = write_clip(tmp_path / "a.mp4", make_scene(0), "a", 2.0, 24, (128, 128))
    else:
        source = write_audio(tmp_path / "a.wav", 0.3 * hum(2.0), 16000)
    model = voice_model if kind in ("voice", "opus") else image_model
    target = small_disk / ("b.opus" if kind == "opus" else f"b{source.suffix}")
    refused(
        "translate", source, "-m", model, "-o", target, code=1, said=f"{target}: the disk is full"
    )
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_full_disk_while_importing_or_training(
    data: list[str],
    small_disk: Path,
    refused: Refused,
    tmp_path: Path,
    shared_golden: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    checkpoint = shared_golden / "latest_net_G.pth"
    refused("import", checkpoint, "-o", small_disk / "m", code=1, said="the disk is full")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()  # room for the run's tables, not for its checkpoint
    recipe = filled(tmp_path / "tiny.yaml", RECIPE.encode())
    run = small_disk / "run"
    assert main(["train", str(recipe), *data, "--out", str(run), "--device", "cpu", "--quiet"]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1, error
    assert "the disk is full" in error
    assert not (run / "model").exists()
    assert [path for path in run.rglob("*") if ".partial-" in path.name] == []


def run_command(
    *arguments: object, limit: int | None = None, stdout: object = None
) -> tuple[int, str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run(
        [sys.executable, "-m", "cyclegan_media.cli", *map(str, arguments)],
        stdout=stdout or subprocess.DEVNULL,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=limited,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return result.returncode, result.stderr


def test_a_limit_on_the_size_of_files(image_model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    out = tmp_path / "out"
    code, errors = run_command("translate", source, "-m", image_model, "-o", f"{out}/", limit=1024)
    assert code == 2
    assert errors == f"error: {out / 'a.png'}: cannot go on writing it: file too large\n"
    assert list(out.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_stream_that_is_full(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        code, errors = run_command("info", picture(tmp_path / "a.png"), stdout=full)
    assert code == 1
    assert errors == "error: the output: the disk is full; free some space\n"


def test_a_pipe_is_refused_rather_than_waited_for(
    image_model: Path, tmp_path: Path, refused: Refused
) -> None:
    out = tmp_path / "b.png"
    os.mkfifo(tmp_path / "a.png")
    refused("translate", tmp_path / "a.png", "-m", image_model, "-o", out, code=2, said="is a pipe")
