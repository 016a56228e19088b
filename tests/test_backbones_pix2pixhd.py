"""pix2pixHD's networks: what the release computes, training in stages, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_networks import (
    by_rule,
    enhancer_shapes,
    global_generator,
    global_shapes,
    multiscale,
    multiscale_shapes,
)
from plain_networks import enhancer as plain_enhancer
from published_weights import network_of, reference

from cyclegan_media.backbones.multiscale import MultiscalePatchGAN
from cyclegan_media.backbones.pix2pixhd import GlobalGenerator, LocalEnhancer
from cyclegan_media.backbones.registry import build
from cyclegan_media.errors import UserError

GLOBAL = {"name": "pix2pixhd_global", "width": 4, "downsamplings": 2, "blocks": 2}
ENHANCER = {
    "name": "pix2pixhd_enhancer",
    "width": 2,
    "downsamplings": 2,
    "blocks": 2,
    "enhancer_blocks": 1,
}


def enhancer(**changes: int | bool) -> LocalEnhancer:
    network = build({**ENHANCER, **changes})
    assert isinstance(network, LocalEnhancer)
    return network


@pytest.mark.parametrize("name", ["pix2pixhd_global_width8", "pix2pixhd_local_width4"])
def test_generators_compute_what_the_release_does(shared_golden: Path, name: str) -> None:
    golden = reference(shared_golden, name)
    with torch.no_grad():
        output = golden.network(*golden.inputs)
    torch.testing.assert_close(output, golden.outputs[0], rtol=0, atol=1e-5)


def test_multiscale_discriminator_computes_what_the_release_does(shared_golden: Path) -> None:
    golden = reference(shared_golden, "pix2pixhd_multiscale_d_width8")
    with torch.no_grad():
        features = golden.network.features(*golden.inputs)
        scores = golden.network(*golden.inputs)
    flat = [block for scale in features for block in scale]
    assert len(flat) == len(golden.outputs)
    for output, wanted in zip(flat, golden.outputs, strict=True):
        torch.testing.assert_close(output, wanted, rtol=0, atol=1e-5)
    for output, wanted in zip(scores, golden.outputs[4::5], strict=True):
        torch.testing.assert_close(output, wanted, rtol=0, atol=1e-5)


def test_networks_compute_what_the_layer_tables_say() -> None:
    x = torch.rand(2, 3, 32, 24, dtype=torch.float64) * 2 - 1
    weights = by_rule(global_shapes(width=2, downsamplings=1, blocks=2))
    output = network_of(weights, "global")(x)
    torch.testing.assert_close(output, global_generator(weights, x, 1, 2))
    weights = by_rule(enhancer_shapes(width=2, downsamplings=1, blocks=1, local_blocks=2))
    output = network_of(weights, "enhancer")(x)
    torch.testing.assert_close(output, plain_enhancer(weights, x, 1, 1, 2))
    weights = by_rule(multiscale_shapes(width=2, scales=3))
    features = network_of(weights, "multiscale").features(x)
    for scale, wanted in zip(features, multiscale(weights, x, 3), strict=True):
        torch.testing.assert_close(scale, wanted)


@pytest.mark.parametrize("spec", [GLOBAL, ENHANCER, {**ENHANCER, "enhancers": 2}])
def test_generators_keep_the_shape(spec: dict[str, int]) -> None:
    generator = build(spec)
    smallest = generator.minimum
    for size in ((smallest, smallest), (smallest, smallest + 3 * generator.multiple)):
        x = torch.rand(1, 3, *size) * 2 - 1
        output = generator(x)
        assert output.shape == x.shape
        assert output.abs().max() <= 1
    with pytest.raises(UserError, match=f"multiples of {generator.multiple}"):
        generator(torch.zeros(1, 3, smallest, smallest + 1))
    with pytest.raises(UserError, match=f"at least {smallest}"):
        generator(torch.zeros(1, 3, smallest, smallest - generator.multiple))


def test_stages_divide_the_parameters() -> None:
    network = enhancer()
    stages = network.stage_parameters()
    assert set(stages) == {"global", "local"}
    everything = [p for parameters in stages.values() for p in parameters]
    assert {id(p) for p in everything} == {id(p) for p in network.parameters()}
    assert len(everything) == len(list(network.parameters()))


def test_first_stage_trains_the_enhancer_alone() -> None:
    network = enhancer()
    stages = network.stage_parameters()
    for parameter in stages["global"]:
        parameter.requires_grad_(False)
    network(torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is None for p in stages["global"])
    assert all(p.grad is not None for p in stages["local"])


def test_enhancer_takes_over_a_trained_global_generator() -> None:
    trained = build(GLOBAL)
    assert isinstance(trained, GlobalGenerator)
    network = enhancer()
    network.load_global(trained)
    x = torch.rand(1, 3, 16, 16)
    taken = torch.nn.Sequential(*network.global_body)
    assert torch.equal(taken(x), torch.nn.Sequential(*trained.body)(x))
    with pytest.raises(UserError, match="2 times the width"):
        enhancer(width=4).load_global(trained)


def test_multiscale_scores_come_full_scale_first() -> None:
    discriminator = build({"name": "multiscale_patchgan", "width": 2, "layers": 2, "scales": 3})
    x = torch.rand(2, 3, 64, 48)
    scores = discriminator(x)
    assert [tuple(s.shape) for s in scores] == [
        (2, 1, 19, 15),  # 64 → 33 → 17 → 18 → 19
        (2, 1, 11, 9),
        (2, 1, 7, 6),
    ]
    features = discriminator.features(x)
    assert [len(scale) for scale in features] == [4, 4, 4]
    for scale, score in zip(features, scores, strict=True):
        assert torch.equal(scale[-1], score)


def test_each_scale_has_a_discriminator_of_its_own() -> None:
    discriminator = build({"name": "multiscale_patchgan", "width": 2, "layers": 1, "scales": 2})
    assert isinstance(discriminator, MultiscalePatchGAN)
    discriminator(torch.rand(1, 3, 16, 16))[1].sum().backward()
    assert all(p.grad is None for p in discriminator.scales[0].parameters())
    assert all(p.grad is not None for p in discriminator.scales[1].parameters())


def test_multiscale_takes_pictures_down_to_its_minimum() -> None:
    discriminator = build({"name": "multiscale_patchgan", "width": 2})
    assert len(discriminator(torch.rand(1, 3, discriminator.minimum, 8))) == 3
    with pytest.raises(UserError, match=f"at least {discriminator.minimum}"):
        discriminator(torch.rand(1, 3, discriminator.minimum - 1, 8))


def test_no_layer_of_the_discriminator_is_wider_than_512() -> None:
    with torch.device("meta"):
        discriminator = build({"name": "multiscale_patchgan", "width": 200, "scales": 1})
    assert [p.shape[0] for p in discriminator.parameters() if p.dim() == 4] == [
        200,
        400,
        512,
        512,
        1,
    ]
