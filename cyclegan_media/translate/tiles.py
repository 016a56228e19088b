"""Large pictures through any generator, tile by tile, with the result of the whole.

Cut into tiles that are translated by themselves, a picture shows its seams: instance
normalisation makes mean and deviation of every tile the same, a bright one and a dark one alike,
and the padding at a tile's border is not what lies beyond it. Here the network runs once, over
the whole picture, and each of its operations is computed in parts (``tiles_tensor.py``,
``tiles_nodes.py``): a part gets from its neighbours the few pixels that its convolution's kernel
reaches, and a normalisation takes mean and variance of all parts. The result is that of the whole
picture to the rounding of single precision, so there are no seams, and nothing has to be blended.

In memory, on the device, are a few parts at a time; in the computer's memory are, of all layers'
outputs, the last of those that are too expensive to compute again. CycleGAN's ResNet thus holds
three of its residual blocks' tensors, at a quarter of the picture's size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import UserError
from cyclegan_media.translate.tiles_memory import available_memory, bytes_per_pixel
from cyclegan_media.translate.tiles_nodes import Kept, Plan
from cyclegan_media.translate.tiles_tensor import PartwiseTensor

Tile = int | Literal["auto", "off"]
"""Side of a tile in pixels; ``auto`` takes tiles where the whole might not fit into memory."""

LEAST_TILE = 64
_SMALL = 1024 * 1024
"""Pixels up to which it is taken for granted that they fit."""
_SHARE = 0.5
"""Share of the memory there is that a translation may take."""
_SIDES = (2048, 1024, 512, 256)
_TILE_SHARE = 1 / 8
"""Share of that for a tile: beside it there are its neighbourhood and what is kept of others."""


def check_tile(tile: Tile) -> None:
    """Refuse what is no size of tiles.

    Raises:
        UserError: neither ``auto``, ``off`` nor a whole number of at least 64.
    """
    number = isinstance(tile, int) and not isinstance(tile, bool)
    if tile in ("auto", "off") or (number and int(tile) >= LEAST_TILE):
        return
    raise UserError(
        f"tile: must be 'auto', 'off' or a whole number of at least {LEAST_TILE}, not {tile!r}"
    )


def choose_tile(network: Backbone, count: int, size: tuple[int, int], tile: Tile) -> int | None:
    """The side of the tiles for pictures of this ``size``; None where no tiles are needed.

    Args:
        count: pictures that would go through the network at once.
        size: height and width of each.
        tile: what the user wants.
    """
    if tile == "off":
        return None
    if tile != "auto":
        return tile if max(size) > tile else None
    pixels = count * size[0] * size[1]
    if pixels <= _SMALL:
        return None
    device = next(network.parameters(), torch.zeros(())).device
    each, budget = bytes_per_pixel(network, device), _SHARE * available_memory(device)
    if pixels * each <= budget:
        return None
    return next((s for s in _SIDES if s**2 * each <= _TILE_SHARE * budget), _SIDES[-1])


def apply_in_tiles(network: Backbone, picture: Tensor, tile: int) -> Tensor:
    """``network(picture)``, computed in parts.

    Args:
        picture: ``(batch, channels, height, width)``, in the computer's memory: of a size that
            the network takes (see :attr:`Backbone.multiple`).
        tile: side of a part, in pixels of the picture.

    Returns:
        What the network returns, in the computer's memory.
    """
    device = next(network.parameters(), picture).device
    plan = Plan(device, (picture.shape[2], picture.shape[3]), tile)
    output = network(PartwiseTensor(plan, Kept(picture, device)))
    return output.whole() if isinstance(output, PartwiseTensor) else output.cpu()
