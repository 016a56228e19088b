"""Distances between sets of pictures: hand-computed values, and what the features must notice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image_features import describe
from cyclegan_media.metrics.image_sets import features_of, frechet_distance, kernel_distance


def with_moments(mean: list[float], covariance: list[list[float]], count: int = 50) -> Tensor:
    """Points of exactly this mean and (unbiased) covariance."""
    points = torch.randn(count, len(mean), dtype=torch.float64)
    points = points - points.mean(0)
    points = points @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(points.T)).T)
    root = torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64))
    return points @ root.T + torch.tensor(mean, dtype=torch.float64)


# Fréchet distance


def test_frechet_distance_by_hand() -> None:
    # Independent features: the squares of the differences of means and of deviations.
    a = with_moments([0.0, 1.0], [[1.0, 0.0], [0.0, 4.0]])
    b = with_moments([3.0, 1.0], [[4.0, 0.0], [0.0, 9.0]], count=70)
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 1, abs=1e-9)
    assert frechet_distance(b, a) == pytest.approx(11, abs=1e-9)


def test_frechet_distance_of_covariances_that_do_not_commute() -> None:
    a = with_moments([0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]])
    b = with_moments([0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
    # Of two by two: tr(M^½) = √(tr M + 2 √det M), with M = Σ_a Σ_b, tr 10 and det 12.
    expected = 4 + 5 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-9)


def test_frechet_distance_of_equal_sets_is_zero_even_where_they_are_flat() -> None:
    a = torch.randn(20, 3)
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-6)
    few = torch.randn(5, 40)  # fewer pictures than features
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(torch.zeros(4, 1), torch.ones(4, 1)) == pytest.approx(1)


# Kernel distance


def test_kernel_distance_by_hand() -> None:
    # All points of a set are equal, so every subset gives the same: with x = 1 and y = 2 in one
    # dimension, k(x,x) + k(y,y) − 2 k(x,y) = 2³ + 5³ − 2·3³.
    estimate = kernel_distance(torch.full((6, 1), 1.0), torch.full((8, 1), 2.0))
    assert estimate.mean == pytest.approx(8 + 125 - 54)
    assert estimate.deviation == 0


def test_kernel_distance_is_unbiased() -> None:
    # Of a normal feature of mean 0 and deviation 1 against one of mean ½ and deviation 1, from the
    # moments E x², E x³ and E x⁴: (3 E[x²] terms) 3·(½)² + 3·(E x²−E y²)² + (E x³ − E y³)².
    moments = [np.array([0.0, 1.0, 0.0]), np.array([0.5, 1.25, 0.125 + 3 * 0.5])]
    expected = ((moments[0] - moments[1]) ** 2 * [3, 3, 1]).sum()
    values = [
        kernel_distance(torch.randn(60, 1), torch.randn(60, 1) + 0.5, seed=seed, subsets=5).mean
        for seed in range(300)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected, abs=4 * error)

    same = [
        kernel_distance(torch.randn(12, 1), torch.randn(12, 1), subsets=5).mean for _ in range(300)
    ]
    assert np.mean(same) == pytest.approx(0, abs=4 * np.std(same) / np.sqrt(len(same)))
    assert min(same) < 0


def test_kernel_distance_is_repeatable_and_uses_subsets() -> None:
    a, b = torch.randn(40, 3), torch.randn(30, 3) + 1
    assert kernel_distance(a, b, seed=1) == kernel_distance(a, b, seed=1)
    assert kernel_distance(a, b, seed=1) != kernel_distance(a, b, seed=2)
    wide, narrow = (kernel_distance(a, b, subset=size).deviation for size in (4, 15))
    assert wide > narrow > 0


# Extractors


def test_any_function_of_pictures_gives_features() -> None:
    images = torch.rand(7, 3, 40, 40) * 2 - 1
    seen: list[int] = []

    def means(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part.mean((2, 3))

    features = features_of(images, means, batch=3)
    assert seen == [3, 3, 1]
    torch.testing.assert_close(features, images.mean((2, 3)).double(), atol=1e-6, rtol=0)


def test_says_what_cannot_be_compared() -> None:
    images = torch.zeros(4, 3, 40, 40)
    with pytest.raises(UserError, match=r"must give \(pictures, dimensions\)"):
        features_of(images, lambda part: part.mean((1, 2)).mean())
    with pytest.raises(UserError, match="not finite"):
        features_of(images, lambda part: part.mean((2, 3)) / 0)
    with pytest.raises(UserError, match="no set of pictures"):
        features_of(images[0], describe)
    with pytest.raises(UserError, match="20×40 pixels: their features need at least 32×32"):
        describe(images[:, :, :20])
    with pytest.raises(UserError, match="3 and 2 features"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 2))
    with pytest.raises(UserError, match="at least 2 pictures"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
    with pytest.raises(UserError, match="at least 4 pictures"):
        kernel_distance(torch.zeros(5, 3), torch.zeros(3, 3))


# What the features without weights see


def strokes(count: int, seed: int, size: int = 64) -> Tensor:
    """Coloured blobs on a background with detail of all scales."""
    random = torch.Generator().manual_seed(seed)
    canvas = torch.zeros(count, 3, size, size)
    for side in (4, 8, 16, 32, 64):
        noise = torch.randn(count, 3, side, side, generator=random)
        canvas += F.interpolate(noise, size=(size, size), mode="bicubic") / side**0.5
    return (0.3 * canvas).clamp(-1, 1)


def test_features_have_the_stated_number_and_are_finite_for_any_picture() -> None:
    flat = torch.zeros(2, 3, 32, 47)
    for images in (flat, flat + 1, torch.rand(2, 3, 64, 33) * 2 - 1):
        features = describe(images)
        assert features.shape == (2, 153)
        assert features.isfinite().all()


def test_features_of_a_picture_do_not_depend_on_the_others() -> None:
    images = strokes(3, seed=0)
    torch.testing.assert_close(describe(images)[1], describe(images[1:2])[0], atol=1e-5, rtol=1e-5)


def test_features_know_the_orientation_and_scale_of_a_grating() -> None:
    column = torch.arange(64.0)
    fine, coarse = (torch.sin(column * 2 * torch.pi / period).expand(64, 64) for period in (3, 12))
    pictures = [fine, fine.T, coarse, coarse.T]
    found = describe(torch.stack([p.expand(3, 64, 64) for p in pictures]))
    first = found[:, 9:57].reshape(4, 4, 3, 4)  # picture, octave, axis, orientation
    lightness = first[:, :, 0]
    for k, (octave, orientation) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        at_scale = lightness[k, octave]
        assert at_scale.argmax() == orientation
        assert lightness[k, :, orientation].argmax() == octave


@pytest.mark.parametrize("distance", ["kernel", "frechet"])
@pytest.mark.parametrize("change", ["blur", "noise", "tint", "contrast"])
def test_distances_grow_with_the_strength_of_a_change(change: str, distance: str) -> None:
    reference, images = strokes(40, seed=1), strokes(40, seed=2)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    orange = torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    changed = {
        "blur": [F.avg_pool2d(images, k, 1, k // 2, count_include_pad=False) for k in (3, 5, 9)],
        "noise": [images + amount * noise for amount in (0.1, 0.2, 0.4)],
        "tint": [images + amount * orange for amount in (0.1, 0.2, 0.4)],
        "contrast": [images * amount for amount in (0.7, 0.5, 0.3)],
    }[change]
    known = features_of(reference, describe)
    values = []
    for part in (images, *changed):
        found = features_of(part.clamp(-1, 1), describe)
        if distance == "kernel":
            values.append(kernel_distance(known, found).mean)
        else:
            values.append(frechet_distance(known, found))
    assert values == sorted(values)
    assert values[-1] > 5 * abs(values[0])


def test_a_real_style_is_nearer_the_more_of_it_there_is(shared_data: Path) -> None:
    from PIL import Image

    def crops(name: str, seed: int) -> Tensor:
        with Image.open(shared_data / "images" / f"{name}.jpg") as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 127.5 - 1
        random = np.random.default_rng(seed)
        corners = random.integers(0, np.array(pixels.shape[1:]) - 96, size=(40, 2))
        return torch.stack([pixels[:, i : i + 96, j : j + 96] for i, j in corners])

    paintings, photographs = crops("monet", 0), crops("etretat", 1)

    def moments(images: Tensor) -> tuple[Tensor, Tensor]:
        return images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)

    (mean, deviation), (wanted_mean, wanted_deviation) = moments(photographs), moments(paintings)
    in_its_colours = (photographs - mean) / deviation * wanted_deviation + wanted_mean
    known = features_of(paintings, describe)
    distances = [
        kernel_distance(known, features_of(images.clamp(-1, 1), describe))
        for images in (crops("monet", 2), in_its_colours, photographs)
    ]
    other_crops, colours_alone, untouched = distances
    assert abs(other_crops.mean) < other_crops.deviation
    assert abs(other_crops.mean) < colours_alone.mean < untouched.mean
