"""Make the golden data in tests/golden: what the published architectures compute, re-stated.

    python tests/make_golden.py

Each network stands here once more, as plain functions of its published parameters, written from
the layer tables of the papers and not from ``cyclegan_media.backbones``; likewise the training
step, with Adam by its equations. The format is that of the reference data (see its README in
``published_weights.py``): ``NAME.json`` with shapes, ``NAME.npz`` with inputs and outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from published_weights import weights_by_rule
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
Weights = dict[str, Tensor]
Shapes = dict[str, list[int]]


def norm(x: Tensor) -> Tensor:
    """Instance normalisation without parameters, over all but batch and channel."""
    axes = tuple(range(2, x.dim()))
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def conv(w: Weights, key: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(x, w[f"{key}.weight"], w[f"{key}.bias"], stride, padding)


def up(w: Weights, key: str, x: Tensor, kernel: int) -> Tensor:
    """Transposed convolution to twice the size."""
    weight, bias = w[f"{key}.weight"], w[f"{key}.bias"]
    extra = 1 if kernel == 3 else 0
    return F.conv_transpose2d(x, weight, bias, 2, 1, output_padding=extra)


def reflect(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (by,) * 4, mode="reflect")


def layer(shapes: Shapes, key: str, shape: list[int], outputs: int) -> None:
    shapes[f"{key}.weight"], shapes[f"{key}.bias"] = shape, [outputs]


# ResNet generator: c7s1-w, d2w, d4w, R4w × blocks, u2w, uw, c7s1-3 (Zhu 2017, appendix 7.2)


def resnet_shapes(width: int, blocks: int) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, "model.1", [width, 3, 7, 7], width)
    layer(shapes, "model.4", [2 * width, width, 3, 3], 2 * width)
    layer(shapes, "model.7", [4 * width, 2 * width, 3, 3], 4 * width)
    for block in range(blocks):
        for part in (1, 5):
            key = f"model.{10 + block}.conv_block.{part}"
            layer(shapes, key, [4 * width, 4 * width, 3, 3], 4 * width)
    layer(shapes, f"model.{10 + blocks}", [4 * width, 2 * width, 3, 3], 2 * width)
    layer(shapes, f"model.{13 + blocks}", [2 * width, width, 3, 3], width)
    layer(shapes, f"model.{17 + blocks}", [3, width, 7, 7], 3)
    return shapes


def resnet(w: Weights, x: Tensor) -> Tensor:
    blocks = sum(key.endswith("conv_block.1.weight") for key in w)
    x = norm(conv(w, "model.1", reflect(x, 3))).relu()
    x = norm(conv(w, "model.4", x, 2, 1)).relu()
    x = norm(conv(w, "model.7", x, 2, 1)).relu()
    for block in range(10, 10 + blocks):
        y = norm(conv(w, f"model.{block}.conv_block.1", reflect(x, 1))).relu()
        x = x + norm(conv(w, f"model.{block}.conv_block.5", reflect(y, 1)))
    x = norm(up(w, f"model.{10 + blocks}", x, 3)).relu()
    x = norm(up(w, f"model.{13 + blocks}", x, 3)).relu()
    return conv(w, f"model.{17 + blocks}", reflect(x, 3)).tanh()


# U-Net of three levels; published names nest each level in the one above (Isola 2017, 6.1.1)

OUTER, MIDDLE, INNER = "model.model", "model.model.1.model", "model.model.1.model.3.model"


def unet_shapes(width: int) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, f"{OUTER}.0", [width, 3, 4, 4], width)
    layer(shapes, f"{MIDDLE}.1", [2 * width, width, 4, 4], 2 * width)
    layer(shapes, f"{INNER}.1", [4 * width, 2 * width, 4, 4], 4 * width)
    layer(shapes, f"{INNER}.3", [4 * width, 2 * width, 4, 4], 2 * width)
    layer(shapes, f"{MIDDLE}.5", [4 * width, width, 4, 4], width)
    layer(shapes, f"{OUTER}.3", [2 * width, 3, 4, 4], 3)
    return shapes


def unet(w: Weights, x: Tensor) -> Tensor:
    one = conv(w, f"{OUTER}.0", x, 2, 1)
    two = norm(conv(w, f"{MIDDLE}.1", F.leaky_relu(one, 0.2), 2, 1))
    three = conv(w, f"{INNER}.1", F.leaky_relu(two, 0.2), 2, 1)
    back_two = norm(up(w, f"{INNER}.3", three.relu(), 4))
    back_one = norm(up(w, f"{MIDDLE}.5", torch.cat([two, back_two], 1).relu(), 4))
    return up(w, f"{OUTER}.3", torch.cat([one, back_one], 1).relu(), 4).tanh()


# PatchGAN with one layer of stride 2, and PixelGAN (Isola 2017, appendix 6.1.2)


def patch_shapes(width: int) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, "model.0", [width, 3, 4, 4], width)
    layer(shapes, "model.2", [2 * width, width, 4, 4], 2 * width)
    layer(shapes, "model.5", [1, 2 * width, 4, 4], 1)
    return shapes


def patch(w: Weights, x: Tensor) -> Tensor:
    x = F.leaky_relu(conv(w, "model.0", x, 2, 1), 0.2)
    x = F.leaky_relu(norm(conv(w, "model.2", x, 1, 1)), 0.2)
    return conv(w, "model.5", x, 1, 1)


def pixel_shapes(width: int) -> Shapes:
    shapes: Shapes = {}
    layer(shapes, "net.0", [width, 3, 1, 1], width)
    layer(shapes, "net.2", [2 * width, width, 1, 1], 2 * width)
    layer(shapes, "net.5", [1, 2 * width, 1, 1], 1)
    return shapes


def pixel(w: Weights, x: Tensor) -> Tensor:
    x = F.leaky_relu(conv(w, "net.0", x), 0.2)
    x = F.leaky_relu(norm(conv(w, "net.2", x)), 0.2)
    return conv(w, "net.5", x)


Network = Callable[[Weights, Tensor], Tensor]
NETWORKS: dict[str, tuple[Network, Shapes, tuple[int, ...]]] = {
    # name: function, parameters, shape of the input
    "resnet_2blocks_width2": (resnet, resnet_shapes(2, 2), (2, 3, 8, 12)),
    "unet_8_width2": (unet, unet_shapes(2), (1, 3, 16, 8)),
    "patch16_width2": (patch, patch_shapes(2), (2, 3, 12, 8)),
    "pixel_width2": (pixel, pixel_shapes(2), (2, 3, 6, 4)),
}


# Three steps of training (Zhu 2017, equations 1 to 4 and sections 4 and 5.2)

STEPS = 3
COLUMNS = [
    *("adversarial_a2b", "adversarial_b2a", "cycle_a (x10)", "cycle_b (x10)"),
    *("identity_a2b (x5)", "identity_b2a (x5)", "discriminator_b", "discriminator_a"),
]


class Adam:
    """Kingma & Ba 2015, algorithm 1, with the constants of CycleGAN."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights, self.t = weights, 0
        self.m = [torch.zeros_like(w) for w in weights]
        self.v = [torch.zeros_like(w) for w in weights]

    def minimise(self, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, self.weights)
        self.t += 1
        with torch.no_grad():
            for w, g, m, v in zip(self.weights, gradients, self.m, self.v, strict=True):
                m.copy_(0.5 * m + 0.5 * g)
                v.copy_(0.999 * v + 0.001 * g * g)
                m_hat, v_hat = m / (1 - 0.5**self.t), v / (1 - 0.999**self.t)
                w -= 2e-4 * m_hat / (v_hat.sqrt() + 1e-8)


