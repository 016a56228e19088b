"""Reading videos: which frames, when, in which colours, which way up, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from video_files import LOSSLESS, moving, picture, plain, write_video

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.media.video_colour import planes_from_rgb, rgb_from_planes
from cyclegan_media.media.video_format import PlaneCoding
from cyclegan_media.media.video_orientation import Orientation, orientation_of

BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)
ONE = 65536


def first_pixel(path: Path) -> list[int]:
    with VideoReader(path) as video:
        pixels = next(iter(video)).pixels
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].tolist()


# ---------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    ("yuv", "colours", "rgb"),
    [
        # The samples of the primaries of BT.601 and BT.709 (ITU-R BT.1361, SMPTE RP 219).
        ((235, 128, 128), {}, [255, 255, 255]),
        ((16, 128, 128), {}, [0, 0, 0]),
        ((81, 90, 240), {"colorspace": 6, "color_range": 1}, [254, 0, 0]),
        ((145, 54, 34), {"colorspace": 6, "color_range": 1}, [0, 255, 1]),
        ((63, 102, 240), {"colorspace": 1, "color_range": 1}, [255, 1, 0]),
        ((173, 42, 26), {"colorspace": 1, "color_range": 1}, [0, 255, 1]),
        ((32, 240, 118), {"colorspace": 1, "color_range": 1}, [1, 0, 255]),
        # Full range: Y = 0.299·255, Cr = 127.5·(1 − 0.299)/0.701 + 128.
        ((76, 85, 255), {"colorspace": 6, "color_range": 2}, [254, 0, 0]),
        ((128, 128, 128), {"colorspace": 6, "color_range": 2}, [128, 128, 128]),
        # A file of this size that says nothing is taken for BT.601, limited.
        ((81, 90, 240), {}, [254, 0, 0]),
    ],
)
def test_colours_are_those_that_the_tags_state(
    tmp_path: Path, yuv: tuple[int, int, int], colours: dict[str, int], rgb: list[int]
) -> None:
    path = write_video(tmp_path / "plain.mp4", [plain(yuv)], colours=colours)
    assert first_pixel(path) == rgb


def test_high_definition_without_tags_is_taken_for_bt709(tmp_path: Path) -> None:
    path = write_video(tmp_path / "hd.mp4", [plain((63, 102, 240), (720, 1280))])
    assert first_pixel(path) == [255, 1, 0]


def test_ten_bits_are_read_as_sixteen(tmp_path: Path) -> None:
    planes = [np.full((16, 16), 64 + 438, np.uint16)] + [np.full((8, 8), 512, np.uint16)] * 2
    path = write_video(tmp_path / "deep.mp4", [picture(planes, "yuv420p10le")])
    with VideoReader(path) as video:
        frame = next(iter(video))
    assert frame.pixels.dtype == np.uint16
    # Half of the 876 steps between black and white.
    assert (frame.pixels == 32768).all()
    assert torch.equal(frame.tensor(), torch.zeros(3, 16, 16))


def test_a_matrix_that_is_not_linear_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "ictcp.mp4", [plain((81, 90, 240))], colours={"colorspace": 14})
    with pytest.raises(UserError, match=r"ictcp\.mp4: its colours use matrix 14"):
        VideoReader(path)


@pytest.mark.parametrize("codec", ["ffv1", "qtrle", "png", "rawvideo", "mjpeg"])
def test_other_pixel_formats_show_the_same_picture(tmp_path: Path, codec: str) -> None:
    formats = {"ffv1": "yuv422p10le", "qtrle": "rgb24", "png": "rgb24", "rawvideo": "nv12"}
    name = formats.get(codec, "yuvj444p")
    colour = plain((81, 90, 240)).reformat(
        format=name, dst_color_range=2 if codec == "mjpeg" else 1, dst_colorspace=5
    )
    suffix = ".mov" if codec in ("qtrle", "png") else ".mkv"
    path = write_video(tmp_path / f"other{suffix}", [colour], codec=codec, options={})
    rgb = np.asarray(first_pixel(path)) / (257 if codec == "ffv1" else 1)
    assert np.abs(rgb - [254, 0, 0]).max() <= 2


@pytest.mark.parametrize("weights", [BT601, BT709, BT2020])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("bits", "block"), [(8, (2, 2)), (8, (1, 2)), (10, (2, 2)), (12, (1, 1))])
def test_colours_within_the_gamut_come_back_to_the_bit(
    weights: tuple[float, float], full_range: bool, bits: int, block: tuple[int, int]
) -> None:
    coding = PlaneCoding(bits, full_range, weights)
    unit = 2 ** (bits - 8)
    rng = torch.Generator().manual_seed(1)
    # Of an odd size, so that the last blocks are cut.
    small = (-(-27 // block[0]), -(-33 // block[1]))
    luma = torch.randint(100 * unit, 150 * unit, (27, 33), generator=rng)
    chroma = torch.randint(108 * unit, 148 * unit, (2, *small), generator=rng)
    planes = [luma, *chroma]
    rgb = rgb_from_planes(planes, coding)
    assert rgb.shape == (3, 27, 33)
    assert rgb.abs().max() < 1
    again = planes_from_rgb(rgb, coding, block)
    assert all(torch.equal(a, b.long()) for a, b in zip(planes, again, strict=True))


def test_matrices_agree_with_their_definition() -> None:
    rgb = torch.tensor([0.5, -0.2, 0.3])[:, None, None]
    r, g, b = 0.75, 0.4, 0.65
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    planes = planes_from_rgb(rgb, PlaneCoding(8, False, BT709), (1, 1))
    wanted = [
        16 + 219 * luma,
        128 + 224 * (b - luma) / 1.8556,
        128 + 224 * (r - luma) / 1.5748,
    ]
    assert [int(plane) for plane in planes] == [round(value) for value in wanted]


@pytest.mark.parametrize("full_range", [False, True])
def test_colours_that_a_player_clips_come_back_nearly_as_shown(full_range: bool) -> None:
    # Light and dark on saturated blue, as of letters: most pixels lie outside the gamut.
    rng = torch.Generator().manual_seed(3)
    luma = torch.randint(2, (16, 16), generator=rng).repeat_interleave(3, 0) * 190 + 30
    planes = [luma.repeat_interleave(3, 1), torch.full((24, 24), 235), torch.full((24, 24), 112)]
    coding = PlaneCoding(8, full_range, BT601)
    shown = rgb_from_planes(planes, coding)
    again = rgb_from_planes(planes_from_rgb(shown, coding, (2, 2)), coding)
    # By the definition alone: luma of each pixel, chroma of each block's mean.
    means = torch.nn.functional.avg_pool2d(shown, 2)
    luma_alone = planes_from_rgb(shown, coding, (1, 1))[0]
    plainly = rgb_from_planes([luma_alone, *planes_from_rgb(means, coding, (1, 1))[1:]], coding)
    assert (again - shown).norm() < 0.5 * (plainly - shown).norm()


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


# ---------------------------------------------------------------------------- bad files


def test_files_that_are_no_videos_are_refused(tmp_path: Path, shared_tone: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video, but it says so at length\n" * 100)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    png = tmp_path / "picture.mp4"
    plain((81, 90, 240)).to_image().save(png, format="png")
    for name, message in {
        "missing.mp4": "there is no such file",
        "": "is a folder where a file is needed",
        "empty.mp4": "is empty",
        "text.mp4": "is damaged or not a video",
        "zeros.mp4": "is damaged or not a video",
        "picture.mp4": "is not a video but",
        "tone.mp4": "holds no video, only audio",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            VideoReader(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def shared_tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for k in range(5):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, 1024 * k
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        out.start_encoding()
    with pytest.raises(UserError, match=r"none\.mp4: holds no (video|frame)"):
        VideoReader(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_files_are_refused_at_once(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_video(tmp_path / f"whole{suffix}", moving(30))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"cut\.m..: is (truncated|damaged)"):
        VideoReader(cut)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_damage_in_the_middle_names_the_frame(tmp_path: Path, codec: str) -> None:
    path = write_video(
        tmp_path / "damaged.mp4",
        moving(40, (96, 128)),
        codec=codec,
        options={"crf": "20", "x265-params": "log-level=none"},
    )
    with av.open(str(path)) as container:
        entries = [(e.pos, e.size, e.timestamp) for e in container.streams.video[0].index_entries]
    data = bytearray(path.read_bytes())
    for position, size, _ in entries[20:24]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    read: list[int] = []
    with VideoReader(path) as video, pytest.raises(RunError) as caught:
        read.extend(frame.number for frame in video)
    assert f"damaged.mp4: frame {len(read)} cannot be decoded" in str(caught.value)
    assert 15 <= len(read) <= 24


def test_an_undamaged_start_is_not_needed(tmp_path: Path) -> None:
    # A recording of a broadcast begins anywhere between two key frames.
    options = {"crf": "20", "g": "10", "sc_threshold": "0", "bf": "0"}
    path = write_video(tmp_path / "whole.ts", moving(30), options=options)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(path.read_bytes()[188 * 20 :])
    with VideoReader(cut) as video:
        count = sum(1 for _ in video)
    assert 10 <= count < 30


def test_a_file_cannot_make_us_read_another(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.ts", moving(5))
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match=r"list\.mp4: is (not a video|damaged)"):
        VideoReader(playlist)
    concat = tmp_path / "concat.mp4"
    concat.write_text("ffconcat version 1.0\nfile secret.ts\n")
    with pytest.raises(UserError, match=r"concat\.mp4: is (not a video|damaged)"):
        VideoReader(concat)


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    path = write_video(tmp_path / "plain.mp4", moving(2)).rename(tmp_path / "pipe:0.mp4")
    with VideoReader(path) as video:
        assert len(list(video)) == 2


def test_lossless_options_are_lossless(tmp_path: Path) -> None:
    """What the other tests rest on."""
    pictures = moving(3)
    path = write_video(tmp_path / "exact.mp4", pictures, options=LOSSLESS)
    with VideoReader(path) as video:
        for made, frame in zip(pictures, video, strict=True):
            for plane, read in zip(made.planes, frame.planes(), strict=True):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
                np.testing.assert_array_equal(rows, read.numpy())
