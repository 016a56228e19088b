"""Square crops of faces out of pictures, and back into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.faces.placement import invert

_REACH = 4
"""Pixels around a region that the interpolation may read."""


def as_tensor(pixels: NDArray[Any]) -> Tensor:
    """``(height, width, 3)`` of 8 or 16 bits as float32 ``(3, height, width)`` in −1…1."""
    top = np.iinfo(pixels.dtype).max
    values = torch.from_numpy(pixels.astype(np.float32))
    return (values * (2 / top) - 1).permute(2, 0, 1).contiguous()


def crop_face(picture: Tensor, matrix: NDArray[np.float64], size: int) -> Tensor:
    """The crop ``(channels, size, size)`` of a picture ``(channels, height, width)``.

    Beyond the edges of the picture its mirror image goes on.

    Args:
        matrix: from pixels of the crop to those of the picture
            (:meth:`.placement.Placement.crop_matrix`).
    """
    return _resample(picture, matrix, (size, size), "reflection")


def inside_picture(shape: Sequence[int], matrix: NDArray[np.float64], size: int) -> Tensor:
    """Which pixels of a crop lie within a picture ``(…, height, width)``: bool ``(size, size)``."""
    height, width = shape[-2:]
    x, y = _map(matrix, np.arange(size)[None, :] + 0.5, np.arange(size)[:, None] + 0.5)
    return torch.from_numpy((x >= 0) & (x < width) & (y >= 0) & (y < height))


def paste_face(picture: Tensor, crop: Tensor, mask: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """A copy of ``picture`` with ``crop`` blended in: ``m · crop + (1 − m) · picture``.

    Where the mask is 0 the picture's values are the same to the bit.

    Args:
        picture: ``(3, height, width)``, −1…1.
        crop: ``(3, size, size)``, −1…1.
        mask: ``(size, size)`` in 0…1, 0 along its edges.
        matrix: from pixels of the crop to those of the picture.
    """
    top, bottom, left, right = _region(matrix, len(mask), picture.shape[1:])
    if top >= bottom or left >= right:
        return picture
    matrix = invert(matrix)
    matrix[:, 2] += matrix[:, 0] * left + matrix[:, 1] * top
    layers = torch.cat([crop, mask[None].to(crop)])
    layers = _resample(layers, matrix, (bottom - top, right - left), "zeros").to(picture)
    pasted, share = layers[:-1].clamp(-1, 1), layers[-1].clamp(0, 1)
    result = picture.clone()
    region = result[:, top:bottom, left:right]
    # lerp with weight 0 would still round.
    blended = torch.where(share > 0, torch.lerp(region, pasted, share), region)
    result[:, top:bottom, left:right] = blended
    return result


def _region(
    matrix: NDArray[np.float64], size: int, shape: Sequence[int]
) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the picture's part that a crop covers."""
    x, y = _map(matrix, np.array([0, size, 0, size]), np.array([0, 0, size, size]))
    top, bottom = max(0, math.floor(y.min())), min(shape[0], math.ceil(y.max()))
    left, right = max(0, math.floor(x.min())), min(shape[1], math.ceil(x.max()))
    return top, bottom, left, right


def _map(
    matrix: NDArray[np.float64], x: NDArray[np.floating], y: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
    )


def _resample(
    source: Tensor, matrix: NDArray[np.float64], size: tuple[int, int], padding: str
) -> Tensor:
    """Bicubic: the source at the places that ``matrix`` gives for the pixels of the result.

    A source with finer pixels than the result is reduced first, by an antialiased filter.
    """
    step = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    matrix = matrix.copy()
    if step > 1:
        source, matrix = _reduced(source, matrix, size, step)
    height, width = source.shape[1:]
    x, y = _map(matrix, np.arange(size[1])[None, :] + 0.5, np.arange(size[0])[:, None] + 0.5)
    grid = np.stack([2 * x / width - 1, 2 * y / height - 1], axis=-1).astype(np.float32)
    sampled = F.grid_sample(
        source[None].float(),
        torch.from_numpy(grid)[None].to(source.device),
        mode="bicubic",
        padding_mode=padding,
        align_corners=False,
    )
    return sampled[0].clamp(-1, 1)


def _reduced(
    source: Tensor, matrix: NDArray[np.float64], size: tuple[int, int], step: float
) -> tuple[Tensor, NDArray[np.float64]]:
    """The part of ``source`` that is read, with pixels ``step`` times as large."""
    height, width = source.shape[1:]
    x, y = _map(matrix, np.array([0, size[1]] * 2), np.array([0, 0, size[0], size[0]]))
    reach = _REACH * step
    # Mirroring needs what lies within the same distance inside the edge, so the part is widened
    # to the edge and as far from it as the crop goes beyond.
    top, bottom = _part(y.min() - reach, y.max() + reach, height)
    left, right = _part(x.min() - reach, x.max() + reach, width)
    part = source[:, top:bottom, left:right]
    rows, columns = (max(1, round(side / step)) for side in part.shape[1:])
    small = F.interpolate(
        part[None].float(), (rows, columns), mode="bicubic", antialias=True, align_corners=False
    )[0]
    matrix[:, 2] -= [left, top]
    matrix *= np.array([[columns / part.shape[2]], [rows / part.shape[1]]])
    return small, matrix


def _part(first: float, last: float, length: int) -> tuple[int, int]:
    low, high = max(0, math.floor(first)), min(length, math.ceil(last))
    if first < 0:
        high = max(high, min(length, math.ceil(-first)))
    if last > length:
        low = min(low, max(0, math.floor(2 * length - last)))
    return min(low, length - 1), max(high, 1)
