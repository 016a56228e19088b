"""Which arithmetic a machine is fast in.

A processor without instructions for a type computes in it by detours, slower than in single
precision: so ``auto`` takes bfloat16 only where there are such instructions. In the matrix products
of a generator they do twice (bfloat16) and four times (int8) the operations of single precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from cyclegan_media.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.bfloat16,  # of what is not quantised
}

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions that multiply bfloat16, by the names that Linux and torch give them."""
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Instructions that multiply int8 and sum in 32 bits."""


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 by instructions of its own (x86-64 is known)."""
    return bool(BF16_FLAGS & _flags())


def has_int8() -> bool:
    """Whether this processor multiplies int8 by instructions of its own (x86-64 is known)."""
    return bool(INT8_FLAGS & _flags())


def choose_precision(precision: Precision, device: torch.device) -> tuple[Precision, torch.dtype]:
    """What ``precision`` means on ``device``, and the type of the arithmetic.

    ``auto`` is bf16 where the device has it, fp16 on older CUDA devices, else fp32.

    Raises:
        UserError: int8 on another device than a CPU, or on one that has no instructions for it.
    """
    if precision == "auto":
        precision = _best(device)
    if precision == "int8":
        if device.type != "cpu":
            raise UserError(f"precision int8: is for CPUs, not for {device}; use bf16 or fp16")
        if not has_int8():
            raise UserError(
                "precision int8: this processor has no instructions for it (AVX-512 VNNI, AVX-VNNI"
                " or AMX), so it would be slower; leave the choice to auto"
            )
    return precision, _DTYPES[precision]


def _best(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and has_bf16() else "fp32"


def _flags() -> frozenset[str]:
    """Names of the instruction sets that this processor and its operating system have."""
    report = getattr(torch.cpu, "get_capabilities", None)  # torch 2.11 and later
    if report is not None:
        known: dict[str, Any] = report()
        return frozenset(name for name, there in known.items() if there is True)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
