"""What data gives beside the examples: gaps, masks, clips and the motion in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cyclegan_media.datasets.clips import ClipCrops, cut_clips
from cyclegan_media.datasets.gaps import WithGaps, with_gaps
from cyclegan_media.datasets.images import ImageCrops
from cyclegan_media.datasets.unpaired import random_generator, unpaired_batches
from cyclegan_media.demo.scenes import write_clip
from cyclegan_media.demo.world import make_scene
from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, read_image, write_image


class Segments:
    """Segments of four coefficients and eight frames, whose values are their numbers."""

    def __len__(self) -> int:
        return 5

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        return torch.full((4, 8), float(index))


def test_gaps_are_one_run_of_frames_of_every_length_and_place() -> None:
    domain = WithGaps(Segments(), longest=3)
    seen: Counter[tuple[int, int]] = Counter()
    for k in range(4000):
        example = domain.sample(k % 5, random_generator(k))
        assert torch.equal(example["real"], torch.full((4, 8), float(k % 5)))
        assert example["mask"].shape == (1, 8)
        hidden = (example["mask"][0] == 0).nonzero().flatten().tolist()
        first = hidden[0] if hidden else 0
        assert hidden == list(range(first, first + len(hidden)))
        seen[len(hidden), first] += 1
    lengths = Counter({n: sum(c for (m, _), c in seen.items() if m == n) for n in range(4)})
    assert set(lengths) == {0, 1, 2, 3}
    assert all(850 < count < 1150 for count in lengths.values())  # 1000 ± 5.5 standard deviations
    assert all(
        {first for n, first in seen if n == length} == set(range(9 - length))
        for length in (1, 2, 3)
    )


def test_no_gap_leaves_the_domain_as_it_is() -> None:
    domain = Segments()
    assert with_gaps(domain, 0) is domain


def test_extras_come_in_batches_under_name_and_domain() -> None:
    gaps = WithGaps(Segments(), longest=3)
    loaded = unpaired_batches(
        gaps, Segments(), seed=1, batch_size=2, first_step=0, last_step=3, workers=1
    )
    again = unpaired_batches(gaps, Segments(), seed=1, batch_size=2, first_step=0, last_step=3)
    for (real_a, real_b, extras), (_, _, others) in zip(loaded, again, strict=True):
        assert real_a.shape == real_b.shape == (2, 4, 8)
        assert list(extras) == ["mask_a"]
        assert extras["mask_a"].shape == (2, 1, 8)
        assert torch.equal(extras["mask_a"], others["mask_a"])


# --- face masks -----------------------------------------------------------------------------


def face(path: Path, height: int, width: int, alpha: bool = True) -> Path:
    """A picture whose red is its mask."""
    red = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    pixels = np.stack([red, np.zeros_like(red), np.full_like(red, 255)], axis=2)
    write_image(path, Image(pixels, alpha=red if alpha else None))
    return path


def test_masks_are_cropped_and_mirrored_with_their_pictures(tmp_path: Path) -> None:
    crops = ImageCrops([face(tmp_path / "x.png", 40, 30)], load_size=None, crop_size=16, masks=True)
    for k in range(20):
        example = crops.sample(0, random_generator(k))
        assert isinstance(example, dict)
        assert example["real"].shape == (3, 16, 16)
        assert example["face_mask"].shape == (1, 16, 16)
        torch.testing.assert_close((example["real"][:1] + 1) / 2, example["face_mask"])
    assert crops.centre(0).shape == (3, 16, 16)


def test_masks_are_scaled_with_their_pictures(tmp_path: Path) -> None:
    crops = ImageCrops([face(tmp_path / "x.png", 40, 30)], load_size=20, crop_size=20, masks=True)
    example = crops.sample(0, random_generator(0))
    assert isinstance(example, dict)
    torch.testing.assert_close((example["real"][:1] + 1) / 2, example["face_mask"])


def test_a_picture_without_a_mask_is_named(tmp_path: Path) -> None:
    path = face(tmp_path / "opaque.png", 20, 20, alpha=False)
    with pytest.raises(UserError, match=r"opaque.png: has no alpha channel, where data.face_masks"):
        ImageCrops([path], crop_size=16, masks=True).sample(0, random_generator(0))


# --- crops that are not square --------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(20, 100), (100, 20), (48, 60), (17, 33)])
def test_wide_crops_are_taken_from_pictures_of_any_shape(
    tmp_path: Path, height: int, width: int
) -> None:
    path = face(tmp_path / "x.png", height, width)
    crops = ImageCrops([path], load_size=20, crop_size=(16, 40))
    sample = crops.sample(0, random_generator(0))
    assert isinstance(sample, Tensor)
    assert sample.shape == crops.centre(0).shape == (3, 16, 40)


# --- clips ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "balls.mp4"
    return write_clip(path, make_scene(1), "a", seconds=10 / 24, size=(48, 64), with_sound=False)


def numbers(clip: list[Path]) -> list[int]:
    return [int(path.stem) for path in clip]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (1, [[3, 4, 5]]),
        (2, [[1, 2, 3], [6, 7, 8]]),
        (3, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (99, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
    ],
)
def test_clips_are_consecutive_frames_spread_evenly(
    video: Path, wanted: int, expected: list[list[int]]
) -> None:
    clips = cut_clips([video], frames=3, clips_per_video=wanted, load_size=None)
    assert [numbers(clip) for clip in clips] == expected
    again = cut_clips([video], frames=3, clips_per_video=wanted, load_size=None)
    assert again == clips  # from the cache


def test_all_frames_of_a_clip_are_cropped_alike(video: Path) -> None:
    clips = cut_clips([video], frames=3, clips_per_video=3, load_size=None)
    crops = ClipCrops(clips, load_size=None, crop_size=32)
    assert len(crops) == 3
    sample = crops.sample(1, random_generator(4))
    assert list(sample) == ["real"]
    assert sample["real"].shape == (3, 3, 32, 32)
    frames = [read_image(path).pixels for path in clips[1]]
    whole = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    places = [
        window
        for flipped in (whole, whole.flip(3))
        for top in range(17)
        for left in range(33)
        if torch.equal(window := flipped[:, :, top : top + 32, left : left + 32], sample["real"])
    ]
    assert places
    assert crops.centre(1).shape == (3, 32, 32)


def test_flow_points_to_where_a_pixel_was_before(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 16, 20, generator=rng)
    texture = torch.nn.functional.interpolate(coarse, size=(96, 120), mode="bicubic")[0]
    paths = []
    for k in range(3):  # moves 2 pixels right and 1 down from frame to frame
        window = texture[:, 10 - k : 74 - k, 20 - 2 * k : 84 - 2 * k]
        pixels = (window.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        write_image(tmp_path / f"{k}.png", Image(np.ascontiguousarray(pixels)))
        paths.append(tmp_path / f"{k}.png")
    crops = ClipCrops([paths], flow=True, load_size=None, crop_size=64, flip=False)
    flow = crops.sample(0, random_generator(0))["flow"]
    assert flow.shape == (2, 2, 64, 64)
    inner = flow[:, :, 16:48, 16:48].flatten(2).median(dim=2).values
    torch.testing.assert_close(inner, torch.tensor([[-2.0, -1.0]] * 2), atol=0.1, rtol=0)


def test_what_cannot_be_cut_into_clips_is_named(video: Path, tmp_path: Path) -> None:
    picture = face(tmp_path / "still.png", 20, 20)
    with pytest.raises(UserError, match=r"still.png: is no video, and a recipe with data.clip_fr"):
        cut_clips([picture], frames=3, clips_per_video=1, load_size=None)
    with pytest.raises(UserError, match=r"balls.mp4: has 10 frames, fewer than a clip of 11"):
        cut_clips([video], frames=11, clips_per_video=1, load_size=None)
