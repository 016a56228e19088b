"""Crops of pictures and frames: where they are taken from, their values, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from cyclegan_media.datasets.images import ImageCrops, expand_videos
from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.errors import UserError
from cyclegan_media.files import cache_folder
from cyclegan_media.media import Image, read_image, write_image


def coordinates(path: Path, height: int, width: int) -> Path:
    """A picture whose red is the column and whose green the row."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    return write_image(path, Image(pixels))


def places(crop: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows that the pixels of a crop of ``coordinates`` came from."""
    values = (crop + 1) * 127.5
    return values[0].round().int(), values[1].round().int()


def test_crops_are_whole_squares_from_anywhere_half_of_them_mirrored(tmp_path: Path) -> None:
    crops = ImageCrops([coordinates(tmp_path / "x.png", 40, 30)], load_size=None, crop_size=16)
    lefts, tops, mirrored = set(), set(), 0
    for k in range(400):
        crop = crops.sample(0, random_generator(k))
        assert crop.shape == (3, 16, 16)
        assert crop.dtype == torch.float32
        columns, rows = places(crop)
        flip = bool(columns[0, 0] > columns[0, -1])
        mirrored += flip
        columns = columns.flip(1) if flip else columns
        left, top = int(columns[0, 0]), int(rows[0, 0])
        assert torch.equal(columns[3], torch.arange(left, left + 16))
        assert torch.equal(rows[:, 5], torch.arange(top, top + 16))
        lefts.add(left)
        tops.add(top)
    assert lefts == set(range(15))  # 30 − 16 + 1 places
    assert tops == set(range(25))
    assert 140 < mirrored < 260  # binomial(400, ½): six standard deviations


def test_a_sample_is_a_function_of_item_and_generator(tmp_path: Path) -> None:
    paths = [coordinates(tmp_path / f"{k}.png", 30, 30) for k in range(2)]
    one, other = ImageCrops(paths, crop_size=16), ImageCrops(paths, crop_size=16)
    first = one.sample(1, random_generator(5))
    other.sample(0, random_generator(3))
    assert torch.equal(other.sample(1, random_generator(5)), first)


def test_values_span_minus_one_to_one(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    path = write_image(tmp_path / "x.png", Image(pixels))
    crop = ImageCrops([path], load_size=None, crop_size=16, flip=False).centre(0)
    assert crop[:, 0, :8].unique().tolist() == [-1]
    assert crop[:, 0, 8:].unique().tolist() == [1]


def test_centre_is_the_middle(tmp_path: Path) -> None:
    crops = ImageCrops([coordinates(tmp_path / "x.png", 40, 20)], load_size=None, crop_size=16)
    columns, rows = places(crops.centre(0))
    assert (int(columns[0, 0]), int(columns[0, -1])) == (2, 17)
    assert (int(rows[0, 0]), int(rows[-1, 0])) == (12, 27)


@pytest.mark.parametrize(
    ("size", "load_size", "scaled"),
    [
        ((60, 40), 20, (30, 20)),  # down, keeping the aspect
        ((12, 10), 20, (24, 20)),  # up
        ((12, 10), None, (19, 16)),  # up to the crop, since it would not fit otherwise
        ((40, 33), None, (40, 33)),
        ((1, 1), 20, (20, 20)),
    ],
)
def test_pictures_are_scaled_by_their_shorter_side(
    tmp_path: Path, size: tuple[int, int], load_size: int | None, scaled: tuple[int, int]
) -> None:
    path = write_image(tmp_path / "x.png", Image(np.full((*size, 3), 100, np.uint8)))
    crops = ImageCrops([path], load_size=load_size, crop_size=16)
    seen = crops._picture(0)
    assert seen.shape == (3, *scaled)
    assert seen.unique().tolist() == [100]


def test_grey_palette_and_16_bit_pictures_become_8_bit_colour(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((16, 16), 51, np.uint8)).save(tmp_path / "grey.png")
    write_image(tmp_path / "deep.png", Image(np.full((16, 16, 3), 51 * 257, np.uint16)))
    paths = [tmp_path / "grey.png", tmp_path / "deep.png"]
    crops = ImageCrops(paths, load_size=None, crop_size=16)
    for k in range(2):
        assert torch.allclose(crops.centre(k), torch.tensor(51 / 127.5 - 1))


def test_unreadable_pictures_are_named(tmp_path: Path) -> None:
    coordinates(tmp_path / "cut.png", 64, 64)
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    write_image(tmp_path / "ribbon.png", Image(np.zeros((2, 200, 3), np.uint8)))
    crops = ImageCrops([tmp_path / "cut.png", tmp_path / "ribbon.png"], crop_size=16)
    with pytest.raises(UserError, match=r"cut\.png: is damaged"):
        crops.centre(0)
    with pytest.raises(UserError, match=r"ribbon\.png: 200 × 2 pixels are too elongated"):
        crops.centre(1)


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    paths = [coordinates(tmp_path / f"{k}.png", 20, 20) for k in range(5)]
    crops = ImageCrops(paths, load_size=None, crop_size=16, cache_bytes=3 * 1200)
    kept = [crops.centre(k) for k in range(5)]
    for path in paths:
        path.unlink()
    # The last three are still there, the others had to make room.
    for k in (2, 3, 4):
        assert torch.equal(crops.centre(k), kept[k])
    with pytest.raises(UserError, match="there is no such file"):
        crops.centre(1)
    with pytest.raises(UserError, match="there is no such file"):
        ImageCrops(paths, crop_size=16, cache_bytes=0).centre(4)


def video(path: Path, frames: int, size: tuple[int, int] = (32, 48)) -> Path:
    """A lossless clip whose k-th frame is grey of value 10 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *size, "bgr0"
        for k in range(frames):
            pixels = np.full((*size, 3), 10 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("count", "values"),
    [
        (2, [50, 150]),
        (4, [20, 70, 120, 170]),
        (20, list(range(0, 200, 10))),
        (99, list(range(0, 200, 10))),
    ],
)
def test_videos_give_evenly_spaced_frames(tmp_path: Path, count: int, values: list[int]) -> None:
    clip = video(tmp_path / "x.mkv", 20)
    still = coordinates(tmp_path / "y.png", 20, 20)
    said: list[Path] = []
    pictures = expand_videos(
        [clip, still], frames_per_video=count, load_size=None, progress=said.append
    )
    assert pictures[-1] == still
    assert said == [clip]
    frames = [read_image(path).pixels for path in pictures[:-1]]
    assert {frame.shape for frame in frames} == {(32, 48, 3)}
    assert [int(frame[0, 0, 0]) for frame in frames] == values


def test_large_frames_are_stored_scaled_and_decoded_once(tmp_path: Path) -> None:
    clip = video(tmp_path / "x.mkv", 4)
    pictures = expand_videos([clip], frames_per_video=4, load_size=16)
    assert {read_image(path).pixels.shape for path in pictures} == {(16, 24, 3)}
    before = [path.stat().st_mtime_ns for path in pictures]
    assert expand_videos([clip], frames_per_video=4, load_size=16) == pictures
    assert [path.stat().st_mtime_ns for path in pictures] == before
    assert all(path.is_relative_to(cache_folder()) for path in pictures)
    # Another clip of that name is another clip.
    clip.unlink()
    assert expand_videos([video(clip, 3)], frames_per_video=4, load_size=16) != pictures


def test_an_unreadable_video_leaves_no_frames_behind(tmp_path: Path) -> None:
    clip = video(tmp_path / "x.mkv", 4)
    clip.write_bytes(clip.read_bytes()[:200])
    before = set((cache_folder() / "frames").glob("*"))
    with pytest.raises(UserError, match=r"x\.mkv: "):
        expand_videos([clip], frames_per_video=4, load_size=None)
    assert set((cache_folder() / "frames").glob("*")) == before
