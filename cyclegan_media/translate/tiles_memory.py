"""Whether a picture fits into memory: what a network takes for it, and what the machine has."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from cyclegan_media.backbones.registry import Backbone

_PROBE = 128
"""Side of the picture on which a network's demand is measured."""
_OVERHEAD = 2.0
"""What is allocated in all, for what the tensors that PyTorch shows take: convolutions make
rearranged copies. Measured 1.8 on a CPU (docs/high_resolution.md)."""

_measured: dict[tuple[type[Backbone], str], float] = {}


def bytes_per_pixel(network: Backbone, device: torch.device) -> float:
    """Memory that a network takes at its peak per pixel of its input, weights not counted.

    Measured once per architecture, on a small picture.
    """
    key = type(network), repr(network.config)
    if key not in _measured:
        side = -(-max(_PROBE, network.minimum) // network.multiple) * network.multiple
        picture = torch.zeros(1, 3, side, side, device=device)
        with torch.inference_mode(), LiveBytes() as live:
            network(picture)
        _measured[key] = _OVERHEAD * live.peak / side**2
    return _measured[key]


class LiveBytes(TorchFunctionMode):
    """Counts the bytes of the tensors that are made while it is entered, and still exist."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {leaf.untyped_storage() for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        for leaf in tree_leaves(result):
            if not _is_tensor(leaf):
                continue
            storage = leaf.untyped_storage()
            if storage not in self._seen and storage not in known:
                self._seen.add(storage)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return result

    def _freed(self, count: int) -> None:
        self.now -= count


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def available_memory(device: torch.device) -> int:
    """Bytes that a computation on this device may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return int(min(_machine_memory(), _container_memory()))


def _machine_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Systems other than Linux say how much there is, not how much is free.
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30


def _container_memory() -> float:
    """What the limit of a control group (a container's, a batch job's) leaves."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        used = int((group / "memory.current").read_text())
        usage = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - used + int(usage["inactive_file"])  # pages that are given back at need
    except (OSError, ValueError, KeyError):
        return float("inf")
