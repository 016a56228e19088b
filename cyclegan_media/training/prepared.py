"""Networks as a training calls them: at its precision, and in step with other processes."""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cyclegan_media.training.layout import shared_copy, training_copy

logger = logging.getLogger("cyclegan_media")


class Prepared(nn.Module):
    """A network each of whose methods runs at the training's precision and data parallel.

    Fabric's own wrapper does this for ``forward`` alone, and does not let a loss take gradients
    of its own, as a gradient penalty must. Results are float32.

    Args:
        network: keeps the weights; what is called may be a copy with the same ones, built for
            speed.
        compiled: call ``forward`` by ``torch.compile``.
    """

    def __init__(self, network: nn.Module, fabric: Fabric, *, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self._fabric = fabric
        in_bf16 = fabric.strategy.precision.precision == "bf16-mixed"
        channels_last = in_bf16 and fabric.device.type == "cpu"
        if channels_last:
            network = training_copy(network)
        elif compiled:
            network = shared_copy(network)
        called = _AnyMethod(network, channels_last=channels_last, compiled=compiled)
        self._parallel = fabric.strategy.setup_module(called)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("forward", *args, **kwargs)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with self._fabric.autocast():
            return _float(self._parallel(method, *args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(super().__getattr__("network"), name)
            return partial(self._call, name) if inspect.ismethod(value) else value


class _AnyMethod(nn.Module):
    """Data parallel modules see to ``forward`` only, so every method is called through it."""

    def __init__(self, network: nn.Module, *, channels_last: bool, compiled: bool) -> None:
        super().__init__()
        self.network = network
        self._channels_last = channels_last
        # Few sizes of batch come, so a program for each is faster than one for all.
        self._compiled = torch.compile(network.__call__, dynamic=False) if compiled else None

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self._channels_last:
            args = tuple(_with_channels_last(argument) for argument in args)
        if method != "forward":
            return getattr(self.network, method)(*args, **kwargs)
        if self._compiled is not None:
            from torch._dynamo.exc import TorchDynamoException

            try:
                return self._compiled(*args, **kwargs)
            except TorchDynamoException as error:
                reason = " ".join(str(error).split())[:200]
                logger.warning("a network cannot be compiled here and runs as it is: %s", reason)
                self._compiled = None
        return self.network(*args, **kwargs)


def _with_channels_last(argument: Any) -> Any:
    if isinstance(argument, Tensor) and argument.dim() == 4:
        return argument.contiguous(memory_format=torch.channels_last)
    return argument


def _float(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.float() if result.is_floating_point() else result
    if isinstance(result, list | tuple):
        return type(result)(_float(part) for part in result)
    return result
