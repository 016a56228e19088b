"""Architectures stated once more, as plain functions of their published parameters.

Written from the papers' layer tables and the reference data's lists of parameters, not from
``cyclegan_media.backbones``, so that parity is tested where the reference data is absent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from make_golden import Shapes, Weights, conv, layer, norm, reflect, up
from published_weights import weights_by_rule
from torch import Tensor


def by_rule(shapes: Shapes) -> Weights:
    return {key: weights_by_rule(key, shape) for key, shape in shapes.items()}


# pix2pixHD (Wang 2018, section 3): c7s1-w, d2w, …, R × blocks, …, uw, c7s1-3


def residual(w: Weights, key: str, x: Tensor) -> Tensor:
    y = norm(conv(w, f"{key}.conv_block.1", reflect(x, 1))).relu()
    return x + norm(conv(w, f"{key}.conv_block.5", reflect(y, 1)))


def halved(x: Tensor) -> Tensor:
    """The mean of the 3 × 3 pixels around each second one, as far as they are in the picture."""
    ones, window = torch.ones_like(x[:1, :1]), torch.ones(1, 1, 3, 3, dtype=x.dtype)
    count = F.conv2d(ones, window, stride=2, padding=1)
    sums = [F.conv2d(x[:, c : c + 1], window, stride=2, padding=1) for c in range(x.shape[1])]
    return torch.cat(sums, 1) / count


def global_shapes(width: int, downsamplings: int, blocks: int, whole: bool = True) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, "model.1", [width, 3, 7, 7], width)
    position, channels = 4, width
    for _ in range(downsamplings):
        layer(shapes, f"model.{position}", [2 * channels, channels, 3, 3], 2 * channels)
        position, channels = position + 3, 2 * channels
    for _ in range(blocks):
        for part in (1, 5):
            key = f"model.{position}.conv_block.{part}"
            layer(shapes, key, [channels, channels, 3, 3], channels)
        position += 1
    for _ in range(downsamplings):
        layer(shapes, f"model.{position}", [channels, channels // 2, 3, 3], channels // 2)
        position, channels = position + 3, channels // 2
    if whole:
        layer(shapes, f"model.{position + 1}", [3, width, 7, 7], 3)
    return shapes


def global_features(w: Weights, x: Tensor, downsamplings: int, blocks: int) -> tuple[Tensor, int]:
    """All but the last layer, and the position after them."""
    x = norm(conv(w, "model.1", reflect(x, 3))).relu()
    position = 4
    for _ in range(downsamplings):
        x = norm(conv(w, f"model.{position}", x, 2, 1)).relu()
        position += 3
    for _ in range(blocks):
        x = residual(w, f"model.{position}", x)
        position += 1
    for _ in range(downsamplings):
        x = norm(up(w, f"model.{position}", x, 3)).relu()
        position += 3
    return x, position


def global_generator(w: Weights, x: Tensor, downsamplings: int, blocks: int) -> Tensor:
    x, position = global_features(w, x, downsamplings, blocks)
    return conv(w, f"model.{position + 1}", reflect(x, 3)).tanh()


def enhancer_shapes(width: int, downsamplings: int, blocks: int, local_blocks: int) -> Shapes:
    """One enhancer."""
    shapes = global_shapes(2 * width, downsamplings, blocks, whole=False)
    layer(shapes, "model1_1.1", [width, 3, 7, 7], width)
    layer(shapes, "model1_1.4", [2 * width, width, 3, 3], 2 * width)
    for block in range(local_blocks):
        for part in (1, 5):
            key = f"model1_2.{block}.conv_block.{part}"
            layer(shapes, key, [2 * width, 2 * width, 3, 3], 2 * width)
    layer(shapes, f"model1_2.{local_blocks}", [2 * width, width, 3, 3], width)
    layer(shapes, f"model1_2.{local_blocks + 4}", [3, width, 7, 7], 3)
    return shapes


def enhancer(w: Weights, x: Tensor, downsamplings: int, blocks: int, local_blocks: int) -> Tensor:
    coarse, _ = global_features(w, halved(x), downsamplings, blocks)
    x = norm(conv(w, "model1_1.1", reflect(x, 3))).relu()
    x = norm(conv(w, "model1_1.4", x, 2, 1)).relu() + coarse
    for block in range(local_blocks):
        x = residual(w, f"model1_2.{block}", x)
    x = norm(up(w, f"model1_2.{local_blocks}", x, 3)).relu()
    return conv(w, f"model1_2.{local_blocks + 4}", reflect(x, 3)).tanh()


def multiscale_shapes(width: int, scales: int) -> Shapes:
    """Two layers of stride 2."""
    shapes: Shapes = {}
    widths = [3, width, 2 * width, 4 * width, 1]
    for scale in range(scales):
        for i in range(4):
            key = f"scale{scale}_layer{i}.0"
            layer(shapes, key, [widths[i + 1], widths[i], 4, 4], widths[i + 1])
    return shapes


def multiscale(w: Weights, x: Tensor, scales: int) -> list[list[Tensor]]:
    """The release counts scales from the smallest."""
    outputs = []
    for scale in reversed(range(scales)):
        key = f"scale{scale}_layer"
        one = F.leaky_relu(conv(w, f"{key}0.0", x, 2, 2), 0.2)
        two = F.leaky_relu(norm(conv(w, f"{key}1.0", one, 2, 2)), 0.2)
        three = F.leaky_relu(norm(conv(w, f"{key}2.0", two, 1, 2)), 0.2)
        outputs.append([one, two, three, conv(w, f"{key}3.0", three, 1, 2)])
        x = halved(x)
    return outputs


# CycleGAN-VC2 and MaskCycleGAN-VC (Kaneko 2019, figure 4; Kaneko 2021, section 3)


def affine(shapes: Shapes, key: str, channels: int) -> None:
    shapes[f"{key}.weight"], shapes[f"{key}.bias"] = [channels], [channels]


def normed(w: Weights, key: str, x: Tensor) -> Tensor:
    """Instance normalisation with learned scale and shift."""
    each = (-1,) + (1,) * (x.dim() - 2)
    return norm(x) * w[f"{key}.weight"].view(each) + w[f"{key}.bias"].view(each)


def conv1d(w: Weights, key: str, x: Tensor, padding: int = 0) -> Tensor:
    return F.conv1d(x, w[f"{key}.weight"], w[f"{key}.bias"], padding=padding)


def vc2_shapes(width: int, coefficients: int, blocks: int, masked: bool = False) -> Shapes:
    shapes: Shapes = {}
    flat = 2 * width * coefficients // 4
    for key in ("conv1", "conv1_gates"):
        layer(shapes, key, [width, 2 if masked else 1, 5, 15], width)
    for key, inputs in (("downSample1", width), ("downSample2", 2 * width)):
        for part in ("convLayer", "convLayer_gates"):
            layer(shapes, f"{key}.{part}.0", [2 * width, inputs, 5, 5], 2 * width)
            affine(shapes, f"{key}.{part}.1", 2 * width)
    first, second = ("", "_tfan") if masked else (".0", ".1")
    layer(shapes, f"conv2dto1dLayer{first}", [2 * width, flat, 1], 2 * width)
    affine(shapes, f"conv2dto1dLayer{second}", 2 * width)
    for block in range(1, blocks + 1):
        key = f"residualLayer{block}"
        for part in ("conv1d_layer", "conv_layer_gates"):
            layer(shapes, f"{key}.{part}.0", [4 * width, 2 * width, 3], 4 * width)
            affine(shapes, f"{key}.{part}.1", 4 * width)
        layer(shapes, f"{key}.conv1d_out_layer.0", [2 * width, 4 * width, 3], 2 * width)
        affine(shapes, f"{key}.conv1d_out_layer.1", 2 * width)
    layer(shapes, f"conv1dto2dLayer{first}", [flat, 2 * width, 1], flat)
    affine(shapes, f"conv1dto2dLayer{second}", flat)
    for key, outputs in (("upSample1", 2 * width), ("upSample2", width)):
        layer(shapes, f"{key}.0", [4 * outputs, 2 * width, 5, 5], 4 * outputs)
        affine(shapes, f"{key}.2", outputs)
    layer(shapes, "lastConvLayer", [1, width, 5, 15], 1)
    return shapes


def vc2(w: Weights, picture: Tensor, blocks: int, masked: bool = False) -> Tensor:
    """``picture`` is ``(batch, planes, coefficients, frames)``."""

    def wide(key: str, x: Tensor) -> Tensor:
        return F.conv2d(x, w[f"{key}.weight"], w[f"{key}.bias"], padding=(2, 7))

    x = wide("conv1", picture) * wide("conv1_gates", picture).sigmoid()
    for key in ("downSample1", "downSample2"):
        value, gate = (
            normed(w, f"{key}.{part}.1", conv(w, f"{key}.{part}.0", x, 2, 2))
            for part in ("convLayer", "convLayer_gates")
        )
        x = value * gate.sigmoid()
    batch, channels, rows, columns = x.shape
    first, second = ("", "_tfan") if masked else (".0", ".1")
    x = conv1d(w, f"conv2dto1dLayer{first}", x.reshape(batch, channels * rows, columns))
    x = normed(w, f"conv2dto1dLayer{second}", x)
    for block in range(1, blocks + 1):
        key = f"residualLayer{block}"
        value, gate = (
            normed(w, f"{key}.{part}.1", conv1d(w, f"{key}.{part}.0", x, 1))
            for part in ("conv1d_layer", "conv_layer_gates")
        )
        y = conv1d(w, f"{key}.conv1d_out_layer.0", value * gate.sigmoid(), 1)
        x = x + normed(w, f"{key}.conv1d_out_layer.1", y)
    x = normed(w, f"conv1dto2dLayer{second}", conv1d(w, f"conv1dto2dLayer{first}", x))
    x = x.reshape(batch, channels, rows, columns)
    for key in ("upSample1", "upSample2"):
        x = normed(w, f"{key}.2", F.pixel_shuffle(conv(w, f"{key}.0", x, 1, 2), 2))
        x = x * x.sigmoid()
    return wide("lastConvLayer", x)[:, 0]


def vc2_discriminator_shapes(width: int, unused_kernel: int) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, "convLayer1.0", [width, 1, 3, 3], width)
    for i, inputs in enumerate((width, 2 * width, 4 * width), start=1):
        layer(shapes, f"downSample{i}.0", [2 * inputs, inputs, 3, 3], 2 * inputs)
        affine(shapes, f"downSample{i}.1", 2 * inputs)
    layer(shapes, "downSample4.0", [8 * width, 8 * width, 1, unused_kernel], 8 * width)
    affine(shapes, "downSample4.1", 8 * width)
    layer(shapes, "outputConvLayer.0", [1, 8 * width, 1, 3], 1)
    return shapes


def vc2_discriminator(w: Weights, x: Tensor) -> Tensor:
    """Without the last sigmoid."""
    x = conv(w, "convLayer1.0", x[:, None], 1, 1)
    x = x * x.sigmoid()
    for i in (1, 2, 3):
        x = normed(w, f"downSample{i}.1", conv(w, f"downSample{i}.0", x, 2, 1))
        x = x * x.sigmoid()
    weight, bias = w["outputConvLayer.0.weight"], w["outputConvLayer.0.bias"]
    return F.conv2d(x, weight, bias, padding=(0, 1))
