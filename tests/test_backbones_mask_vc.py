"""MaskCycleGAN-VC's networks: what the published release computes, and what the mask does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_networks import by_rule, vc2, vc2_discriminator, vc2_discriminator_shapes, vc2_shapes
from published_weights import network_of, reference

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.errors import UserError


@pytest.fixture
def generator() -> Backbone:
    return build({"name": "mask_vc", "coefficients": 8, "width": 4, "residual_blocks": 1}).eval()


def test_generator_computes_what_the_release_does(shared_golden: Path) -> None:
    golden = reference(shared_golden, "maskcyclegan_vc_generator")
    with torch.no_grad():
        output = golden.network(*golden.inputs)
    torch.testing.assert_close(output, golden.outputs[0], rtol=0, atol=1e-5)


def test_discriminator_computes_what_the_release_does(shared_golden: Path) -> None:
    golden = reference(shared_golden, "maskcyclegan_vc_discriminator")
    with torch.no_grad():
        scores = golden.network(*golden.inputs)
    # The release ends with a sigmoid, which a least-squares objective does not want.
    torch.testing.assert_close(scores.sigmoid(), golden.outputs[0], rtol=0, atol=1e-5)


def test_networks_compute_what_the_layer_tables_say() -> None:
    x = torch.randn(2, 8, 20, dtype=torch.float64)
    mask = (torch.rand(2, 8, 20) > 0.3).double()
    weights = by_rule(vc2_shapes(width=3, coefficients=8, blocks=2, masked=True))
    output = network_of(weights, "generator")(x, mask)
    picture = torch.stack([x * mask, mask], dim=1)
    torch.testing.assert_close(output, vc2(weights, picture, blocks=2, masked=True))
    weights = by_rule(vc2_discriminator_shapes(width=3, unused_kernel=10))
    x = torch.randn(2, 80, 20, dtype=torch.float64)
    scores = network_of(weights, "discriminator")(x)
    torch.testing.assert_close(scores, vc2_discriminator(weights, x))


def test_without_a_mask_nothing_is_missing(generator: Backbone) -> None:
    x = torch.randn(2, 8, 16)
    assert torch.equal(generator(x), generator(x, torch.ones_like(x)))


def test_a_mask_of_frames_stands_for_all_bands(generator: Backbone) -> None:
    x = torch.randn(2, 8, 16)
    frames = (torch.arange(16) % 5 > 1).float()
    whole = frames.expand(2, 8, 16)
    assert torch.equal(generator(x, frames.expand(2, 1, 16)), generator(x, whole))
    assert torch.equal(generator(x, whole.bool()), generator(x, whole))


def test_masked_frames_are_not_seen_but_known_to_be_missing(generator: Backbone) -> None:
    x = torch.randn(1, 8, 16)
    mask = torch.ones(1, 1, 16)
    mask[..., 4:9] = 0
    other = torch.where(mask.bool(), x, torch.randn_like(x))
    assert torch.equal(generator(x, mask), generator(other, mask))
    # Zeros that are no gap are something else than a gap.
    assert not torch.allclose(generator(x, mask), generator(x * mask))


def test_a_mask_that_does_not_fit_is_refused(generator: Backbone) -> None:
    with pytest.raises(UserError, match=r"mask of shape \(1, 1, 12\).*\(1, 8, 16\)"):
        generator(torch.zeros(1, 8, 16), torch.ones(1, 1, 12))


def test_networks_are_those_of_cyclegan_vc2_for_80_bands() -> None:
    with torch.device("meta"):
        generator = build({"name": "mask_vc"})
        discriminator = build({"name": "mask_vc_discriminator"})
        plain = build({"name": "vc2_discriminator"})
    assert generator.masked
    assert not plain.masked
    # The published count.
    assert sum(p.numel() for p in generator.parameters()) == 24_537_729
    assert {n: p.shape for n, p in discriminator.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }
