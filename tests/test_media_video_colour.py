"""The colours of videos: planes and RGB by what the files say of them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import Interpolation
from video_files import moving, picture, plain, write_video

from cyclegan_media.errors import UserError
from cyclegan_media.media import VideoReader, video_colour
from cyclegan_media.media.video_colour import planes_from_rgb, rgb_from_planes
from cyclegan_media.media.video_device import planes_in_place
from cyclegan_media.media.video_format import PlaneCoding, PlaneLayout

BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


def first_pixel(path: Path) -> list[int]:
    with VideoReader(path) as video:
        pixels = next(iter(video)).pixels
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].tolist()


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


@pytest.mark.parametrize("block", [(2, 2), (1, 2), (1, 1), (2, 1), (1, 4), (4, 4)])
@pytest.mark.parametrize(("bits", "weights"), [(8, BT709), (10, BT601), (8, None)])
def test_a_picture_in_strips_is_the_same_to_the_bit(
    bits: int,
    weights: tuple[float, float] | None,
    block: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coding, (height, width) = PlaneCoding(bits, False, weights), (601, 479)
    rgb = torch.rand(3, height, width) * 2.4 - 1.2  # part of it is clipped
    in_strips = planes_from_rgb(rgb, coding, block)
    shown = rgb_from_planes(in_strips, coding)
    monkeypatch.setattr(video_colour, "_STRIP", height * width)
    whole = planes_from_rgb(rgb, coding, block)
    assert [plane.shape for plane in in_strips] == [plane.shape for plane in whole]
    assert all(torch.equal(a.long(), b.long()) for a, b in zip(in_strips, whole, strict=True))
    assert shown.shape == rgb.shape
    assert torch.equal(shown, rgb_from_planes(whole, coding))


@pytest.mark.parametrize("block", [(2, 2), (1, 2), (1, 4)])
@pytest.mark.parametrize("weights", [BT709, None])
def test_pictures_that_are_stacked_become_what_each_becomes(
    weights: tuple[float, float] | None, block: tuple[int, int]
) -> None:
    coding = PlaneCoding(8, False, weights)
    rgb = torch.rand(2, 3, 3, 27, 33) * 2.4 - 1.2
    stacked = planes_from_rgb(rgb, coding, block)
    shown = rgb_from_planes(stacked, coding)
    assert shown.shape == rgb.shape
    for at in np.ndindex(2, 3):
        planes = planes_from_rgb(rgb[at], coding, block)
        assert all(torch.equal(a[at], b) for a, b in zip(stacked, planes, strict=True))
        assert torch.equal(shown[at], rgb_from_planes(planes, coding))


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


@pytest.mark.parametrize(("name", "planar"), [("nv12", "yuv420p"), ("p010le", "yuv420p10le")])
def test_the_formats_of_gpus_hold_the_same_samples(name: str, planar: str) -> None:
    # What NVDEC hands out is brought into planes without a loss.
    deep = planar.endswith("10le")
    rng = np.random.default_rng(0)
    planes = [
        rng.integers(0, 1024 if deep else 256, shape).astype(np.uint16 if deep else np.uint8)
        for shape in ((34, 50), (17, 25), (17, 25))
    ]
    plain_picture = picture(planes, planar)
    how = Interpolation.BICUBIC | Interpolation.ACCURATE_RND  # as the reader has them
    again = plain_picture.reformat(format=name, interpolation=how)
    again = again.reformat(format=planar, interpolation=how)
    layout = PlaneLayout(planar, PlaneCoding(10 if deep else 8, False, BT709))
    for one, other in zip(layout.planes(plain_picture), layout.planes(again), strict=True):
        assert torch.equal(one.int(), other.int())


@pytest.mark.parametrize(
    ("stored", "planar", "bits"),
    [
        ("nv12", "yuv420p", 8),
        ("p010le", "yuv420p10le", 10),
        ("p016le", "yuv420p12le", 12),
        ("p016le", "yuv420p16le", 16),
    ],
)
def test_samples_of_a_gpus_decoder_are_taken_where_they_lie(
    stored: str, planar: str, bits: int
) -> None:
    # The same formats in the computer's memory, by the same way.
    rng, dtype = np.random.default_rng(0), np.dtype(np.uint8 if bits == 8 else np.uint16)
    luma, cb, cr = (rng.integers(0, 2**bits, size) for size in ((34, 50), (17, 25), (17, 25)))
    unused = 8 * dtype.itemsize - bits
    gpus = av.VideoFrame(50, 34, stored)
    for plane, values in zip(gpus.planes, (luma, np.stack((cb, cr), -1)), strict=True):
        # Its rows are longer in memory than they are wide.
        memory = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        memory[:, :50] = values.reshape(plane.height, 50) << unused
        plane.update(memory)
    layout = PlaneLayout(planar, PlaneCoding(bits, False, BT709))
    planes = planes_in_place(gpus, layout)
    assert planes is not None
    for plane, wanted in zip(planes, (luma, cb, cr), strict=True):
        assert plane.dtype == (torch.uint8 if bits == 8 else torch.uint16)
        np.testing.assert_array_equal(plane.numpy(), wanted)
    again = layout.planes(layout.picture(planes))
    assert all(torch.equal(a.int(), b.int()) for a, b in zip(planes, again, strict=True))


@pytest.mark.parametrize(
    ("stored", "size", "planar"),
    [
        ("nv12", (33, 50), "yuv420p"),  # a chroma sample for half a block
        ("nv12", (34, 49), "yuv420p"),
        ("nv12", (34, 50), "yuv420p10le"),
        ("yuv444p", (34, 50), "yuv444p"),
    ],
)
def test_other_samples_of_a_gpus_decoder_come_back_first(
    stored: str, size: tuple[int, int], planar: str
) -> None:
    layout = PlaneLayout(planar, PlaneCoding(10 if "10" in planar else 8, False, BT709))
    assert planes_in_place(av.VideoFrame(size[1], size[0], stored), layout) is None


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there may be an NVDEC here")
@pytest.mark.parametrize("gpu", [None, 0, 1])
def test_a_decoder_without_its_hardware_is_refused_in_one_sentence(
    tmp_path: Path, gpu: int | None
) -> None:
    path = write_video(tmp_path / "plain.mp4", [plain((81, 90, 240))])
    with pytest.raises(UserError, match="decoder nvdec: needs an NVIDIA GPU and its driver"):
        VideoReader(path, decoder="nvdec", gpu=gpu)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("gpu", [None, 0])
def test_nvdec_shows_what_the_processor_shows(tmp_path: Path, gpu: int | None, bits: int) -> None:
    how = {"codec": "libx265" if bits == 10 else "libx264", "options": {"crf": "20"}}
    path = write_video(tmp_path / "clip.mp4", moving(20, (240, 320), bits), **how)
    with VideoReader(path) as one, VideoReader(path, decoder="nvdec", gpu=gpu) as other:
        frames = list(zip(one, other, strict=True))
    assert all(a.pts == b.pts and torch.equal(a.tensor(), b.tensor()) for a, b in frames)
    if gpu is not None:
        assert all(plane.is_cuda for _, frame in frames for plane in frame.planes())
