"""A distilled model imitates its teacher, is a model like any other, and is never half-written."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclegan_media.backbones import build
from cyclegan_media.cli import main
from cyclegan_media.distill import Settings, distill, learn, operations, student_spec
from cyclegan_media.distill.frames import learning_crops
from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.translate import Translator

TEACHER = {"name": "resnet", "width": 16, "blocks": 1}
QUICK = Settings(width=4, blocks=1, crops=8, size=32, steps=60, batch_size=2)
TINY = ["--width=4", "--blocks=1", "--crops=4", "--size=32", "--device=cpu"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    network = build(TEACHER)
    config = ModelConfig(
        modality="image", domains={"a": "day", "b": "night"}, generators={"a2b": TEACHER}
    )
    return save_model(
        tmp_path_factory.mktemp("models") / "grand", PretrainedModel(config, {"a2b": network})
    )


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of coloured blocks, each of another mean brightness: its number."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(0)
    for k in range(10):
        coarse = random.integers(20 * k, 20 * k + 60, (5, 5, 3), dtype=np.uint8)
        write_image(folder / f"{k}.png", Image(coarse.repeat(8, axis=0).repeat(8, axis=1)))
    return folder


def test_a_student_comes_closer_to_its_teacher_than_the_input_is(
    teacher: Path, frames: Path, tmp_path: Path
) -> None:
    result = distill(
        teacher, tmp_path / "small", frames_a=frames, settings=QUICK, device="cpu", progress=False
    )
    assert (result.steps, result.interrupted) == (60, False)
    measured = result.measured["a2b"]
    assert measured.psnr > measured.input_psnr
    assert measured.ssim > measured.input_ssim
    # The figures are those of what a user will get.
    _, held_out = learning_crops(frames, count=8, size=32)
    wanted = Translator.load(teacher).translate(held_out).float()
    got = Translator.load(result.model).translate(held_out).float()
    errors = (got - wanted).square().mean(dim=(1, 2, 3))
    assert measured.psnr == pytest.approx(float((10 * torch.log10(255**2 / errors)).mean()), 1e-3)


def test_the_command_writes_a_model_like_any_other(
    teacher: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    command = ["distill", str(teacher), "--frames", str(frames), "-o", str(small), *TINY]
    assert main([*command, "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(small)
    assert told["measured"]["a2b"]["pictures"] == 1
    model = load_model(small)
    assert model.config.origin == "distilled from grand"
    assert model.config.domains == {"a": "day", "b": "night"}
    assert model.config.steps == 2
    assert list(model.generators) == ["a2b"]
    source, target = frames / "3.png", tmp_path / "out.png"
    assert main(["translate", str(source), "-m", str(small), "-o", str(target), "--quiet"]) == 0
    assert target.exists()


def test_both_directions_learn_from_frames_of_their_own(frames: Path, tmp_path: Path) -> None:
    both = {"a2b": build(TEACHER), "b2a": build(TEACHER)}
    config = ModelConfig(modality="image", generators={"a2b": TEACHER, "b2a": TEACHER})
    teacher = save_model(tmp_path / "both", PretrainedModel(config, both))
    settings = Settings(width=4, blocks=1, crops=2, size=32, steps=2, batch_size=2)
    result = distill(
        teacher,
        tmp_path / "small",
        frames_a=frames,
        frames_b=frames,
        settings=settings,
        device="cpu",
        progress=False,
    )
    assert list(result.measured) == ["a2b", "b2a"]
    assert set(load_model(result.model).generators) == {"a2b", "b2a"}


def test_operations_are_those_of_the_layer_table() -> None:
    def resnet(w: int, blocks: int, side: int) -> int:
        half, quarter = (side // 2) ** 2, (side // 4) ** 2
        stem = head = 49 * 3 * w * side**2
        down = 9 * (w * 2 * w * half + 2 * w * 4 * w * quarter)
        # A transposed convolution multiplies each pixel of its input by the whole kernel.
        up = 9 * (4 * w * 2 * w * quarter + 2 * w * w * half)
        return 2 * (stem + down + blocks * 2 * 9 * (4 * w) ** 2 * quarter + up + head)

    assert operations({"name": "resnet"}) == resnet(64, 9, 256)
    assert operations({"name": "resnet", "width": 5, "blocks": 2}, (32, 32)) == resnet(5, 2, 32)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "resnet"},
        {"name": "resnet", "width": 16, "blocks": 3},
        {"name": "unet"},
        {"name": "pix2pixhd_global", "width": 16},
    ],
)
def test_a_student_takes_a_tenth_of_its_teachers_arithmetic(spec: dict[str, Any]) -> None:
    with torch.device("meta"):
        student = student_spec(build(spec))
    assert operations(student) <= 0.1 * operations(spec)


def test_a_student_may_be_asked_for_by_size() -> None:
    wanted = {"name": "resnet", "width": 24, "blocks": 2}
    assert student_spec(build(TEACHER), width=24, blocks=2) == wanted
    with pytest.raises(UserError, match="no student a tenth of it"):
        student_spec(build({"name": "resnet", "width": 1, "blocks": 1}))


def test_loss_by_hand() -> None:
    # d = 2 x on a grid of 3 columns: mean 2; steps of 2 along x and none along y.
    difference = torch.tensor([0.0, 2.0, 4.0]).expand(1, 3, 2, 3)
    zero = torch.zeros(1, 3, 2, 3)
    assert learn.imitation_loss(difference, zero, 0.0).item() == 2.0
    assert learn.imitation_loss(difference, zero, 5.0).item() == 12.0


def test_held_out_frames_are_none_that_teach(frames: Path) -> None:
    crops, held_out = learning_crops(frames, count=18, size=40)
    assert (crops.shape, held_out.shape) == ((18, 3, 40, 40), (1, 3, 40, 40))
    learned = {tuple(crop.flatten().tolist()) for crop in crops}
    assert len(learned) == 9
    assert tuple(held_out[0].flatten().tolist()) not in learned


def test_of_a_video_the_end_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "brighter.mp4"
    write_brightening(path, frames=20)
    crops, held_out = learning_crops(path, count=18, size=32)
    assert len(held_out) == 2
    assert held_out.float().mean((1, 2, 3)).min() > crops.float().mean((1, 2, 3)).max()


def write_brightening(path: Path, frames: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for k in range(frames):
            pixels = np.full((48, 48, 3), 10 + 10 * k, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))


def interrupt_at(call: int, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Press Ctrl-C in the ``call``-th call of a function, which goes on as ever."""
    real, seen = getattr(owner, name), []

    def pressed(*args: Any, **kwargs: Any) -> Any:
        seen.append(None)
        if len(seen) == call:
            signal.raise_signal(signal.SIGINT)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, pressed)