def prefixed(shapes: Shapes, prefix: str) -> Weights:
    return {
        key: weights_by_rule(f"{prefix}.{key}", shape).requires_grad_(True)
        for key, shape in shapes.items()
    }


def training() -> tuple[dict[str, object], dict[str, np.ndarray]]:
    g_shapes, d_shapes = resnet_shapes(2, 1), patch_shapes(2)
    g, f = prefixed(g_shapes, "G_A"), prefixed(g_shapes, "G_B")
    d_b, d_a = prefixed(d_shapes, "D_A"), prefixed(d_shapes, "D_B")
    generators = Adam([*g.values(), *f.values()])
    discriminators = Adam([*d_b.values(), *d_a.values()])
    batches = {name: picture(name, (STEPS, 1, 3, 16, 16)) for name in ("real_a", "real_b")}
    losses = []
    for a, b in zip(batches["real_a"].double(), batches["real_b"].double(), strict=True):
        fake_b, fake_a = resnet(g, a), resnet(f, b)
        summands = [
            (patch(d_b, fake_b) - 1).square().mean(),
            (patch(d_a, fake_a) - 1).square().mean(),
            10 * (resnet(f, fake_b) - a).abs().mean(),
            10 * (resnet(g, fake_a) - b).abs().mean(),
            5 * (resnet(g, b) - b).abs().mean(),
            5 * (resnet(f, a) - a).abs().mean(),
        ]
        generators.minimise(torch.stack(summands).sum())
        for d, real, fake in ((d_b, b, fake_b.detach()), (d_a, a, fake_a.detach())):
            score_real, score_fake = patch(d, real), patch(d, fake)
            summands.append(0.5 * ((score_real - 1).square().mean() + score_fake.square().mean()))
        discriminators.minimise(summands[-2] + summands[-1])
        losses.append([float(summand.detach()) for summand in summands])
    with torch.no_grad():
        after = resnet(g, batches["real_a"][0].double())
    arrays = {name: batch.numpy() for name, batch in batches.items()}
    arrays["losses"] = np.array(losses)
    arrays["fake_b_after"] = after.numpy()
    facts: dict[str, object] = {
        "note": "the training of training_5steps, shorter, with ResNet-1 and PatchGAN-16, width 2",
        "columns": COLUMNS,
    }
    return facts, arrays


def picture(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values in −1…1 that look like nothing in particular, float32."""
    return (weights_by_rule(name, [int(np.prod(shape))]) * 10).reshape(shape).float()


def golden() -> dict[str, tuple[dict[str, object], dict[str, np.ndarray]]]:
    """All golden data: facts and arrays by name."""
    made = {}
    for name, (network, shapes, shape) in NETWORKS.items():
        weights = {key: weights_by_rule(key, shape) for key, shape in shapes.items()}
        x = picture(name, shape)
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        facts: dict[str, object] = {"parameters": count, "state_dict": shapes}
        output = network(weights, x.double())
        made[name] = (facts, {"input0": x.numpy(), "output0": output.float().numpy()})
    return {**made, "training_3steps": training()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, (facts, arrays) in golden().items():
        (FOLDER / f"{name}.json").write_text(json.dumps(facts) + "\n")
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)  # type: ignore[arg-type]
