"""Which stage of a video's translation is the limit: measured, named, and shown by the command."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor
from video_files import moving, picture, same, write_video

from cyclegan_media.backbones import build
from cyclegan_media.cli import main
from cyclegan_media.media.image import Image
from cyclegan_media.media.image_writer import write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate.stages import Stage, StageTimes, Step
from cyclegan_media.translate.video import translate_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", moving(20))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    spec = {"name": "resnet", "width": 4, "blocks": 1}
    config = ModelConfig(modality="image", generators={"a2b": spec})
    return save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec)}))


def test_a_slow_network_is_named(clip: Path, tmp_path: Path) -> None:
    def slow(frames: Tensor) -> Tensor:
        time.sleep(0.05)
        return frames

    times = translate_video(slow, clip, tmp_path / "out.mp4").times
    assert times.limit == "translating"
    assert times.frames == 20
    assert 20 * 0.05 <= times.stages["translating"] <= times.seconds


def test_a_slow_encoder_is_named(tmp_path: Path) -> None:
    # Noise of which x264 searches every way, down to the frames that it holds back to the end.
    noise = np.random.default_rng(1).integers(16, 236, (6, 360, 480), np.uint8)
    grey = np.full((180, 240), 128, np.uint8)
    source = write_video(tmp_path / "noise.mkv", [picture([k, grey, grey]) for k in noise])
    times = translate_video(same, source, tmp_path / "out.mp4", preset="placebo").times
    assert times.limit == "writing"
    assert "encoding" in times.verdict()
    assert "--preset fast" in times.verdict()


def test_shares_and_steps_add_up(clip: Path, tmp_path: Path) -> None:
    times = translate_video(same, clip, tmp_path / "out.mp4", batch_size=3).times
    assert all(0 <= times.share(stage) <= 1 for stage in times.stages)
    steps = times.steps
    assert steps["decoding"] + steps["converting to RGB"] == pytest.approx(times.stages["reading"])
    assert steps["converting from RGB"] + steps["encoding"] == pytest.approx(
        times.stages["writing"]
    )
    assert min(steps.values()) > 0


def taken(stages: tuple[float, float, float], steps: tuple[float, ...]) -> StageTimes:
    names: tuple[Stage, ...] = ("reading", "translating", "writing")
    parts: tuple[Step, ...] = ("decoding", "converting to RGB", "converting from RGB", "encoding")
    return StageTimes(
        50, 10.0, dict(zip(names, stages, strict=True)), dict(zip(parts, steps, strict=True))
    )


@pytest.mark.parametrize(
    ("stages", "steps", "said"),
    [
        ((9.0, 1.0, 2.0), (8.0, 1.0, 1.0, 1.0), "reading, most of it decoding: a source"),
        (
            (9.0, 1.0, 2.0),
            (1.0, 8.0, 1.0, 1.0),
            "reading, most of it converting to RGB: it takes one core",
        ),
        ((1.0, 9.0, 2.0), (0.5, 0.5, 1.0, 1.0), "translating: a smaller network"),
        (
            (1.0, 2.0, 9.0),
            (0.5, 0.5, 8.0, 1.0),
            "writing, most of it converting from RGB: it takes one",
        ),
        ((1.0, 2.0, 9.0), (0.5, 0.5, 1.0, 8.0), "writing, most of it encoding: --preset fast"),
        ((3.0, 3.5, 3.5), (1.5, 1.5, 1.5, 2.0), "No stage is the limit: the clip is too short"),
    ],
)
def test_the_verdict_says_what_would_help(
    stages: tuple[float, float, float], steps: tuple[float, ...], said: str
) -> None:
    assert said in taken(stages, steps).verdict()


def test_the_table_has_seconds_shares_and_rates() -> None:
    table = taken((1.0, 9.5, 2.5), (0.5, 0.5, 0.0, 2.5)).table()
    rows = {" ".join(line.split()[:-3]): line.split()[-3:] for line in table.splitlines()}
    assert rows["translating"] == ["9.50", "95%", "5.3"]
    assert rows["encoding"] == ["2.50", "25%", "20.0"]
    assert "converting from RGB" not in rows  # it was part of translating
    assert rows["the run"] == ["10.00", "100%", "5.0"]


def test_the_command_shows_them_for_videos_alone(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    write_image(photo, Image(np.zeros((16, 16, 3), np.uint8)))
    out = tmp_path / "out"
    command = ["translate", str(photo), str(clip), "-m", str(model), "-o", str(out)]
    assert main([*command, "--stats", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(out / "photo.png"), str(out / "clip.mp4")]
    assert lines[2].split() == ["stage", "seconds", "busy", "frames/s"]
    assert lines[-2].startswith("the run ")
    assert "limit" in lines[-1]
    plain = (out / "clip.mp4").read_bytes()
    assert main([*command, "--overwrite", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[:2]
    assert (out / "clip.mp4").read_bytes() == plain


def test_the_command_gives_them_to_programs(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, out = tmp_path / "bad.mp4", tmp_path / "out"
    bad.write_bytes(b"no video")
    command = ["translate", str(bad), str(clip), "-m", str(model), "-o", str(out), "--json"]
    assert main([*command, "--dry-run"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned[1] == {"input": str(clip), "output": str(out / "clip.mp4")}
    assert main([*command, "--stats", "--device", "cpu"]) == 2
    (made,) = json.loads(capsys.readouterr().out)
    assert made["output"] == str(out / "clip.mp4")
    stats = made["stats"]
    assert stats["frames"] == 20
    assert set(stats["stages"]) == {"reading", "translating", "writing"}
    assert all(0 < seconds <= stats["seconds"] for seconds in stats["stages"].values())


def test_a_talking_clip_has_them_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_video(tmp_path / "talk.mp4", moving(8), sound="aac")
    command = ["translate", str(source), "--video-model", str(model), "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "out.mp4"), "--stats"]) == 0
    assert "translating" in capsys.readouterr().out
