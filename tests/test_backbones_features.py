"""Features of discriminators and of the ResNet's encoder, and the head that projects them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cyclegan_media.backbones.projection import feature_channels
from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.backbones.resnet import ResNetGenerator
from cyclegan_media.errors import UserError

IMAGE = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32).sin()


@pytest.mark.parametrize(
    ("spec", "channels"),
    [
        ({"name": "patchgan", "width": 2, "layers": 3}, [2, 4, 8, 16, 1]),
        ({"name": "patchgan", "width": 2, "layers": 2, "norm": "batch"}, [2, 4, 8, 1]),
        ({"name": "pixelgan", "width": 2}, [2, 4, 1]),
    ],
)
def test_features_are_one_per_layer_and_end_with_the_scores(
    spec: dict[str, object], channels: list[int]
) -> None:
    discriminator = build(spec).eval()
    (blocks,) = discriminator.features(IMAGE)
    assert [block.shape[1] for block in blocks] == channels
    assert torch.equal(blocks[-1], discriminator(IMAGE))
    assert torch.equal(blocks[0], F.leaky_relu(discriminator.layers[0](IMAGE), 0.2))


def test_features_of_the_gated_discriminator() -> None:
    discriminator = build({"name": "gated_cnn_discriminator", "coefficients": 12, "width": 2})
    x = torch.randn(1, 12, 32)
    (blocks,) = discriminator.features(x)
    assert [block.shape[1] for block in blocks] == [2, 4, 8, 16, 1]
    assert torch.equal(blocks[-1], discriminator(x))


def test_features_check_the_input_and_name_a_backbone_without() -> None:
    with pytest.raises(UserError, match=r"'patchgan'.*at least 24"):
        build({"name": "patchgan", "width": 2}).features(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match="'resnet': gives no features"):
        build({"name": "resnet", "width": 2, "blocks": 1}).features(IMAGE)
    with pytest.raises(UserError, match="'unet': gives no features"):
        build({"name": "unet", "width": 2, "downsamplings": 3}).encode_features(IMAGE, [0])


@pytest.fixture
def resnet() -> ResNetGenerator:
    network = build({"name": "resnet", "width": 2, "blocks": 5})
    assert isinstance(network, ResNetGenerator)
    return network


def test_encoder_features_are_the_published_layers(resnet: ResNetGenerator) -> None:
    pixels, half, quarter, first, fifth = resnet.encode_features(IMAGE, [0, 4, 7, 10, 14])
    assert torch.equal(pixels[..., 3:-3, 3:-3], IMAGE)
    assert torch.equal(half, resnet.encoder[:5](IMAGE))
    assert torch.equal(quarter, resnet.encoder[:8](IMAGE))
    assert torch.equal(first, resnet.residual[0](resnet.encoder(IMAGE)))
    assert torch.equal(fifth, resnet.residual(resnet.encoder(IMAGE)))


def test_a_feature_is_not_overwritten_by_the_layer_after_it(resnet: ResNetGenerator) -> None:
    # 8 is a normalisation, which the ReLU after it works on in place.
    (normalised, activated) = resnet.encode_features(IMAGE, [8, 9])
    torch.testing.assert_close(normalised.mean(dim=(2, 3)), torch.zeros(2, 8), rtol=0, atol=1e-5)
    assert torch.equal(activated, normalised.relu())
    normalised.sum().backward()


def test_features_come_in_the_order_asked_for_and_stop_there(resnet: ResNetGenerator) -> None:
    later, earlier = resnet.encode_features(IMAGE, [7, 4])
    assert later.shape[1] == 8
    assert earlier.shape[1] == 4
    reached: list[int] = []
    resnet.residual[0].register_forward_hook(lambda *_: reached.append(0))
    resnet.encode_features(IMAGE, [9])
    assert reached == []


@pytest.mark.parametrize("layers", [[], [-1], [0, 24]])
def test_layers_that_are_not_there_are_refused(resnet: ResNetGenerator, layers: list[int]) -> None:
    with pytest.raises(UserError, match="'resnet': has layers 0 to 23"):
        resnet.encode_features(IMAGE, layers)


@pytest.fixture
def projection(resnet: ResNetGenerator) -> Backbone:
    inputs = feature_channels(resnet, [0, 4, 10])
    assert inputs == (3, 4, 8)
    return build({"name": "projection", "inputs": inputs, "width": 6})


def test_projection_gives_unit_vectors_of_the_chosen_locations(
    resnet: ResNetGenerator, projection: Backbone
) -> None:
    features = resnet.encode_features(IMAGE, [0, 4, 10])
    locations = [torch.tensor([0, 39, 5]), torch.tensor([17]), torch.tensor([3, 3])]
    vectors = projection(features, locations)
    assert [tuple(v.shape) for v in vectors] == [(2, 3, 6), (2, 1, 6), (2, 2, 6)]
    for vector in vectors:
        torch.testing.assert_close(vector.norm(dim=2), torch.ones(vector.shape[:2]))
    # Location 39 of the padded picture, 38 pixels wide, is its second row's second pixel.
    head = projection.heads[0]
    by_hand = head(features[0][:, :, 1, 1])
    torch.testing.assert_close(vectors[0][:, 1], by_hand / by_hand.norm(dim=1, keepdim=True))


def test_projection_refuses_other_features(resnet: ResNetGenerator, projection: Backbone) -> None:
    features = resnet.encode_features(IMAGE, [0, 4])
    with pytest.raises(UserError, match=r"'projection': needs feature maps of \(3, 4, 8\)"):
        projection(features, [torch.tensor([0])] * 2)
