"""Videos through a generator: what changes, and all that must stay."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor
from video_files import moving, packets, picture, plain, psnr, same, times, write_video

from cyclegan_media.backbones.registry import build
from cyclegan_media.media import VideoReader
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.video import translate_video

PIXEL = 65536


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", moving(30))


# ---------------------------------------------------------------------------- what changes


def test_the_generator_sees_upright_frames_and_its_colours_are_written(tmp_path: Path) -> None:
    red = plain((81, 90, 240), (32, 48))
    matrix = [0, PIXEL, 0, -PIXEL, 0, 0, 0, 0, 1 << 30]
    source = write_video(
        tmp_path / "red.mp4", [red] * 1 + [plain((81, 90, 240), (32, 48))] * 4, matrix=matrix
    )
    seen: list[Tensor] = []

    def to_blue(frames: Tensor) -> Tensor:
        seen.append(frames)
        return frames.flip(1)

    result = translate_video(to_blue, source, tmp_path / "blue.mp4", batch_size=2, crf=4)
    assert [len(frames) for frames in seen] == [2, 2, 1]
    assert result.seconds == Fraction(5, 25)
    assert all(frames.shape[1:] == (3, 48, 32) for frames in seen)
    assert all(frames.dtype == torch.float32 for frames in seen)
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx([1, -1, -1], abs=0.02)
    assert result.frames == 5
    with VideoReader(tmp_path / "blue.mp4") as video:
        frames = [frame.pixels for frame in video]
    assert np.abs(np.stack(frames).astype(int) - [0, 0, 254]).max() <= 3


def test_a_network_of_any_multiple_keeps_the_size(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", moving(3, (50, 70)))
    network = build({"name": "resnet", "width": 4, "blocks": 1}).eval()
    apply = make_apply(network, torch.device("cpu"), torch.float32, 2)
    translate_video(apply, source, tmp_path / "out.mp4", batch_size=2)
    with VideoReader(tmp_path / "out.mp4") as video:
        assert (video.height, video.width) == (50, 70)
        assert len(list(video)) == 3
    assert psnr(source, tmp_path / "out.mp4") < 30


# ---------------------------------------------------------------------------- what stays


def test_sound_subtitles_and_their_tags_stay_to_the_byte(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "talk.mp4", moving(30), sound="aac", subtitles="mov_text",
        tags={"title": "A talk", "comment": "as recorded"},
        chapters=[
            {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000),
             "metadata": {"title": "Opening"}},
            {"id": 2, "start": 500, "end": 1200, "time_base": Fraction(1, 1000),
             "metadata": {"title": "The rest"}},
        ],
    )  # fmt: skip
    target = tmp_path / "out.mp4"
    result = translate_video(same, source, target, provenance={"comment": "synthetic"})
    assert result.messages == ()
    assert packets(target, 1) == packets(source, 1)
    assert packets(target, 2) == packets(source, 2)
    with VideoReader(source) as one, VideoReader(target) as other:
        assert one.duration == other.duration == Fraction(30, 25)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        for one, other in zip(before.streams, after.streams, strict=True):
            assert one.type == other.type
            assert one.language == other.language
            assert one.disposition == other.disposition
        assert after.metadata["title"] == "A talk"
        assert after.metadata["comment"].splitlines() == ["as recorded", "synthetic"]
        titles = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in after.chapters()]
    assert titles == [(0, "Opening"), (Fraction(1, 2), "The rest")]


def test_tags_of_any_name_stay_in_mp4(tmp_path: Path, clip: Path) -> None:
    translate_video(same, clip, tmp_path / "out.mp4", provenance={"synthetic_media": "yes"})
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["synthetic_media"] == "yes"


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_times_are_exact(tmp_path: Path, codec: str) -> None:
    # At a variable rate, beginning late, and with B-frames in both files.
    stamps = [647, 1152, 1340, 2640, 2641, 9640, 12800, 13312, 13824, 14336, 20000, 20512]
    source = write_video(
        tmp_path / "vfr.mp4", moving(12), times=stamps, last_duration=777, sound="aac",
        sound_start=Fraction(1, 20), options={"crf": "20"},
    )  # fmt: skip
    target = tmp_path / "out.mp4"
    translate_video(same, source, target, codec=codec)
    assert times(target) == times(source) == [Fraction(stamp, 12800) for stamp in stamps]
    assert packets(target, 1) == packets(source, 1)
    with VideoReader(source) as before, VideoReader(target) as after:
        assert after.frame_count == before.frame_count == 12


@pytest.mark.parametrize(
    "turn",
    [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)],
)
def test_rotation_stays(tmp_path: Path, turn: tuple[int, int, int, int]) -> None:
    a, b, c, d = (PIXEL * value for value in turn)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source = write_video(
        tmp_path / "turned.mp4", moving(4, (32, 48)), matrix=matrix, aspect=Fraction(4, 3)
    )
    for target in (tmp_path / "out.mp4", tmp_path / "out.mkv"):
        translate_video(same, source, target, crf=12)
        with VideoReader(target) as video:
            assert video.display_matrix == matrix
            assert video.stored_size == (32, 48)
            assert video.pixel_aspect == Fraction(4, 3)
        assert psnr(source, target) > 40
    # A transport stream cannot turn pictures, so they are stored as they are seen.
    translate_video(same, source, tmp_path / "out.ts", crf=12)
    with VideoReader(tmp_path / "out.ts") as video:
        assert video.display_matrix is None
        assert video.pixel_aspect == (Fraction(3, 4) if a == 0 else Fraction(4, 3))
    assert psnr(source, tmp_path / "out.ts") > 40


@pytest.mark.parametrize(
    "colours",
    [
        {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1},
        {"colorspace": 1, "color_range": 2, "color_primaries": 1, "color_trc": 13},
        {"colorspace": 6, "color_range": 2, "color_primaries": 6, "color_trc": 6},
        {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16},
        {},
    ],
)
@pytest.mark.parametrize("bits", [8, 10])
def test_colour_tags_and_depth_stay(tmp_path: Path, colours: dict[str, int], bits: int) -> None:
    source = write_video(tmp_path / "tagged.mp4", moving(5, bits=bits), colours=colours)
    translate_video(same, source, tmp_path / "out.mp4", crf=12)
    with VideoReader(source) as before, VideoReader(tmp_path / "out.mp4") as after:
        assert after.tags == before.tags
        assert after.layout == before.layout
        assert after.layout.coding.bits == bits
    assert psnr(source, tmp_path / "out.mp4") > 40


@pytest.mark.parametrize("size", [(33, 48), (32, 49), (33, 49), (1, 1), (2, 3)])
def test_odd_sizes_stay(
    tmp_path: Path, size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    frames = [plain((60 + 20 * k, 110, 140), size) for k in range(3)]
    source = write_video(tmp_path / "odd.mkv", frames, codec="ffv1", options={},
                         time_base=Fraction(1, 1000), times=[0, 40, 80])  # fmt: skip
    with caplog.at_level(logging.WARNING, "cyclegan_media"):
        translate_video(same, source, tmp_path / "out.mp4", crf=12)
    with VideoReader(tmp_path / "out.mp4") as video:
        assert (video.height, video.width) == size
        stored = video.layout.format
    assert stored == ("yuv422p" if size[1] % 2 == 0 else "yuv444p")
    assert f"is stored as {stored}, not as yuv420p" in caplog.text
    assert psnr(source, tmp_path / "out.mp4") > 40


def test_chroma_that_is_not_subsampled_stays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    planes = [rng.integers(60, 180, (24, 32)).astype(np.uint8) for _ in range(3)]
    source = write_video(tmp_path / "full.mp4", [picture(planes, "yuv444p")])
    translate_video(same, source, tmp_path / "out.mp4", crf=1)
    with VideoReader(tmp_path / "out.mp4") as video:
        assert video.layout.format == "yuv444p"
    assert psnr(source, tmp_path / "out.mp4") > 40


def test_other_video_streams_are_left_out_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_video(
        tmp_path / "two.mp4", moving(6, (32, 32)), second=moving(5, (48, 64)), sound="aac"
    )
    result = translate_video(same, source, tmp_path / "out.mp4")
    assert result.frames == 5
    assert result.messages == ("video track 0 is left out",)
    assert "out.mp4: video track 0 is left out" in caplog.text
    result = translate_video(same, source, tmp_path / "other.mp4", stream=0)
    assert result.frames == 6
    with av.open(str(tmp_path / "other.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_sound_longer_than_the_picture_is_kept_to_its_end(tmp_path: Path) -> None:
    picture_ = moving(1)
    source = write_video(tmp_path / "long.mp4", picture_, last_duration=12800 * 8, sound="aac")
    assert len(packets(source, 1)) > 256
    translate_video(same, source, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4", 1) == packets(source, 1)
