"""PyTorch's own files (``.pth``, ``.pt``), read as tensors and plain data.

Such a file is a pickle. Python's reader would run what it names; ``weights_only=True`` knows
tensors, containers, numbers and texts alone. It does not know of files that are small and become
large, which are refused here: packed ones, and tensors that repeat one number by a stride of 0.
"""

from __future__ import annotations

import errno
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from cyclegan_media.errors import UserError

_MOST_SHARED = 8
"""How often tensors may use each byte of a file: networks may share weights."""


def load_torch_file(path: Path, *, checksums: bool = False) -> Any:
    """What the file holds, on the CPU.

    Args:
        checksums: hold the content against the checksums that PyTorch writes, and does not read.
            Files of others may have none.

    Raises:
        OSError: it cannot be read.
        UserError: it becomes much larger than it is.
        Exception: whatever damaged files meet the reader with: EOFError, KeyError, RuntimeError,
            pickle.UnpicklingError (for objects of other classes, too), …
    """
    with open(path, "rb") as file:
        _refuse_packed(file, path, checksums)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storage classes of old checkpoints
            try:
                content = torch.load(file, map_location="cpu", weights_only=True)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise RuntimeError("says that it begins before its beginning") from error
    _refuse_repeated(content, path)
    return content


def _refuse_packed(file: BinaryIO, path: Path, checksums: bool) -> None:
    """PyTorch stores without compression, so whatever unpacks to more is made to fill memory."""
    packed = zipfile.is_zipfile(file)
    file.seek(0)
    if not packed:
        return
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise UserError(
                f"{path}: refused, since it unpacks to {unpacked} bytes, more than it is long,"
                " which no PyTorch checkpoint does"
            )
        if checksums and (damaged := archive.testzip()) is not None:
            raise RuntimeError(f"{damaged} is not what its checksum says")
    file.seek(0)


def _refuse_repeated(content: Any, path: Path) -> None:
    total, seen, left = 0, set(), [content]
    while left:
        part = left.pop()
        if isinstance(part, torch.Tensor):
            if part.layout is not torch.strided or part.device.type != "cpu" or part.is_quantized:
                raise UserError(f"{path}: refused, since it holds tensors that are not plain ones")
            total += part.numel() * part.element_size()
        elif isinstance(part, dict | list | tuple | set) and id(part) not in seen:
            seen.add(id(part))
            left += [*part.values()] if isinstance(part, dict) else part
    if total > _MOST_SHARED * path.stat().st_size:
        raise UserError(
            f"{path}: refused, since its tensors have {total} bytes, many times its length, which"
            " no PyTorch checkpoint's have"
        )
