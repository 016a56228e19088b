"""Networks in training on a CPU in bfloat16: the same function, in the order memory likes.

oneDNN's convolutions are fastest on channels-last tensors, in which the channels of a pixel lie
together: in the middle of CycleGAN's ResNet a tenth faster, backwards included. Two layers of a
generator keep it from them:

- ``nn.InstanceNorm2d`` rearranges its input to channels-first, and back. For a single picture it
  is batch normalisation, whose kernels take both orders; so here each picture gets one for itself.
  (Group normalisation with a group a channel is the same function, too, but its backward kernel
  takes thirty times as long on channels-last tensors.)
- reflection padding goes to single precision under autocast, though it computes nothing.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def training_copy(network: nn.Module) -> nn.Module:
    """A network that computes the same as ``network`` with the very same parameters and buffers.

    It is meant to be called under ``torch.autocast``, with pictures in channels-last order. An
    update of the parameters of either is one of both.
    """
    copied = shared_copy(network)
    _replace_parts(copied)
    return copied


def shared_copy(network: nn.Module) -> nn.Module:
    """A copy whose modules are its own, with the parameters and buffers of ``network``."""
    shared = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def _replace_parts(module: nn.Module) -> None:
    for name, part in module.named_children():
        # Of exactly these types: a subclass may compute something else.
        if type(part) is nn.InstanceNorm2d and not part.track_running_stats:
            setattr(module, name, PictureNorm(part))
        elif type(part) is nn.ReflectionPad2d:
            setattr(module, name, TypedPadding(part))
        else:
            _replace_parts(part)


class PictureNorm(nn.Module):
    """Instance normalisation of ``(batch, channels, height, width)`` in any order of memory."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        each = [
            F.batch_norm(part, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for part in x.split(1)
        ]
        return each[0] if len(each) == 1 else torch.cat(each)


class TypedPadding(nn.Module):
    """Reflection padding in the type of its input, under autocast too."""

    def __init__(self, padding: nn.ReflectionPad2d) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.padding(x)
