"""Diversity of several translations of one input, and what it is reported with."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from many_to_many import ENCODER, as_tensor, by_hand, many, noise
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, write_image
from cyclegan_media.metrics.diversity import (
    ManyToManyScores,
    diversity,
    mean_scores,
    score_samples,
)
from cyclegan_media.metrics.image import ssim
from cyclegan_media.pretrained import save_model
from cyclegan_media.translate import Translator

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "measure_diversity.py"
C1 = 0.01**2
"""The constant of SSIM's luminance term for values in 0…1 (Wang 2004, eq. 7)."""


def constant(*values: float) -> Tensor:
    """Pictures of one grey each, given in 0…1, as −1…1."""
    return torch.stack([torch.full((3, 16, 20), 2 * value - 1) for value in values])


def luminance(x: float, y: float) -> float:
    """SSIM of two constant pictures, whose contrast and structure terms are 1 (eq. 6)."""
    return (2 * x * y + C1) / (x * x + y * y + C1)


def test_equal_samples_have_none() -> None:
    one = torch.rand(3, 32, 32) * 2 - 1
    assert diversity(torch.stack([one] * 4)) == 0
    assert diversity(torch.stack([one] * 4), lambda x, y: 1.0) == 0


def test_two_constant_pictures_differ_by_the_luminance_term() -> None:
    wanted = 1 - luminance(0.25, 0.75)
    assert wanted == pytest.approx(0.4, abs=1e-3)
    assert diversity(constant(0.25, 0.75)) == pytest.approx(wanted, rel=1e-9)


def test_it_is_the_mean_over_all_pairs() -> None:
    pairs = [(0.25, 0.5), (0.25, 0.75), (0.5, 0.75)]
    wanted = sum(1 - luminance(x, y) for x, y in pairs) / 3
    assert diversity(constant(0.25, 0.5, 0.75)) == pytest.approx(wanted, rel=1e-9)
    one, other = torch.rand(2, 3, 32, 32) * 2 - 1
    apart = 1 - ssim(one[None], other[None])
    # Of three pairs, two differ.
    assert diversity(torch.stack([one, one, other])) == pytest.approx(2 / 3 * apart, rel=1e-9)


def test_it_rises_with_the_spread() -> None:
    middle = torch.rand(3, 32, 32) - 0.5
    changes = torch.randn(4, 3, 32, 32)
    values = [diversity(middle + spread * changes) for spread in (0.01, 0.03, 0.1, 0.3)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1]


def test_another_distance_takes_the_same_pairs() -> None:
    samples = constant(0.0, 0.25, 1.0)
    got = diversity(samples, lambda x, y: float((x - y).abs().mean()))
    assert got == pytest.approx((0.5 + 2 + 1.5) / 3)


def test_one_sample_says_nothing() -> None:
    with pytest.raises(UserError, match="at least two samples"):
        diversity(constant(0.5))
    with pytest.raises(UserError, match="no set of pictures"):
        diversity(constant(0.5)[0])


def test_scores_hold_diversity_against_what_is_found_again() -> None:
    picture, samples = constant(0.5)[0], constant(0.25, 0.75)
    # Off by 0.1 of 0…1 everywhere: 10 log₁₀(1 / 0.01) dB.
    score = score_samples(picture, samples, constant(0.6, 0.4), lambda x, y: 0.25)
    assert score.diversity == pytest.approx(1 - luminance(0.25, 0.75), rel=1e-9)
    assert score.lpips == 0.25
    assert score.psnr == pytest.approx(20, rel=1e-5)
    wanted = (luminance(0.5, 0.6) + luminance(0.5, 0.4)) / 2
    assert score.ssim == pytest.approx(wanted, rel=1e-6)
    noise = score_samples(picture, torch.randn(2, 3, 16, 20).clamp(-1, 1), constant(0.0, 1.0))
    assert noise.diversity > score.diversity
    assert noise.psnr < score.psnr
    assert noise.lpips is None


def test_the_mean_is_over_inputs() -> None:
    picture = constant(0.5)[0]
    same = score_samples(picture, constant(0.5, 0.5), constant(0.6, 0.6))
    apart = score_samples(picture, constant(0.25, 0.75), constant(0.51, 0.51))
    mean = mean_scores([same, apart])
    assert mean.diversity == pytest.approx(apart.diversity / 2)
    assert mean.psnr == pytest.approx((20 + 40) / 2, rel=1e-5)
    assert mean.ssim == pytest.approx((same.ssim + apart.ssim) / 2)
    assert mean.lpips is None
    with pytest.raises(UserError, match="no input"):
        mean_scores([])


def test_the_script_measures_both_directions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    parts = many(encoder_a=ENCODER, encoder_b=ENCODER)
    folder = save_model(tmp_path / "model", parts)
    model = Translator(parts, device="cpu", precision="fp32")
    wanted: dict[str, ManyToManyScores] = {}
    ways: list[Any] = [("a2b", "b2a", "testA"), ("b2a", "a2b", "testB")]
    for way, back, data in ways:
        picture = as_tensor(noise(len(wanted), (16, 20)))
        pixels = ((picture[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        (tmp_path / data).mkdir()
        write_image(tmp_path / data / "one.png", Image(pixels))
        samples = model.translate(picture, direction=way, samples=3, seed=2)[:, 0]
        encoder = parts.networks[f"encoder_{way[0]}"]
        with torch.inference_mode():
            again = [
                by_hand(parts.generators[back], b[None], encoder(picture, b[None])[0])
                for b in samples
            ]
        wanted[way] = score_samples(picture[0], samples, torch.cat(again))

    arguments = ["--model", str(folder), "--samples", "3", "--seed", "2"]
    both = ["--data-a", str(tmp_path / "testA"), "--data-b", str(tmp_path / "testB")]
    assert main([*arguments, *both, "--json"]) == 0
    directions = json.loads(capsys.readouterr().out)["directions"]
    for way, scores in wanted.items():
        got = directions[way][str(folder)]
        assert got["lpips"] is None
        for name in ("diversity", "psnr", "ssim"):
            assert got[name] == pytest.approx(getattr(scores, name), rel=1e-4)
    assert main([*arguments, *both]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["a2b", "diversity", "PSNR", "dB", "SSIM"]
    assert table[1].split()[:2] == [str(folder), f"{wanted['a2b'].diversity:.3f}"]
    assert main(arguments) == 2
    assert "--data-a" in capsys.readouterr().err
