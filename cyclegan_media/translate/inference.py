"""A generator made ready for inference on a CPU: the same function, in the order memory likes.

oneDNN's convolutions are fastest on channels-last tensors in which the channels of a pixel lie
together. Four things in a generator written for training keep it from them, each of which is
replaced here in a copy of the network:

- ``nn.InstanceNorm2d`` rearranges its input to channels-first and back. Group normalisation with a
  group per channel is the same function (Wu and He 2018, arXiv 1803.08494, section 3.1), and has a
  kernel for channels-last, with its sums in single precision;
- reflection padding goes to single precision under autocast, though it computes nothing;
- weights are converted to the precision of the arithmetic at every call; here once;
- a convolution with few outputs wastes most of a vector register: see :class:`SplitConvolution`.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cyclegan_media.backbones.registry import Backbone

_FEW_OUTPUTS = 4
"""Channels of pictures: 3, or 4. A register holds 16 numbers in single precision."""
_WIDE = 5
"""Columns from which splitting a kernel fills enough of a register to pay."""


def inference_copy(network: Backbone, dtype: torch.dtype) -> Backbone:
    """A copy of ``network`` for a CPU that computes the same, to rounding, in less time.

    It is meant to be called under ``torch.autocast`` of ``dtype``, as ``network`` would be, and
    takes what ``network`` takes. The weights are those of this moment.

    Args:
        dtype: of the arithmetic; float32, bfloat16 or float16.
    """
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    _replace_parts(fast, dtype)
    return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replace_parts(module: nn.Module, dtype: torch.dtype) -> None:
    for name, part in module.named_children():
        # Of exactly these types: a subclass may compute something else.
        if type(part) is nn.InstanceNorm2d and not part.track_running_stats:
            setattr(module, name, ChannelNorm(part))
        elif type(part) is nn.ReflectionPad2d:
            setattr(module, name, TypedPadding(part))
        elif type(part) is nn.Conv2d and _wastes_registers(part):
            setattr(module, name, SplitConvolution(part).to(dtype))
        elif type(part) in (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d):
            part.to(dtype)
        else:
            _replace_parts(part, dtype)


class ChannelNorm(nn.Module):
    """Instance normalisation of ``(batch, channels, height, width)`` that keeps channels last."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)


class TypedPadding(nn.Module):
    """Reflection padding in the type of its input, under autocast too."""

    def __init__(self, padding: nn.ReflectionPad2d) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.padding(x)


class SplitConvolution(nn.Module):
    """A convolution with few outputs, by one with a single column and more outputs.

    A kernel w of K columns is a sum over its columns:

        y[o, r, c] = Σ_j z[j, o, r, c + j],    z[j, o] = Σ_i w[o, i, :, j] ∗ x[i]

    z is one convolution with K·O outputs in place of O: the same operations, in fuller registers.
    In the last layer of a ResNet generator (7 × 7, 3 outputs) that takes half the time, and less in
    that of CycleGAN-VC2's (5 × 15, one output). Where the picture is padded with zeros, the sum is
    over the columns of z that there are.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        outputs, inputs, rows, columns = conv.weight.shape
        self.outputs, self.columns = outputs, columns
        above, self.beside = int(conv.padding[0]), int(conv.padding[1])
        self.parts = nn.Conv2d(inputs, columns * outputs, (rows, 1), padding=(above, 0), bias=False)
        with torch.no_grad():
            weight = conv.weight.permute(3, 0, 1, 2)  # column, output, input, row
            self.parts.weight.copy_(weight.reshape(columns * outputs, inputs, rows, 1))
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        parts = self.parts(x).unflatten(1, (self.columns, self.outputs))
        width = x.shape[3] + 2 * self.beside - self.columns + 1
        # In single precision: this is the sum that a convolution takes in its registers.
        total = x.new_zeros((len(x), self.outputs, parts.shape[3], width), dtype=torch.float32)
        for j in range(self.columns):
            shift = j - self.beside
            first, last = max(0, -shift), min(width, x.shape[3] - shift)
            total[..., first:last] += parts[:, j, ..., first + shift : last + shift]
        if self.bias is not None:
            total += self.bias.float()[:, None, None]
        return total


def _wastes_registers(conv: nn.Conv2d) -> bool:
    return (
        conv.out_channels <= _FEW_OUTPUTS
        and conv.kernel_size[1] >= _WIDE
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
    )
