"""The problems that methods are compared on: a look with a known answer, and tiles held apart."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_photos import photograph, write_photographs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import compare_problems
from compare_look import painted
from compare_problems import SIDE, Source, cut, exposed, known_problem, photographs, regions


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"))


def test_look_of_grey_is_its_tone_curve_under_the_weave() -> None:
    got = (painted(torch.zeros(1, 3, 16, 16)) + 1) / 2  # 0 is half of the light
    tone = [0.06 + 0.84 * 0.5**1.1, 0.05 + 0.57 * 0.5**1.3, 0.10 + 0.32 * 0.5**1.5]
    threads = torch.tensor([1.0, -1.0, -1.0, 1.0])
    weave = 0.03 * torch.outer(threads, threads).repeat(4, 4)
    wanted = torch.tensor(tone)[:, None, None] + weave
    torch.testing.assert_close(got[0], wanted, atol=1e-5, rtol=0)


def test_look_is_a_function_of_each_picture_alone_and_mirrors_with_it() -> None:
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    together = painted(pictures)
    assert torch.equal(together, painted(pictures))
    torch.testing.assert_close(painted(pictures[1:2])[0], together[1])
    torch.testing.assert_close(painted(pictures.flip(-1)), together.flip(-1))
    assert together.min() >= -1
    assert together.max() <= 1


def test_look_darkens_edges_below_both_sides() -> None:
    step = torch.full((1, 3, 32, 32), -0.4)
    step[..., 16:] = 0.4
    # Along columns the weave averages out.
    light = painted(step).mean((0, 1, 2))
    dark_side, light_side, edge = light[4:8].mean(), light[-8:-4].mean(), light[15:17].mean()
    assert edge < dark_side < light_side


def test_look_brushes_detail_away_and_keeps_steps() -> None:
    noisy = torch.randn(1, 3, 64, 64) * 0.02
    noisy[..., 32:] += 0.02
    plain = painted(torch.zeros(1, 3, 64, 64))
    rough = (painted(noisy) - plain)[..., 4:28]
    # Halved at least: the tone curves alone take less than half (their slopes are 0.57 or more).
    assert rough[:, 0].std() < noisy[:, 0, :, 4:28].std() / 2


# --- the problem -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [200, 208, 277, 400])
def test_held_out_columns_are_not_trained_on(width: int) -> None:
    # Red tells the column, blue the photograph; green is rough enough for no tile to be flat.
    pictures = []
    for number in (1, 2):
        picture = np.zeros((100, width, 3), np.uint8)
        picture[..., 0] = np.arange(width) % 256
        picture[..., 1] = np.random.default_rng(number).integers(0, 2, (100, width)) * 255
        picture[..., 2] = number + (np.arange(width) >= 256) * 100
        pictures.append(Source(f"{number}", [picture]))

    def places(tiles: list[np.ndarray]) -> set[tuple[int, int]]:
        columns = (tile[..., 0] + 256 * (tile[..., 2].astype(int) >= 100) for tile in tiles)
        photo = (tile[..., 2] % 100 for tile in tiles)
        return {
            (int(number), int(column))
            for numbers, across in zip(photo, columns, strict=True)
            for number, column in zip(numbers[0], across[0], strict=True)
        }

    train, test = (cut(pictures, 40, held_out=held_out) for held_out in (False, True))
    assert len(train) == len(test) == 40
    assert {tile.shape for tile in train + test} == {(SIDE, SIDE, 3)}
    assert not places(train) & places(test)
    assert {number for number, _ in places(train)} == {1, 2}
    (first, last), *sides = [*regions(width, True), *regions(width, False)]
    assert sides == [(0, first), (last, width)]


def test_cutting_is_repeatable_and_even() -> None:
    sources = [Source(f"{seed}", [photograph(seed)]) for seed in range(3)]
    once, again = (cut(sources, 10, held_out=False) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


def test_exposure_brings_lightness_to_one_mean() -> None:
    dark = Source("dark", [np.full((70, 200, 3), 70, np.uint8)])
    # log 0.45 / log(70 / 255) is 0.618
    assert exposed(dark).pictures[0][0, 0].tolist() == [115, 115, 115]


def test_sides_share_no_photograph(photos: Path) -> None:
    a, b = photographs(photos)
    assert [path.name for path in a] == ["photo-0.png", "photo-2.png"]
    assert [path.name for path in b] == ["photo-1.png", "photo-3.png"]


def test_default_photographs_are_on_one_side_each() -> None:
    try:
        a, b = photographs(None)
    except compare_problems.UserError:
        pytest.skip("no photographs are installed")
    assert a
    assert b
    assert not set(a) & set(b)


def test_truth_is_the_look_of_the_test_tile(photos: Path, tmp_path: Path) -> None:
    tiles = known_problem(tmp_path / "known", photos, 6, 4)
    assert [len(tiles.pictures(part)) for part in ("trainA", "trainB", "testA", "testB")] == [
        6,
        6,
        4,
        4,
    ]
    eight_bits = 1 / 255 + 1e-6  # half a level, on −1…1
    for before, after in (("testA", "truthA2B"), ("truthB2A", "testB")):
        wanted = painted(tiles.pictures(before))
        torch.testing.assert_close(tiles.pictures(after), wanted, atol=eight_bits, rtol=0)
    files = tiles.files()
    assert not files.held_out_a
    assert not files.held_out_b
    assert {path.parent.name for path in files.train_a + files.train_b} == {"trainA", "trainB"}


def test_digest_follows_the_pixels(photos: Path, tmp_path: Path) -> None:
    first, same, other = (
        known_problem(tmp_path / name, photos, 6, test)
        for name, test in (("1", 4), ("2", 4), ("3", 5))
    )
    assert first.digest == same.digest != other.digest
