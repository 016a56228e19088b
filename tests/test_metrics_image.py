"""Picture metrics say what they claim: hand-checked values and meaning."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import (
    psnr,
    sliced_wasserstein,
    sliced_wasserstein_levels,
    ssim,
)


def pictures(n: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures with some fine texture, in −1…1."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 8, generator=random) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (0.8 * smooth + 0.2 * (torch.rand(n, 3, size, size, generator=random) * 2 - 1)).clamp(
        -1, 1
    )


def test_psnr_of_a_constant_error() -> None:
    # An error of 0.2 everywhere, range 2: 10 log10(4 / 0.04) = 20 dB.
    truth = torch.zeros(2, 3, 16, 16)
    assert psnr(truth + 0.2, truth) == pytest.approx(20.0, abs=1e-4)


def test_psnr_is_the_mean_over_pictures_not_over_pixels() -> None:
    truth = torch.zeros(2, 3, 16, 16)
    images = truth.clone()
    images[0] += 0.2  # 20 dB
    images[1] += 0.02  # 40 dB
    assert psnr(images, truth) == pytest.approx(30.0, abs=1e-3)


def test_psnr_of_equal_pictures_is_finite() -> None:
    images = pictures(2)
    assert psnr(images, images) == 100.0


def test_ssim_of_constant_pictures() -> None:
    # Without structure SSIM is its luminance term (eq. 6), on 0…1 with C1 = 0.01².
    x, y, c1 = 0.75, 0.45, 0.01**2
    expected = (2 * x * y + c1) / (x * x + y * y + c1)
    images, truth = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), -0.1)
    assert ssim(images, truth) == pytest.approx(expected, abs=1e-6)


def test_ssim_orders_equal_blurred_and_inverted() -> None:
    images = pictures(3)
    blurred = avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    assert ssim(images, images) == pytest.approx(1.0, abs=1e-5)
    assert 0 < ssim(blurred, images) < 1
    assert ssim(-images, images) < 0  # structure opposed, although −x · −x = x · x


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pairs_of_different_shapes_are_refused(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="same number and size"):
        metric(pictures(2), pictures(3))


def test_ssim_names_its_smallest_size() -> None:
    small = torch.zeros(1, 3, 8, 8)
    with pytest.raises(UserError, match="at least 11×11"):
        ssim(small, small)


def test_sliced_wasserstein_is_zero_for_the_same_set_and_small_within_a_domain() -> None:
    images, more = pictures(24, seed=1), pictures(24, seed=2)
    assert sliced_wasserstein(images, images) == 0.0
    within = sliced_wasserstein(images, more)
    assert 0 < within < sliced_wasserstein(images, -more.abs())


def test_sliced_wasserstein_grows_with_tint() -> None:
    images, other = pictures(24, seed=1), pictures(24, seed=2)
    tint = torch.tensor([1.0, 0.0, -1.0])[None, :, None, None]
    distances = [sliced_wasserstein(images, other + amount * tint) for amount in (0, 0.1, 0.3)]
    assert distances == sorted(distances)
    assert len(set(distances)) == 3


def test_sliced_wasserstein_shows_blur_at_the_fine_levels() -> None:
    images, other = pictures(24, seed=1), pictures(24, seed=2)
    blurred = avg_pool2d(other, 3, stride=1, padding=1, count_include_pad=False)
    sharp_levels = sliced_wasserstein_levels(images, other)
    blurred_levels = sliced_wasserstein_levels(images, blurred)
    assert list(sharp_levels) == [64, 32, 16]
    growth = {level: blurred_levels[level] - sharp_levels[level] for level in sharp_levels}
    assert growth[64] > 0
    assert growth[64] > growth[16]


def test_sliced_wasserstein_is_symmetric_deterministic_and_seeded() -> None:
    a, b = pictures(12, seed=1), pictures(12, seed=2) * 0.5
    assert sliced_wasserstein(a, b) == pytest.approx(sliced_wasserstein(b, a), rel=1e-5)
    assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
    assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)


def test_sliced_wasserstein_of_flat_shifted_sets_by_hand() -> None:
    # All patches of each set are equal, so the clouds are two points. Normalised together they
    # lie at ±1 (up to the n − 1 of the deviation) in each of the 147 dimensions of the last
    # level: |2 Σ w| along a unit direction w, on average 2 √147 · E|w₁| with w uniform on the
    # sphere; and nothing at the finer levels.
    a, b = torch.full((4, 3, 32, 32), -0.3), torch.full((4, 3, 32, 32), 0.7)
    levels = sliced_wasserstein_levels(a, b, directions=4096)
    assert levels[32] == pytest.approx(0.0, abs=1e-3)
    assert levels[16] == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.03)


def test_sliced_wasserstein_takes_sets_of_unequal_number_and_odd_sizes() -> None:
    a, b = pictures(3, seed=1)[:, :, :37, :51], pictures(7, seed=2)[:, :, :37, :51]
    levels = sliced_wasserstein_levels(a, b)
    assert list(levels) == [36, 18]
    assert all(math.isfinite(value) for value in levels.values())


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 64, 64), "one size"),
        (torch.zeros(2, 3, 12, 64), torch.zeros(2, 3, 12, 64), "16×16"),
        (torch.zeros(0, 3, 32, 32), torch.zeros(2, 3, 32, 32), "no set of pictures"),
        (torch.zeros(2, 1, 32, 32), torch.zeros(2, 3, 32, 32), "no set of pictures"),
    ],
)
def test_sliced_wasserstein_refuses_what_it_cannot_compare(
    a: torch.Tensor, b: torch.Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        sliced_wasserstein(a, b)
