"""Static quantisation of a generator's convolutions to int8, calibrated on what it translates.

    q = round(x / s) + z  in 0…255,        w ≈ s_w · q_w,  q_w in −127…127
    y = s · s_w · Σ q_w (q − z)            summed in 32 bits

with one scale s and zero point z a layer and one scale s_w an output channel (Jacob et al. 2018,
arXiv 1712.05877, sections 2.1 and 3). Integers are multiplied by oneDNN, as PyTorch brings it, on
processors that have instructions for it (AVX-512 VNNI, AVX-VNNI, AMX): at four times the rate of
single precision and twice that of bfloat16.

Quantised are the convolutions of stride 1 on many channels, where a generator's arithmetic is: 87
of 99 GFLOP of CycleGAN's ResNet at 256 × 256. Those of the encoder are few and come first, and an
error that is made early passes through all that follows: they alone make half of the total.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor, nn

logger = logging.getLogger("cyclegan_media")

FRAMES = 8
"""Pictures that ranges are taken from."""
LEAST_PSNR = 35.0
"""Decibels from the network that is not quantised, of pictures in −1…1."""
_CHANNELS = 32
"""Inputs and outputs from which a convolution is worth quantising it."""
_SAMPLE = 20_000
"""Values of each layer's input that are kept of each picture."""
_CLIPPED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the range seen that are tried as the range kept."""


class QuantisedOnUse:
    """Translates the first pictures as ``network`` does and looks on; then in int8.

    Ranges are those of the user's own first pictures. On the last of these the two results are
    compared, and layers are left as they were, the first ones first, until they differ by no more
    than :data:`LEAST_PSNR`.

    Args:
        network: takes and returns ``(n, 3, height, width)`` in −1…1; called under autocast. Its
            convolutions are replaced in place.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._seen = 0
        self._watched = {
            name: _Watched(part)
            for name, part in network.named_modules()
            if type(part) is nn.Conv2d and is_worth_it(part)
        }

    @property
    def is_steady(self) -> bool:
        """Whether it has the ranges, and so computes the same of a picture from now on."""
        return not self._watched

    def __call__(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self._network(*inputs)
        if self._watched:
            self._seen += len(output)
            if self._seen >= FRAMES:
                self._quantise([x[-1:] for x in inputs], output[-1:])
                self._watched = {}
        return output

    def _quantise(self, inputs: list[Tensor], exact: Tensor) -> None:
        parts = {name: watched.quantised() for name, watched in self._watched.items()}
        plain = {name: watched.conv for name, watched in self._watched.items()}
        for name, part in parts.items():
            _put(self._network, name, part)
        names, left, step = list(parts), 0, 1
        while left <= len(names):
            quality = psnr(self._network(*inputs), exact)
            if quality >= LEAST_PSNR:
                logger.info(
                    "int8: %d of %d layers; %.1f dB from the network before",
                    len(names) - left,
                    len(names),
                    quality,
                )
                return
            for name in names[left : left + step]:
                _put(self._network, name, plain[name])
            left, step = left + step, 2 * step
        logger.warning("int8: this network does not bear it; it goes on in bfloat16")


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise ratio of pictures in −1…1, in decibels."""
    error = (a.detach().float() - b.detach().float()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(4 / error)


class _Watched:
    """A convolution, and the values that come into it."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self._low = self._high = 0.0  # zero, which pads, is always in the range
        self._samples: list[Tensor] = []
        self._shape: list[int] = []
        self._hook = conv.register_forward_hook(self._look)

    def _look(self, conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].detach().float()
        self._shape = list(x.shape)
        self._low, self._high = min(self._low, float(x.min())), max(self._high, float(x.max()))
        values = x.permute(0, 2, 3, 1).reshape(-1)
        step = max(1, len(values) // (_SAMPLE * len(x))) | 1  # odd: passes through all channels
        self._samples.append(values[::step].clone())

    def quantised(self) -> QuantisedConvolution:
        self._hook.remove()
        values = torch.cat(self._samples)
        ranges = [_scale_of(share * self._low, share * self._high) for share in _CLIPPED]
        scale, zero = min(ranges, key=lambda r: _squared_error(values, *r))
        return QuantisedConvolution(self.conv, scale, zero, self._shape)


class QuantisedConvolution(nn.Module):
    """A convolution of int8, from floating point to floating point.

    Args:
        scale, zero: s and z of its input.
        shape: an input that it is laid out for; it takes others.
    """

    def __init__(self, conv: nn.Conv2d, scale: float, zero: int, shape: list[int]) -> None:
        super().__init__()
        weight = conv.weight.detach().float()
        self.scale, self.zero = scale, zero
        largest = weight.abs().amax((1, 2, 3))
        self.weight_scale = (largest / 127).clamp(min=torch.finfo(torch.float32).tiny)
        self.weight_zero = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = None if conv.bias is None else conv.bias.detach().float()
        self._how = (list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups)
        levels = (weight / self.weight_scale[:, None, None, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qconv_prepack(
            levels.contiguous(), self.weight_scale, scale, zero, *self._how, shape
        )

    def forward(self, x: Tensor) -> Tensor:
        levels = torch.quantize_per_tensor(x.float(), self.scale, self.zero, torch.quint8)
        # The bytes themselves, without copying them.
        plain = torch.empty(0, dtype=torch.uint8).set_(
            levels.untyped_storage(), 0, levels.shape, levels.stride()
        )
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            plain,
            self.scale,
            self.zero,
            self._packed,
            self.weight_scale,
            self.weight_zero,
            self.bias,
            *self._how,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return result


def is_worth_it(conv: nn.Conv2d) -> bool:
    return (
        min(conv.in_channels, conv.out_channels) >= _CHANNELS
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _scale_of(low: float, high: float) -> tuple[float, int]:
    scale = max(high - low, 1e-6) / 255
    return scale, round(-low / scale)


def _squared_error(values: Tensor, scale: float, zero: int) -> float:
    levels = (values / scale + zero).round().clamp(0, 255)
    return float((values - (levels - zero) * scale).square().sum())


def _put(network: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, part)
