"""Planes of decoded video ↔ RGB, on any device.

ITU-T H.273, section 8.3: with the weights ``Kr``, ``Kg``, ``Kb`` of the matrix (their sum is 1),

    Y = Kr·R + Kg·G + Kb·B        Cb = (B − Y) / (2·(1 − Kb))        Cr = (R − Y) / (2·(1 − Kr))

on R, G, B in 0…1. Stored in ``n`` bits, full range scales Y and C by ``2ⁿ − 1``; limited range
scales Y by 219 and C by 224, and adds 16 to Y, all times ``2ⁿ⁻⁸``. C is centred on ``2ⁿ⁻¹``.

Where chroma is subsampled, a sample stands for the block of pixels that it covers: it is repeated
over them on the way to RGB and is their mean on the way back. The two are exact inverses, so that
what a network leaves alone comes back as it was. Converting by FFmpeg's scaler instead, with any of
its filters, loses so much on each round trip of a real clip that 40 dB are out of reach.

On a processor a large picture is converted in strips, whose dozen of intermediate results stay in
its cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cyclegan_media.media.video_format import PlaneCoding

REFINEMENTS = 2
"""Corrections made for what a player will clip; see :func:`planes_from_rgb`."""
_STRIP = 1 << 17
"""Pixels of a strip: more leave the cache, and of fewer the calls themselves take the time."""


def rgb_from_planes(planes: Sequence[Tensor], coding: PlaneCoding) -> Tensor:
    """RGB ``(…, 3, height, width)``, float32 in −1…1, from planes ``(…, rows, columns)``.

    Args:
        planes: integers; Y, Cb, Cr (chroma may be smaller by whole factors), Y alone for grey, or
            G, B, R. Colours outside the gamut of RGB are clipped, as a player does.
    """
    height = planes[0].shape[-2]
    block = -(-height // planes[-1].shape[-2])
    rows = _rows_of_strip(planes[0], block)
    if rows is None:
        return _rgb(planes, coding)
    of_chroma = rows // block
    strips = (plane.split(rows if plane.shape[-2] == height else of_chroma, -2) for plane in planes)
    return torch.cat([_rgb(strip, coding) for strip in zip(*strips, strict=True)], dim=-2)


def _rows_of_strip(picture: Tensor, block: int) -> int | None:
    """Rows ``(…, height, width)`` of a strip; ``None`` where the whole is best taken at once.

    Args:
        block: rows that share a chroma sample. Of more than 2, a strip's last rows would not show
            how many they are.
    """
    height, width = picture.shape[-2:]
    rows = max(1, _STRIP // (width * block)) * block
    return rows if picture.device.type == "cpu" and block <= 2 and rows < height else None


def _rgb(planes: Sequence[Tensor], coding: PlaneCoding) -> Tensor:
    if coding.weights is None:
        green, blue, red = (_luma(plane, coding) for plane in planes)
        rgb = torch.stack((red, green, blue), -3)
    elif len(planes) == 1:
        rgb = torch.stack([_luma(planes[0], coding)] * 3, -3)
    else:
        chroma = torch.stack([_chroma(plane, coding) for plane in planes[1:]], -3)
        rgb = _mix(_luma(planes[0], coding), chroma, coding.weights)
    return rgb.clamp(0, 1).mul_(2).sub_(1)


def planes_from_rgb(rgb: Tensor, coding: PlaneCoding, block: tuple[int, int]) -> list[Tensor]:
    """Planes of integers (uint8, or uint16 for more than 8 bits) from RGB in −1…1.

    A block that holds saturated colours next to others has no chroma that shows all of them: some
    pixel leaves the gamut, the player clips it, and the block changes brightness and hue. What
    the player will show is therefore computed, and its difference to ``rgb`` is added to the
    planes, :data:`REFINEMENTS` times (as "sharp YUV" of WebP's encoder does). Blocks of which
    nothing is clipped are right at once and stay as they are.

    Args:
        rgb: ``(…, 3, height, width)``, float.
        block: height and width in pixels of what a chroma sample covers.

    Returns:
        ``(…, rows, columns)`` each.
    """
    rows = _rows_of_strip(rgb, block[0])
    if rows is None:
        return _planes(rgb, coding, block)
    strips = [_planes(strip, coding, block) for strip in rgb.split(rows, -2)]
    return [torch.cat(parts, -2) for parts in zip(*strips, strict=True)]


def _planes(rgb: Tensor, coding: PlaneCoding, block: tuple[int, int]) -> list[Tensor]:
    rgb = rgb.float().add(1).mul_(0.5).clamp_(0, 1)
    if coding.weights is None:
        red, green, blue = rgb.unbind(-3)
        return [_stored(plane, coding) for plane in (green, blue, red)]
    luma, chroma = _split(rgb, block, coding.weights)
    for _ in range(REFINEMENTS):
        missing = rgb - _mix(luma, chroma, coding.weights).clamp_(0, 1)
        luma_missing, chroma_missing = _split(missing, block, coding.weights)
        luma = luma.add_(luma_missing).clamp_(0, 1)
        chroma = chroma.add_(chroma_missing).clamp_(-0.5, 0.5)
    cb, cr = (_stored(plane, coding, chroma=True) for plane in chroma.unbind(-3))
    return [_stored(luma, coding), cb, cr]


def _mix(luma: Tensor, chroma: Tensor, weights: tuple[float, float]) -> Tensor:
    """RGB, not clipped, of luma in 0…1 and chroma ``(…, 2, rows, columns)`` in −½…½."""
    kr, kb = weights
    to_red, to_blue = 2 * (1 - kr), 2 * (1 - kb)
    cb, cr = chroma.unbind(-3)
    to_green = -(kb * to_blue * cb + kr * to_red * cr) / (1 - kr - kb)
    offsets = torch.stack((to_red * cr, to_green, to_blue * cb), -3)
    return _spread(offsets, luma.shape) + luma.unsqueeze(-3)


def _split(
    rgb: Tensor, block: tuple[int, int], weights: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Luma and chroma of RGB in 0…1, or of a difference of such: all is linear."""
    kr, kb = weights
    red, green, blue = rgb.unbind(-3)
    luma = red * kr
    luma.add_(green, alpha=1 - kr - kb).add_(blue, alpha=kb)
    cb = _block_means(blue - luma, block) / (2 * (1 - kb))
    cr = _block_means(red - luma, block) / (2 * (1 - kr))
    return luma, torch.stack((cb, cr), -3)


def _luma(plane: Tensor, coding: PlaneCoding) -> Tensor:
    unit = 2 ** (coding.bits - 8)
    zero, span = (0, 2**coding.bits - 1) if coding.full_range else (16 * unit, 219 * unit)
    return plane.float().sub_(zero).div_(span)


def _chroma(plane: Tensor, coding: PlaneCoding) -> Tensor:
    span = 2**coding.bits - 1 if coding.full_range else 224 * 2 ** (coding.bits - 8)
    return plane.float().sub_(2 ** (coding.bits - 1)).div_(span)


def _stored(values: Tensor, coding: PlaneCoding, *, chroma: bool = False) -> Tensor:
    unit, top = 2 ** (coding.bits - 8), 2**coding.bits - 1
    span = top if coding.full_range else (224 if chroma else 219) * unit
    zero = 128 * unit if chroma else 0 if coding.full_range else 16 * unit
    rounded = (values * span).add_(zero).round_().clamp_(0, top)
    return rounded.to(torch.uint8 if coding.bits == 8 else torch.uint16)


def _spread(small: Tensor, size: torch.Size) -> Tensor:
    """Repeat each value of ``(…, rows, columns)`` over its block, up to ``size`` ``(…, h, w)``."""
    height, width = size[-2:]
    for dim, length in ((-1, width), (-2, height)):
        times = -(-length // small.shape[dim])
        if times > 1:
            # Faster than repeat_interleave, which gathers by an index.
            small = torch.stack([small] * times, small.dim() + dim + 1)
            small = small.flatten(dim - 1, dim)
        small = small.narrow(dim, 0, length)
    return small


def _block_means(full: Tensor, block: tuple[int, int]) -> Tensor:
    """Means of ``(…, height, width)`` over blocks; those at the lower right may be smaller.

    As sums of slices: several times faster on a processor than ``avg_pool2d``.
    """
    for dim, times in zip((-2, -1), block, strict=True):
        if times == 1:
            continue
        rest = full.shape[dim] % times
        if rest:
            # A mean over the edge alone is a mean over it and its repetitions.
            edge = full.narrow(dim, full.shape[dim] - rest, rest).mean(dim, keepdim=True)
            whole = full.narrow(dim, 0, full.shape[dim] - rest)
            full = torch.cat((whole, *[edge] * times), dim)
        parts = [full[..., k::times, :] if dim == -2 else full[..., k::times] for k in range(times)]
        full = sum(parts[1:], parts[0]).mul_(1 / times)
    return full
