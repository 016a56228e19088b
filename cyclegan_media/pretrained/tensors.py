"""Safetensors files, checked against what is expected before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cyclegan_media.errors import UserError, from_os_error

_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}


def check_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor with a value that is not finite, if there is one."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def write_tensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors, those of floating point as float32.

    Raises:
        OSError: the file cannot be written.
    """
    stored = {
        # Cloned, since the format has no tensors that share memory.
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().clone()
        for name, tensor in state.items()
    }
    # Written by Python, which tells a full disk from other failures.
    path.write_bytes(save({name: tensor.contiguous() for name, tensor in stored.items()}))


def read_tensors(
    path: Path, expected: Mapping[str, torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    """Read a safetensors file onto the CPU.

    Args:
        expected: tensors (of no memory, on the meta device) whose names, shapes and dtypes the
            file must have; None takes any names and shapes, in float32.

    Raises:
        UserError: the file is missing, damaged, does not fit or has values that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path}: is missing; copy the model folder again")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if expected is not None:
                _check_names(path, names, expected)
            for name in names:
                part = file.get_slice(name)
                got = (part.get_dtype(), list(part.get_shape()))
                want = ("F32", got[1])
                if expected is not None:
                    tensor = expected[name]
                    want = (_DTYPES.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape))
                if got != want:
                    raise UserError(
                        f"{path}: tensor {name!r} is {got[0]} {got[1]}, but the model asks for"
                        f" {want[0]} {want[1]}"
                    )
            state = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except SafetensorError as error:
        raise UserError(
            f"{path}: is damaged or not a safetensors file ({error}); copy it again"
        ) from error
    broken = check_finite(state)
    if broken is not None:
        raise UserError(f"{path}: tensor {broken!r} has values that are not finite")
    return state


def _check_names(path: Path, names: list[str], expected: Mapping[str, torch.Tensor]) -> None:
    missing = [name for name in expected if name not in set(names)]
    if missing:
        raise UserError(f"{path}: tensor {missing[0]!r} is missing; the model asks for it")
    for name in names:
        if name not in expected:
            raise UserError(f"{path}: tensor {name!r} is unexpected; the model has no such")
