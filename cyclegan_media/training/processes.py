"""Where a training runs: device, precision, processes, and how it is asked to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from cyclegan_media.device import Device, choose_device
from cyclegan_media.errors import UserError

logger = logging.getLogger("cyclegan_media")

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(device: Device, precision: Precision) -> Fabric:
    """Fabric for this machine; under ``torchrun`` one of its processes, joined by DDP.

    Raises:
        UserError: the device is not there, or cannot train at this precision.
    """
    chosen = choose_device(device).type
    on_cuda = chosen == "cuda"
    if precision == "auto":
        precision = "bf16" if on_cuda and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and not on_cuda:
        raise UserError("--precision fp16: trains on CUDA devices only; use bf16 or fp32 here")
    ranks, local_ranks = _from_environment("WORLD_SIZE"), _from_environment("LOCAL_WORLD_SIZE")
    fabric = Fabric(
        accelerator=chosen,
        devices=local_ranks,
        num_nodes=max(1, ranks // local_ranks),
        strategy="ddp" if ranks > 1 else "auto",
        precision=_FABRIC_PRECISION[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _from_environment(name: str) -> int:
    return int(os.environ.get(name, "1"))


def loading_processes(asked: int | None, device: torch.device) -> int:
    """How many processes load data for each training process, where the recipe leaves it open."""
    if asked is not None:
        return asked
    # Crops from memory are quick; only a GPU's step is short enough to wait for them.
    if device.type != "cuda":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(8, (cores or 1) // _from_environment("LOCAL_WORLD_SIZE")))


def on_any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether ``flag`` holds in any process: what all must do together, or none."""
    if fabric.world_size == 1:
        return flag
    counted = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    assert isinstance(counted, torch.Tensor)
    return bool(counted.item() > 0)


def mean_over_ranks(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """The mean of each value over all processes, which all have the same names."""
    if fabric.world_size == 1:
        return values
    own = torch.tensor(list(values.values()), dtype=torch.float32, device=fabric.device)
    means = fabric.all_reduce(own, reduce_op="mean")
    assert isinstance(means, torch.Tensor)
    return dict(zip(values, means.tolist(), strict=True))


def gather(own: dict[str, Any], fabric: Fabric) -> list[dict[str, Any]]:
    """What each process has, by rank."""
    if fabric.world_size == 1:
        return [own]
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, own)
    return gathered


@contextmanager
def interrupt_flag(keeps: str = "a checkpoint") -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second has its usual effect.

    Args:
        keeps: what the user is told will stay.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for known, handler in previous.items():
            signal.signal(known, handler)

    def on_signal(number: int, frame: object) -> None:
        logger.warning("stopping after this step with %s; once more stops at once", keeps)
        flag.set()
        restore()

    for known in (signal.SIGINT, signal.SIGTERM):
        previous[known] = signal.signal(known, on_signal)
    try:
        yield flag
    finally:
        restore()
