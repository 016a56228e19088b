"""Reading videos: which frames, when, of which stream, and which way up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from video_files import moving, write_video

from cyclegan_media.errors import UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.media.video_orientation import Orientation, orientation_of

ONE = 65536


def first_pixel(path: Path) -> list[int]:
    with VideoReader(path) as video:
        pixels = next(iter(video)).pixels
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].tolist()


# ---------------------------------------------------------------------------- time


def test_variable_times_are_exact(tmp_path: Path) -> None:
    times = [0, 512, 700, 2000, 2001, 9000, 12800]
    path = write_video(tmp_path / "vfr.mp4", moving(7), times=times, last_duration=77)
    with VideoReader(path) as video:
        frames = list(video)
    assert [frame.number for frame in frames] == list(range(7))
    assert [frame.time for frame in frames] == [Fraction(t, 12800) for t in times]
    assert frames[-1].duration * frames[-1].time_base == Fraction(77, 12800)
    assert video.frame_count == 7
    assert video.duration == Fraction(12877, 12800)


def test_frames_come_in_the_order_they_are_shown(tmp_path: Path) -> None:
    options = {"crf": "20", "bf": "3", "b-adapt": "0"}
    path = write_video(
        tmp_path / "b.mkv",
        moving(20),
        options=options,
        time_base=Fraction(1, 1000),
        times=range(0, 20000, 1000),
    )
    with VideoReader(path) as video:
        assert [frame.time for frame in video] == list(range(20))
        assert video.frame_count is None


def test_a_late_start_is_kept(tmp_path: Path) -> None:
    times = [6400 + 512 * k for k in range(5)]
    path = write_video(tmp_path / "late.mp4", moving(5), times=times)
    with VideoReader(path) as video:
        assert [frame.time for frame in video] == [Fraction(t, 12800) for t in times]


def test_a_broadcast_begins_at_zero(tmp_path: Path) -> None:
    hours = 20 * 3600 * 12800
    times = [hours + 512 * k for k in range(5)]
    path = write_video(tmp_path / "station.ts", moving(5), times=times)
    with VideoReader(path) as video:
        assert [frame.time for frame in video] == [Fraction(k, 25) for k in range(5)]


def test_frames_without_times_get_the_frame_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", moving(5))
    with VideoReader(path) as video:
        assert [frame.time for frame in video] == [Fraction(k, 25) for k in range(5)]


def test_each_iteration_begins_anew(tmp_path: Path) -> None:
    path = write_video(tmp_path / "twice.mp4", moving(6))
    with VideoReader(path) as video:
        outer = iter(video)
        next(outer)
        assert [frame.number for frame in video] == list(range(6))
        assert [frame.number for frame in outer] == list(range(1, 6))


# ---------------------------------------------------------------------------- streams, size


def test_the_largest_stream_is_taken_and_others_by_number(tmp_path: Path) -> None:
    path = write_video(tmp_path / "two.mp4", moving(4, (32, 32)), second=moving(3, (48, 64)))
    with VideoReader(path) as video:
        assert (video.height, video.width, video.frame_count) == (48, 64, 3)
    with VideoReader(path, stream=0) as video:
        assert (video.height, video.width, len(list(video))) == (32, 32, 4)
    message = r"has no video stream 2; .* 0 \(h264 32×32\), 1 \(h264 64×48\)"
    with pytest.raises(UserError, match=message):
        VideoReader(path, stream=2)
    with pytest.raises(UserError, match="has no video stream -1"):
        VideoReader(path, stream=-1)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cover.mp4", moving(3), cover=True)
    with VideoReader(path) as video:
        assert (video.height, video.width) == (48, 64)
    with pytest.raises(UserError, match="has no video stream 1"):
        VideoReader(path, stream=1)


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "sizes.h264"
    parts = [
        write_video(tmp_path / f"{k}.h264", moving(3, s))
        for k, s in enumerate([(48, 64), (96, 128)])
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(path) as video:
        frames = [frame.pixels for frame in video]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    assert np.abs(frames[0].astype(float) - frames[3]).mean() < 12
    assert video.messages == (
        "changes its size at frame 3; frames are scaled to the first one's, 64×48",
    )


# ---------------------------------------------------------------------------- orientation


def _by_definition(pixels: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Put each stored pixel (p, q) at x = a·p + c·q, y = b·p + d·q, and move the lot to 0."""
    height, width = pixels.shape[:2]
    points = {(p, q): (a * p + c * q, b * p + d * q) for q in range(height) for p in range(width)}
    left, top = (min(point[k] for point in points.values()) for k in (0, 1))
    turned = np.zeros((width, height, 3) if a == 0 else pixels.shape, pixels.dtype)
    for (p, q), (x, y) in points.items():
        turned[y - top, x - left] = pixels[q, p]
    return turned


@pytest.mark.parametrize(
    "turn",
    [
        *((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)),
        *((-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)),
    ],
)
def test_frames_are_turned_upright(tmp_path: Path, turn: tuple[int, int, int, int]) -> None:
    a, b, c, d = (ONE * value for value in turn)
    matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    pictures = moving(2, (24, 32))
    plainly = write_video(tmp_path / "plain.mp4", pictures)
    turned = write_video(tmp_path / "turned.mp4", pictures, matrix=matrix)
    with VideoReader(plainly) as video:
        stored = [frame.pixels for frame in video]
    with VideoReader(turned) as video:
        shown = [frame.pixels for frame in video]
        size = (video.height, video.width)
    assert size == ((32, 24) if turn[0] == 0 else (24, 32))
    for one, other in zip(stored, shown, strict=True):
        np.testing.assert_array_equal(_by_definition(one, *turn), other)


def test_turning_back_undoes_turning() -> None:
    stored = torch.arange(3 * 4 * 5).reshape(3, 4, 5)
    for number in range(8):
        turn = Orientation(bool(number & 1), bool(number & 2), bool(number & 4))
        assert torch.equal(turn.stored(turn.upright(stored)), stored)


def test_rotation_is_told_clockwise() -> None:
    # Portrait on a phone: the picture is turned clockwise for display.
    clockwise = orientation_of((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30))
    assert clockwise is not None
    assert clockwise.rotation == 90
    picture_ = torch.tensor([[1, 2], [3, 4]])
    assert clockwise.upright(picture_).tolist() == [[3, 1], [4, 2]]
    assert orientation_of((46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)) is None


# ---------------------------------------------------------------------------- messages


def test_what_frames_do_not_show_is_told(tmp_path: Path) -> None:
    rgba = moving(1)[0].reformat(format="argb")
    see_through = write_video(tmp_path / "alpha.mov", [rgba], codec="qtrle", options={})
    options = {"x264-params": "interlaced=1", "flags": "+ilme+ildct"}
    interlaced = write_video(tmp_path / "fields.mp4", moving(3), options=options)
    askew = [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]
    tilted = write_video(tmp_path / "tilted.mp4", moving(1), matrix=askew)
    for path, message in {
        see_through: "has transparency, which is left out",
        interlaced: "is interlaced; its frames are taken as they are, deinterlace it first",
        tilted: "is not shown in quarter turns; its frames are taken as they are stored",
    }.items():
        with VideoReader(path) as video:
            assert next(iter(video)).pixels.shape == (48, 64, 3)
            assert video.messages == (message,)
