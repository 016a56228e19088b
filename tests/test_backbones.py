"""The first backbones: shapes, sizes, what each network can see, and clear refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published_weights import weights_by_rule
from torch import Tensor

from cyclegan_media.backbones import (
    Backbone,
    BackboneConfig,
    available,
    backbone_class,
    build,
    parse_config,
    register,
    spec_of,
)
from cyclegan_media.backbones.gated_cnn import PixelShuffle1d
from cyclegan_media.errors import UserError

RESNET = {"name": "resnet", "width": 2, "blocks": 1}
UNET = {"name": "unet", "width": 2, "downsamplings": 3}
PATCH = {"name": "patchgan", "width": 2, "layers": 2}
PIXEL = {"name": "pixelgan", "width": 2}
GATED = {"name": "gated_cnn", "coefficients": 5, "width": 2, "residual_blocks": 1}
GATED_D = {"name": "gated_cnn_discriminator", "coefficients": 5, "width": 2}
ALL = (RESNET, UNET, PATCH, PIXEL, GATED, GATED_D)


@pytest.mark.parametrize("spec", [RESNET, UNET])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_image_generators_keep_the_shape_from_the_smallest_size_on(
    spec: dict[str, Any], norm: str
) -> None:
    generator = build({**spec, "norm": norm})
    least, step = generator.minimum, generator.multiple
    for height, width in ((least, least), (least, least + 3 * step), (least + 2 * step, least)):
        x = torch.rand(2, 3, height, width) * 2 - 1
        output = generator(x)
        assert output.shape == x.shape
        assert output.abs().max() <= 1


@pytest.mark.parametrize("frames", [8, 12, 128, 132])
def test_voice_generator_keeps_the_shape(frames: int) -> None:
    x = torch.randn(2, 5, frames)
    assert build(GATED)(x).shape == x.shape


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        # as the release prints them: 11.378 M, 2.765 M and, for pix2pix, 54.414 M
        ({"name": "resnet"}, 11_378_179),
        ({"name": "patchgan"}, 2_764_737),
        ({"name": "unet", "norm": "batch"}, 54_413_955),
    ],
)
def test_defaults_have_the_published_number_of_parameters(spec: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        network = build(spec)
    assert sum(p.numel() for p in network.parameters()) == count


def seen(discriminator: Backbone, size: int) -> tuple[int, int]:
    """Height and width of the input that the score in the middle depends on."""
    # Batch normalisation in evaluation mode: instance normalisation would see the whole picture.
    discriminator.eval()
    for parameter in discriminator.parameters():
        parameter.data.abs_().add_(0.1)  # so that no two contributions cancel
    x = torch.rand(1, 3, size, size, requires_grad=True)
    scores = discriminator(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert x.grad is not None
    rows, columns = x.grad.abs().sum((0, 1)).nonzero().T
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_patch_discriminator_sees_patches_of_the_stated_size(layers: int, patch: int) -> None:
    network = build({"name": "patchgan", "width": 1, "layers": layers, "norm": "batch"})
    assert seen(network, 160) == (patch, patch)


def test_pixel_discriminator_sees_single_pixels() -> None:
    assert seen(build({**PIXEL, "norm": "batch"}), 8) == (1, 1)


@pytest.mark.parametrize(("size", "scores"), [(24, 1), (64, 6), (128, 14), (256, 30)])
def test_patch_discriminator_scores_as_many_patches_as_stated(size: int, scores: int) -> None:
    network = build({"name": "patchgan", "width": 1})
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 1, scores, scores)


@pytest.mark.parametrize(
    ("coefficients", "frames", "shape"), [(24, 128, (6, 8)), (36, 129, (9, 9)), (5, 1, (2, 1))]
)
def test_gated_discriminator_scores_rows_and_columns(
    coefficients: int, frames: int, shape: tuple[int, int]
) -> None:
    network = build({**GATED_D, "coefficients": coefficients})
    assert network(torch.randn(1, coefficients, frames)).shape == (1, 1, *shape)


def test_pixel_shuffle_turns_channels_into_frames_in_order() -> None:
    # Two channels of three frames; the first channel holds the even frames, the second the odd.
    x = torch.tensor([[[0.0, 2, 4], [1, 3, 5]]])
    assert PixelShuffle1d(2)(x).tolist() == [[[0, 1, 2, 3, 4, 5]]]
    # Value and gate: each half of the channels by itself.
    both = torch.cat([x, x + 10], dim=1)
    assert PixelShuffle1d(2, groups=2)(both).tolist() == [
        [[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]]
    ]


def test_gated_generator_follows_figure_4() -> None:
    """The layer table once more, with value and gate as the two convolutions of the figure."""
    network = build(GATED).double()
    w = {key: weights_by_rule(key, list(t.shape)) for key, t in network.state_dict().items()}
    network.load_state_dict(w)

    def gated(
        x: Tensor, conv: str, norm: str | None, stride: int = 1, shuffle: bool = False
    ) -> Tensor:
        halves = []
        for half in (0, 1):
            weight = w[f"{conv}.weight"].chunk(2)[half]
            bias = w[f"{conv}.bias"].chunk(2)[half]
            y = F.conv1d(x, weight, bias, stride, padding=weight.shape[2] // 2)
            if shuffle:
                even, odd = y.chunk(2, dim=1)
                y = torch.stack([even, odd], dim=-1).flatten(2)
            if norm:
                y = normed(y, w[f"{norm}.weight"].chunk(2)[half], w[f"{norm}.bias"].chunk(2)[half])
            halves.append(y)
        return halves[0] * halves[1].sigmoid()

    def normed(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mean, variance = y.mean(2, keepdim=True), y.var(2, correction=0, keepdim=True)
        return scale[:, None] * (y - mean) / (variance + 1e-5).sqrt() + shift[:, None]

    x = weights_by_rule("x", [2 * 5 * 12]).reshape(2, 5, 12) * 10
    h = gated(x, "stem.0", None)  # k15 c128 s1
    h = gated(h, "down.0", "down.1", stride=2)  # k5 c256 s2
    h = gated(h, "down.3", "down.4", stride=2)  # k5 c512 s2
    block = "residual.0.layers"  # k3 c1024 s1, then k3 c512 s1
    inner = gated(h, f"{block}.0", f"{block}.1")
    inner = F.conv1d(inner, w[f"{block}.3.weight"], w[f"{block}.3.bias"], padding=1)
    h = h + normed(inner, w[f"{block}.4.weight"], w[f"{block}.4.bias"])
    h = gated(h, "up.0", "up.2", shuffle=True)  # k5 c1024 s1, shuffled to c512
    h = gated(h, "up.4", "up.6", shuffle=True)  # k5 c512 s1, shuffled to c256
    wanted = F.conv1d(h, w["head.weight"], w["head.bias"], padding=7)  # k15 c24 s1
    torch.testing.assert_close(network(x), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec["name"])
def test_build_and_spec_are_inverse(spec: dict[str, Any]) -> None:
    network = build(spec)
    again = build(spec_of(network))
    assert spec_of(again) == spec_of(network)
    again.load_state_dict(network.state_dict())  # the same names and shapes


def test_instance_norm_computes_the_same_in_training_and_evaluation() -> None:
    network, x = build(RESNET), torch.rand(1, 3, 8, 8)
    assert torch.equal(network.train()(x), network.eval()(x))


@pytest.mark.parametrize("spec", [RESNET, {**UNET, "downsamplings": 6}])
def test_dropout_acts_in_training_only(spec: dict[str, Any]) -> None:
    network = build({**spec, "dropout": True})
    x = torch.rand(1, 3, network.minimum, network.minimum)
    network.train()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("spec", "shape", "says"),
    [
        (RESNET, (1, 3, 10, 8), "'resnet': needs height, width in multiples of 4, not 10 × 8"),
        (RESNET, (1, 3, 4, 4), "'resnet': needs height, width of at least 8, not 4 × 4"),
        (RESNET, (1, 1, 8, 8), r"shaped \(batch, 3, height, width\), not \(1, 1, 8, 8\)"),
        (RESNET, (3, 8, 8), r"shaped \(batch, 3, height, width\), not \(3, 8, 8\)"),
        (UNET, (1, 3, 12, 8), "'unet': needs height, width in multiples of 8, not 12 × 8"),
        (PATCH, (1, 3, 11, 12), "'patchgan': needs height, width of at least 12, not 11 × 12"),
        (PIXEL, (1, 3, 1, 1), "'pixelgan': needs height, width of at least 2"),
        (GATED, (1, 5, 10), "'gated_cnn': needs frames in multiples of 4, not 10"),
        (GATED, (1, 24, 8), r"shaped \(batch, 5, frames\), not \(1, 24, 8\)"),
        (GATED_D, (1, 5, 8, 1), r"shaped \(batch, 5, frames\)"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    spec: dict[str, Any], shape: tuple[int, ...], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        build(spec)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"width": 4}, "^model.generator: needs a 'name', one of: .*resnet"),
        (
            {"name": "resnext"},
            "^model.generator.name: no backbone is called 'resnext'; .*resnet",
        ),
        ({"name": "os.system"}, "^model.generator.name: no backbone is called 'os.system'"),
        ({"name": "resnet", "blokcs": 9}, "^model.generator.blokcs: unknown key; 'resnet' knows: "),
        ({"name": "resnet", "blocks": "nine"}, r"^model.generator.blocks: .*integer.*'nine'"),
        ({"name": "resnet", "width": 0}, "^model.generator.width: .*greater than or equal to 1"),
        ({"name": "resnet", "norm": "layer"}, "^model.generator.norm: .*'instance' or 'batch'"),
        ({"name": "patchgan"}, "^model.generator.name: 'patchgan' is for discriminator, but gen"),
        ({"name": "gated_cnn"}, "^model.generator.name: 'gated_cnn' is for voice, but image"),
    ],
)
def test_wrong_specs_are_refused_with_the_path_of_the_key(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_config(spec, where="model.generator", modality="image", role="generator")


def test_every_available_backbone_can_be_had() -> None:
    assert {spec["name"] for spec in ALL} <= set(available())
    for name in available():
        assert backbone_class(name).name == name


def test_a_name_belongs_to_one_class() -> None:
    class Impostor(Backbone):
        Config = BackboneConfig
        modality = "image"
        role = "generator"

    build(RESNET)  # the true one is registered
    with pytest.raises(ValueError, match="two backbones are registered as 'resnet'"):
        register("resnet")(Impostor)
    assert type(build(RESNET)) is not Impostor
