"""Faces: where they are, crops of them, and crops put back, by geometry that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from faces_world import MARKS, photograph
from torch import Tensor

from cyclegan_media.faces import Face
from cyclegan_media.faces.blend import match_colours, sharpness, soft_mask
from cyclegan_media.faces.placement import (
    TEMPLATE,
    Placement,
    placement_of_box,
    placement_of_landmarks,
)
from cyclegan_media.faces.warp import as_tensor, crop_face, inside_picture, paste_face


def placed(placement: Placement, own: np.ndarray) -> np.ndarray:
    """Points of a face in its own coordinates, in the picture: ``c + s R(φ) u``."""
    cos, sin = math.cos(placement.angle), math.sin(placement.angle)
    turned = own @ np.array([[cos, sin], [-sin, cos]])
    return np.array([placement.x, placement.y]) + placement.size * turned


@pytest.mark.parametrize("known", [[0, 1], [0, 1, 2], [0, 1, 2, 3, 4], [0, 4]])
def test_landmarks_of_a_turned_face_give_its_placement_back(known: list[int]) -> None:
    truth = Placement(311.5, 97.25, 83.0, 0.4)
    marks = np.full((5, 2), np.nan)
    marks[known] = placed(truth, TEMPLATE[known])
    found = placement_of_landmarks(Face((0, 0, 1, 1), marks))
    assert found is not None
    assert vars(found) == pytest.approx(vars(truth))


def test_one_landmark_or_none_gives_no_placement() -> None:
    marks = np.full((5, 2), np.nan)
    marks[2] = 10, 10
    assert placement_of_landmarks(Face((0, 0, 1, 1), marks)) is None
    assert placement_of_landmarks(Face((0, 0, 1, 1))) is None


def test_a_box_is_placed_by_its_middle_and_its_mean_side() -> None:
    placement = placement_of_box(Face((10.0, 20.0, 40.0, 90.0)))
    assert (placement.x, placement.y, placement.size, placement.angle) == (30, 65, 60, 0)


def test_the_template_fits_a_real_face() -> None:
    placement = placement_of_landmarks(Face((0, 0, 1, 1), MARKS))
    assert placement is not None
    error = np.linalg.norm(placed(placement, TEMPLATE) - MARKS, axis=1)
    assert error.max() < 0.1 * placement.size


def test_a_crop_matrix_takes_the_middle_to_the_centre_and_scales_by_the_margin() -> None:
    # 50 pixels of face and half as much on either side are 100, on a crop of 25: 4 a pixel.
    matrix = Placement(70, 30, 50, math.pi / 2).crop_matrix(25, margin=0.5)
    np.testing.assert_allclose(matrix @ [12.5, 12.5, 1], [70, 30])
    # A face turned by a quarter, clockwise: its right is the picture's down.
    np.testing.assert_allclose(matrix @ [13.5, 12.5, 1], [70, 34], atol=1e-9)


def test_an_aligned_crop_of_whole_pixels_is_the_picture_itself() -> None:
    picture = torch.rand(3, 40, 50) * 2 - 1
    matrix = Placement(20, 18, 16, 0).crop_matrix(16, margin=0)
    torch.testing.assert_close(crop_face(picture, matrix, 16), picture[:, 10:26, 12:28])


def test_a_turned_crop_reads_the_picture_where_the_matrix_says() -> None:
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    picture = torch.stack([(x + 0.5) / 80, (y + 0.5) / 60, torch.zeros(60, 80)])
    matrix = Placement(41, 29, 15, 0.5).crop_matrix(20, margin=0.3)
    crop = crop_face(picture, matrix, 20)
    for column, row in ((0, 0), (19, 0), (7, 15)):
        wanted = matrix @ [column + 0.5, row + 0.5, 1] / [80, 60]
        # Bicubic interpolation with a = −0.75 keeps a slope to within a tenth of a pixel.
        np.testing.assert_allclose(crop[:2, row, column], wanted, atol=0.1 / 80)


def test_a_reduced_crop_shows_no_aliases() -> None:
    board = (torch.arange(400)[:, None] + torch.arange(400)[None, :]) % 2 * 2.0 - 1
    matrix = Placement(203.3, 197.1, 200, 0.1).crop_matrix(32, margin=0.2)
    assert crop_face(board.expand(3, -1, -1), matrix, 32).abs().max() < 0.02


def test_beyond_the_edge_a_crop_shows_the_mirror_image() -> None:
    picture = torch.rand(3, 30, 30) * 2 - 1
    matrix = Placement(4, 15, 16, 0).crop_matrix(16, margin=0)
    crop = crop_face(picture, matrix, 16)
    torch.testing.assert_close(crop[:, :, :4], picture[:, 7:23, :4].flip(2))
    inside = inside_picture(picture.shape, matrix, 16)
    assert not inside[:, :4].any()
    assert inside[:, 4:].all()


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.4, 1.0])
def test_a_mask_is_one_within_and_zero_along_the_edges(margin: float) -> None:
    mask = soft_mask(64, margin)
    assert mask[28:36, 28:36].min() == 1
    edges = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert edges.max() == 0
    assert float((mask[1:] - mask[:-1]).abs().max()) < 0.5, "the mask is soft"


def test_the_mask_holds_the_landmarks_and_leaves_out_the_corners_of_the_crop() -> None:
    mask = soft_mask(180)
    points = (TEMPLATE / 1.8 + 0.5) * 180
    assert all(mask[int(y), int(x)] == 1 for x, y in points)
    assert mask[20:40, 20:40].max() == 0


@pytest.mark.parametrize("size", [40.0, 100.0, 300.0])
def test_pasting_changes_nothing_outside_the_mask(size: float) -> None:
    picture = torch.rand(3, 200, 260) * 2 - 1
    matrix = Placement(120.3, 99.6, size, 0.3).crop_matrix(64)
    mask = soft_mask(64)
    pasted = paste_face(picture, torch.ones(3, 64, 64), mask, matrix)
    y, x = np.mgrid[:200, :260] + 0.5
    # The ellipse ends at 0.77 sizes; interpolation reaches over two pixels of the crop.
    away = np.hypot(x - 120.3, y - 99.6) > 0.77 * size + 2 * max(1, 1.8 * size / 64)
    assert torch.equal(pasted[:, away], picture[:, away])
    assert (pasted[:, 99, 120] > 0.999).all()


def test_pasting_leaves_the_given_picture_alone_and_reaches_over_its_edge() -> None:
    picture = torch.zeros(3, 50, 50)
    matrix = Placement(0, 25, 30, 0).crop_matrix(32)
    pasted = paste_face(picture, torch.ones(3, 32, 32), soft_mask(32), matrix)
    assert picture.abs().max() == 0
    assert (pasted[:, 25, 0] > 0.999).all()
    assert pasted[:, :, 30:].abs().max() == 0
    far = Placement(-500, 25, 30, 0).crop_matrix(32)
    assert torch.equal(paste_face(picture, torch.ones(3, 32, 32), soft_mask(32), far), picture)


def test_a_crop_put_back_unchanged_is_the_photograph_again() -> None:
    picture = as_tensor(photograph())
    matrix = Placement(224.0, 114.6, 100.0, 0.05).crop_matrix(256)
    mask = soft_mask(256)
    again = paste_face(picture, crop_face(picture, matrix, 256), mask, matrix)
    region = (slice(None), slice(70, 165), slice(180, 270))
    error = float(((again - picture)[region] ** 2).mean())
    assert 10 * math.log10(4 / error) > 38


def test_matching_undoes_a_change_of_tone_and_keeps_equal_colours() -> None:
    wanted, mask = torch.rand(3, 24, 24) - 0.5, soft_mask(24)
    changed = 0.7 * wanted + torch.tensor([0.2, 0.0, -0.1])[:, None, None]
    torch.testing.assert_close(match_colours(changed, wanted, mask), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(match_colours(wanted, wanted, mask), wanted, atol=1e-4, rtol=0)


def test_matching_looks_at_the_face_alone() -> None:
    mask = soft_mask(24)
    wanted, crop = torch.rand(3, 24, 24) - 0.5, torch.rand(3, 24, 24) - 0.5
    elsewhere = torch.where(mask > 0, wanted, torch.ones(()))
    got, again = match_colours(crop, wanted, mask), match_colours(crop, elsewhere, mask)
    torch.testing.assert_close(got, again)
    share = mask / mask.sum()
    torch.testing.assert_close((got * share).sum((1, 2)), (wanted * share).sum((1, 2)))


def test_a_flat_crop_is_given_the_colour_and_no_noise() -> None:
    matched = match_colours(torch.zeros(3, 16, 16), torch.rand(3, 16, 16) * 0.5, soft_mask(16))
    assert matched.std(dim=(1, 2)).max() < 1e-4


def test_sharpness_falls_with_blur_and_not_with_the_size_of_the_crop() -> None:
    picture = as_tensor(photograph())

    def measured(picture: Tensor, size: int) -> float:
        matrix = Placement(224.0, 114.6, 100.0, 0.05).crop_matrix(size)
        return sharpness(crop_face(picture, matrix, size), soft_mask(size))

    blurred = torch.nn.functional.avg_pool2d(picture[None], 9, 1, 4)[0]
    assert measured(picture, 256) > 10 * measured(blurred, 256)
    assert measured(picture, 512) == pytest.approx(measured(picture, 256), rel=0.25)
