"""Several batches through a network in one pass, where that changes no result.

A pass more costs as much as its batch on a busy processor, and nearly nothing on one that waits
for its memory: weights are read, and their gradients summed up, once a pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def computes_apart(network: object) -> bool:
    """Whether a network's result for an example depends on that example alone.

    It does not where the examples of a batch are normalised together (batch normalisation, which
    counts its batches, too), and with dropout it depends on the random numbers drawn before.
    """
    return isinstance(network, nn.Module) and not any(
        isinstance(part, _BatchNorm | _DropoutNd) for part in network.modules()
    )


def together(network: Any, *calls: tuple[Tensor, ...]) -> list[Any]:
    """``[network(*call) for call in calls]``, in one pass if the network :func:`computes_apart`.

    Args:
        network: maps tensors, batch first, to a tensor or to tensors in lists, batch first.
        calls: the arguments of each call; their shapes may differ, which makes a pass each.
    """
    shapes = {tuple(x.shape[1:] for x in call) for call in calls}
    if len(shapes) > 1 or not computes_apart(network):
        return [network(*call) for call in calls]
    joined = network(*(torch.cat(parts) for parts in zip(*calls, strict=True)))
    sizes = [len(call[0]) for call in calls]
    return [_part(joined, sizes, k) for k in range(len(calls))]


def _part(result: Any, sizes: list[int], k: int) -> Any:
    if isinstance(result, Tensor):
        return result.split(sizes)[k]
    return [_part(each, sizes, k) for each in result]
