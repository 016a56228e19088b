"""CycleGAN-VC2's networks: what the published release computes, sizes, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_networks import by_rule, vc2, vc2_discriminator, vc2_discriminator_shapes, vc2_shapes
from published_weights import network_of, reference

from cyclegan_media.backbones.registry import build
from cyclegan_media.errors import UserError

SMALL = {"name": "vc2", "coefficients": 12, "width": 4, "residual_blocks": 2}
SMALL_D = {"name": "vc2_discriminator", "coefficients": 12, "width": 4}


def test_generator_computes_what_the_release_does(shared_golden: Path) -> None:
    golden = reference(shared_golden, "cyclegan_vc2_generator")
    with torch.no_grad():
        output = golden.network(*golden.inputs)
    torch.testing.assert_close(output, golden.outputs[0], rtol=0, atol=1e-5)


def test_discriminator_computes_what_the_release_does(shared_golden: Path) -> None:
    golden = reference(shared_golden, "cyclegan_vc2_discriminator")
    with torch.no_grad():
        scores = golden.network(*golden.inputs)
    # The release ends with a sigmoid, which a least-squares objective does not want.
    torch.testing.assert_close(scores.sigmoid(), golden.outputs[0], rtol=0, atol=1e-5)


def test_networks_compute_what_the_layer_tables_say() -> None:
    x = torch.randn(2, 12, 20, dtype=torch.float64)
    weights = by_rule(vc2_shapes(width=3, coefficients=12, blocks=2))
    output = network_of(weights, "generator")(x)
    torch.testing.assert_close(output, vc2(weights, x[:, None], blocks=2))
    weights = by_rule(vc2_discriminator_shapes(width=3, unused_kernel=5))
    scores = network_of(weights, "discriminator")
    # The file does not tell how many coefficients are judged; any number can be.
    x = torch.randn(2, 36, 20, dtype=torch.float64)
    torch.testing.assert_close(scores(x), vc2_discriminator(weights, x))


@pytest.mark.parametrize("frames", [8, 12, 128, 300])
def test_generator_keeps_the_shape_for_any_number_of_frames(frames: int) -> None:
    generator = build(SMALL)
    x = torch.randn(2, 12, frames)
    assert generator(x).shape == x.shape
    assert generator.eval()(x[:1]).shape == (1, 12, frames)


def test_full_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        generator = build({"name": "vc2"})
        discriminator = build({"name": "vc2_discriminator"})
    assert sum(p.numel() for p in generator.parameters()) == 23_068_289
    # With the 1 × 5 layer, which the release has but does not use.
    assert sum(p.numel() for p in discriminator.parameters()) == 11_448_833


def test_coefficients_that_cannot_be_halved_twice_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.generator\.coefficients: .*multiple of 4.*34"):
        build({"name": "vc2", "coefficients": 34}, where="model.generator")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((1, 12, 10), "multiples of 4"),
        ((1, 12, 4), "at least 8"),
        ((1, 24, 16), r"\(batch, 12, frames\)"),
        ((12, 16), r"\(batch, 12, frames\)"),
    ],
)
def test_input_that_does_not_fit_is_refused(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        build(SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(("frames", "columns"), [(1, 1), (8, 1), (9, 2), (128, 16)])
def test_discriminator_scores_an_eighth_of_rows_and_columns(frames: int, columns: int) -> None:
    assert build(SMALL_D)(torch.randn(2, 12, frames)).shape == (2, 1, 2, columns)


def test_discriminator_of_one_row_needs_two_columns() -> None:
    discriminator = build({**SMALL_D, "coefficients": 8})
    assert discriminator(torch.randn(1, 8, discriminator.minimum)).shape == (1, 1, 1, 2)
    with pytest.raises(UserError, match="at least 9"):
        discriminator(torch.randn(1, 8, discriminator.minimum - 1))


@pytest.mark.parametrize("horizontal", [True, False])
def test_features_end_with_the_scores(horizontal: bool) -> None:
    discriminator = build({**SMALL_D, "horizontal": horizontal})
    x = torch.randn(1, 12, 32)
    (blocks,) = discriminator.features(x)
    channels = [4, 8, 16, 32, *([32] if horizontal else []), 1]
    assert [block.shape[1] for block in blocks] == channels
    assert torch.equal(blocks[-1], discriminator(x))


def test_every_parameter_takes_part() -> None:
    for spec in (SMALL, SMALL_D):
        network = build(spec)
        network(torch.randn(1, 12, 16)).square().sum().backward()
        assert [name for name, p in network.named_parameters() if p.grad is None] == []
