"""Pictures inside a network that are computed part by part: what a part of one needs of others.

A node stands for a tensor ``(batch, channels, height, width)`` that may never exist as a whole.
``read(rows, columns)`` computes a part of it, from parts of the nodes that it was made of, exactly
as the whole would have it: a convolution asks for the few rows and columns more that its kernel
reaches, and padding is made at the edges of the picture only, not at those of the part. What a
normalisation needs of the whole picture, mean and variance, is gathered part by part beforehand.

Whether a node is kept in memory or computed anew wherever it is read is decided by
:meth:`Plan.add`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

Span = tuple[int, int]
"""Rows, or columns: from the first up to the last, which is not included."""

_RECOMPUTED = 1024
"""Multiplications per value up to which a value is computed again rather than kept. A 7 × 7
convolution of 3 channels takes 147, the first halving of CycleGAN's ResNet 576, one of its
residual blocks' convolutions 2304: so its largest tensors are never kept, for about a tenth more
arithmetic."""
_HELD = 2
"""A node is kept where those that it is computed from take this many times its memory: a sum of
two kept tensors takes the place of both."""
_LEAST_SIDE = 64
"""Parts are no smaller than this, where the picture is small inside the network."""


class Node(ABC):
    """A tensor ``(batch, channels, height, width)`` that is read in parts."""

    def __init__(
        self, shape: Sequence[int], dtype: torch.dtype, cost: float, parents: Sequence[Node]
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        own = math.prod(shape)
        self.cost: float = cost + sum(p.cost * math.prod(p.shape) / own for p in parents)
        """Multiplications that computing one value anew takes."""
        self._sources: frozenset[Kept] = frozenset().union(*(p.kept for p in parents))

    @property
    def kept(self) -> frozenset[Kept]:
        """What it is computed from, and what therefore stays in memory for it."""
        return self._sources

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def read(self, rows: Span, columns: Span) -> Tensor:
        """That part, ``(batch, channels, rows, columns)``, on the network's device."""


class Kept(Node):
    """A tensor in memory: the picture, or what is too expensive to compute twice."""

    def __init__(self, tensor: Tensor, device: torch.device) -> None:
        super().__init__(tensor.shape, tensor.dtype, 0, [])
        self._tensor, self._device = tensor, device

    @property
    def kept(self) -> frozenset[Kept]:
        return frozenset([self])  # not stored: a tensor this large is to go with its last reader

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self._tensor[:, :, slice(*rows), slice(*columns)].to(self._device)


class Local(Node):
    """An operation whose every output location depends on the same location of its inputs.

    Args:
        pick: which of several outputs.
    """

    def __init__(
        self,
        operation: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        like: Tensor,
        pick: int | None = None,
    ) -> None:
        parents = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Node)]
        super().__init__(like.shape, like.dtype, 1, parents)
        self._operation, self._args, self._kwargs, self._pick = operation, args, kwargs, pick

    def read(self, rows: Span, columns: Span) -> Tensor:
        height, width = self.shape[2:]

        def part(value: Any) -> Any:
            if isinstance(value, Node):
                return value.read(
                    rows if value.shape[2] == height else (0, 1),
                    columns if value.shape[3] == width else (0, 1),
                )
            if isinstance(value, Tensor):  # broadcast against the picture, or as large as it
                if value.dim() >= 2 and value.shape[-2] == height:
                    value = value[..., slice(*rows), :]
                if value.dim() >= 1 and value.shape[-1] == width:
                    value = value[..., slice(*columns)]
            return value

        args, kwargs = tree_map(part, (self._args, self._kwargs))
        output = self._operation(*args, **kwargs)
        return output if self._pick is None else output[self._pick]


class Gathered(Node):
    """Rows and columns of another node by their numbers: padding by reflection, or a crop."""

    def __init__(self, parent: Node, rows: Tensor, columns: Tensor) -> None:
        shape = (*parent.shape[:2], len(rows), len(columns))
        super().__init__(shape, parent.dtype, 0, [parent])
        self._parent, self._rows, self._columns = parent, rows, columns

    def read(self, rows: Span, columns: Span) -> Tensor:
        numbers = self._rows[slice(*rows)], self._columns[slice(*columns)]
        spans = [(int(n.min()), int(n.max()) + 1) for n in numbers]
        part = self._parent.read(*spans)
        for axis, (n, (start, end)) in enumerate(zip(numbers, spans, strict=True)):
            if not torch.equal(n, torch.arange(start, end)):
                part = part.index_select(axis + 2, (n - start).to(part.device))
        return part


class Bordered(Node):
    """Another node inside a border of one value: padding by zeros."""

    def __init__(self, parent: Node, pad: Sequence[int], value: float) -> None:
        left, right, top, bottom = pad
        height, width = parent.shape[2:]
        shape = (*parent.shape[:2], top + height + bottom, left + width + right)
        super().__init__(shape, parent.dtype, 0, [parent])
        self._parent, self._top, self._left, self._value = parent, top, left, value

    def read(self, rows: Span, columns: Span) -> Tensor:
        height, width = self._parent.shape[2:]
        (row0, row1), above, below = _inside(rows, self._top, height)
        (column0, column1), left, right = _inside(columns, self._left, width)
        if row0 == row1 or column0 == column1:  # nothing but border
            size = (*self.shape[:2], rows[1] - rows[0], columns[1] - columns[0])
            like = self._parent.read((0, 1), (0, 1))
            return like.new_full(size, self._value)
        part = self._parent.read((row0, row1), (column0, column1))
        return F.pad(part, (left, right, above, below), value=self._value)


