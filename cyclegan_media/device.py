"""Which device computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(device: Device) -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UserError: this machine lacks it.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    if not has.get(device, True):
        raise UserError(
            f"--device {device}: this machine or this build of torch has no such device"
        )
    return torch.device(device)
