"""Networks as a training calls them: at its precision, and in step with other processes."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn


class Prepared(nn.Module):
    """A network each of whose methods runs at the training's precision and data parallel.

    Fabric's own wrapper does this for ``forward`` alone, and does not let a loss take gradients
    of its own, as a gradient penalty must. Results are float32.
    """

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network = network
        self._fabric = fabric
        self._parallel = fabric.strategy.setup_module(_AnyMethod(network))

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

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.network, method)(*args, **kwargs)


def _float(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.float() if result.is_floating_point() else result
    if isinstance(result, list | tuple):
        return type(result)(_float(part) for part in result)
    return result