def _inside(span: Span, before: int, size: int) -> tuple[Span, int, int]:
    """The part of ``span`` that is no border, and how much border lies before and after it."""
    start, end = (min(max(edge - before, 0), size) for edge in span)
    return (start, end), start - (span[0] - before), (span[1] - before) - end


@dataclass(frozen=True)
class Reach:
    """How the outputs of a sliding window depend on its inputs, along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False
    output_padding: int = 0

    def inputs(self, outputs: Span, size: int) -> tuple[Span, int]:
        """The inputs that ``outputs`` need, and the number of the first output they give.

        The operation, applied to these inputs with its own padding, is right for ``outputs``:
        where the inputs end before the picture does, its padding reaches other outputs only.
        """
        first, last = outputs[0], outputs[1] - 1
        reach, p, s = self.dilation * (self.kernel - 1), self.padding, self.stride
        if self.transposed:
            start = max(0, (first + p - reach) // s)
            needed = -(-(last + 2 * p - reach - self.output_padding) // s)
            end = max((last + p) // s, needed, start) + 1
            return (start, min(size, end)), start * s
        begin = max(0, first - -(-p // s))
        end = max(last * s - p + reach, begin * s) + 1
        return (begin * s, min(size, end)), begin


class Window(Node):
    """A convolution or pooling: ``operation`` of a part of ``parent``."""

    def __init__(
        self,
        operation: Callable[[Tensor], Tensor],
        parent: Node,
        reaches: tuple[Reach, Reach],
        like: Tensor,
        cost: float,
    ) -> None:
        super().__init__(like.shape, like.dtype, cost, [parent])
        self._operation, self._parent, self._reaches = operation, parent, reaches

    def read(self, rows: Span, columns: Span) -> Tensor:
        (y, top), (x, left) = (
            reach.inputs(span, size)
            for reach, span, size in zip(
                self._reaches, (rows, columns), self._parent.shape[2:], strict=True
            )
        )
        output = self._operation(self._parent.read(y, x))
        return output[:, :, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]


class Enlarged(Node):
    """``operation`` makes ``factor`` rows and columns of one: interpolation, pixel shuffle."""

    _MARGIN = 3  # bicubic interpolation looks two pixels far

    def __init__(
        self, operation: Callable[[Tensor], Tensor], parent: Node, factor: int, like: Tensor
    ) -> None:
        super().__init__(like.shape, like.dtype, 16, [parent])
        self._operation, self._parent, self._factor = operation, parent, factor

    def read(self, rows: Span, columns: Span) -> Tensor:
        f = self._factor
        spans = [
            (max(0, start // f - self._MARGIN), min(size, -(-end // f) + self._MARGIN))
            for (start, end), size in zip((rows, columns), self._parent.shape[2:], strict=True)
        ]
        output = self._operation(self._parent.read(*spans))
        top, left = spans[0][0] * f, spans[1][0] * f
        return output[:, :, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]


class Normalised(Node):
    """``(x − mean) · scale + shift``, all three ``(batch, channels, 1, 1)``."""

    def __init__(self, parent: Node, mean: Tensor, scale: Tensor, shift: Tensor) -> None:
        super().__init__(parent.shape, parent.dtype, 1, [parent])
        self._parent, self._mean, self._scale, self._shift = parent, mean, scale, shift

    def read(self, rows: Span, columns: Span) -> Tensor:
        x = self._parent.read(rows, columns)
        return (x - self._mean).mul_(self._scale).add_(self._shift).to(self.dtype)


@dataclass(frozen=True)
class Plan:
    """How a picture is divided.

    Args:
        device: where the network is.
        size: height and width of the picture.
        tile: height and width of a part of it; where the network works at a smaller size, parts
            are smaller in proportion.
    """

    device: torch.device
    size: tuple[int, int]
    tile: int

    def add(self, node: Node) -> Node:
        """The node as it will be read from: itself, or what it holds, kept in memory."""
        if isinstance(node, Kept):
            return node
        held = sum(kept.nbytes for kept in node.kept)
        if node.cost > _RECOMPUTED or held >= _HELD * node.nbytes:
            return Kept(self.whole(node), self.device)
        return node

    def tiles(self, node: Node) -> Iterator[tuple[Span, Span]]:
        """Rows and columns of each part, from top to bottom."""
        height, width = node.shape[2:]
        side = max(_LEAST_SIDE, math.ceil(self.tile * height / self.size[0]))
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield (top, min(top + side, height)), (left, min(left + side, width))

    def whole(self, node: Node) -> Tensor:
        """All of a node, in the computer's memory, not the device's."""
        tensor = torch.empty(node.shape, dtype=node.dtype)
        for rows, columns in self.tiles(node):
            tensor[:, :, slice(*rows), slice(*columns)] = node.read(rows, columns)
        return tensor

    def moments(self, node: Node) -> tuple[Tensor, Tensor]:
        """Mean and variance over all locations, ``(batch, channels, 1, 1)``, float64.

        Those of the parts are merged by Chan, Golub & LeVeque 1979, equation 2.1, which loses no
        digits where the mean is large against the deviation.
        """
        count = 0
        mean = torch.zeros((*node.shape[:2], 1, 1), dtype=torch.float64)
        squares = torch.zeros_like(mean)
        for rows, columns in self.tiles(node):
            part = node.read(rows, columns).float()  # MPS has no float64
            n = part.shape[2] * part.shape[3]
            variance, centre = torch.var_mean(part, (2, 3), correction=0, keepdim=True)
            difference = centre.cpu().double() - mean
            squares += variance.cpu().double() * n + difference**2 * (count * n / (count + n))
            mean += difference * (n / (count + n))
            count += n
        return mean, squares / count