def test_an_interrupt_saves_the_student_as_it_is(
    teacher: Path,
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_at(3, monkeypatch, learn, "imitation_loss")
    small = tmp_path / "small"
    command = ["distill", str(teacher), "--frames", str(frames), "-o", str(small), *TINY]
    assert main([*command, "--steps", "1000000"]) == 130
    assert "stopped after step 3; the student is saved" in capsys.readouterr().err
    assert load_model(small).config.steps == 3


def test_an_interrupt_before_the_first_step_leaves_nothing(
    teacher: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(1, monkeypatch, Translator, "translate")
    with pytest.raises(KeyboardInterrupt):
        distill(
            teacher, tmp_path / "s", frames_a=frames, settings=QUICK, device="cpu", progress=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": Settings(size=8)}, "crops of 8 pixels"),
        ({"settings": Settings(size=30)}, "in multiples of 4"),
        ({"frames_a": None}, "needs frames"),
        ({"frames_a": None, "frames_b": "frames"}, "no generator for the direction b2a"),
        ({"frames_a": "missing"}, "there is no such file"),
        ({"frames_a": "text.txt"}, "give a video, or a folder"),
        ({"frames_a": "empty"}, "holds no pictures or videos"),
        ({"frames_a": "single"}, "at least two frames"),
        ({"student": "full"}, "exists already"),
        ({"student": "full", "overwrite": True}, "is not a model folder"),
    ],
)
def test_wrong_input_is_one_sentence_and_writes_nothing(
    teacher: Path, frames: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "text.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    for folder in ("single", "full"):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "1.png", Image(np.zeros((32, 32, 3), dtype=np.uint8)))
    before = sorted(tmp_path.rglob("*"))
    usual = {"student": "small", "frames_a": "frames", "settings": QUICK}
    arguments: dict[str, Any] = {**usual, **change}
    for key in ("student", "frames_a", "frames_b"):
        if isinstance(arguments.get(key), str):
            named = arguments[key]
            arguments[key] = frames if named == "frames" else tmp_path / named
    with pytest.raises(UserError, match=sentence):
        distill(teacher, **arguments, device="cpu", progress=False)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "vc2", "coefficients": 8, "width": 2}, "converts voices"),
        ({"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 2}, "random code"),
        ({"name": "resnet", "channels": 1}, "1 channels, not 3"),
    ],
)
def test_teachers_that_cannot_be_distilled_are_refused(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        student_spec(build(spec))
