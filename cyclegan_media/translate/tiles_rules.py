"""Which node stands for which operation of PyTorch.

Operations that look at one location, at a window, or at mean and variance over all have a rule;
:mod:`.tiles_tensor` computes any other of the whole tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from cyclegan_media.translate.tiles_nodes import (
    Bordered,
    Enlarged,
    Gathered,
    Node,
    Normalised,
    Plan,
    Reach,
    Window,
)

aten = torch.ops.aten


def shapes(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What comes of an operation, as tensors without values."""

    def shape(value: Any) -> Any:
        if isinstance(value, Node | Tensor):
            return torch.empty(value.shape, dtype=value.dtype, device="meta")
        return value

    args, kwargs = tree_map(shape, (args, kwargs))
    return func(*args, **kwargs)


def out_of_place(func: Any) -> Any:
    """``relu`` of ``relu_``; None where there is no such."""
    packet = getattr(aten, func._schema.name.removeprefix("aten::").removesuffix("_"), None)
    return getattr(packet, func._overloadname, None)


def is_local(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether each location of the output depends on the same location of the inputs alone."""
    if torch.Tag.pointwise in func.tags or func in _LOCAL:
        return True
    if func not in _ALONG_ONE_AXIS:
        return False
    position, default = _ALONG_ONE_AXIS[func]
    axis = kwargs.get("dim", args[position] if len(args) > position else default)
    keeps = func is not aten.mean.dim or (args[2] if len(args) > 2 else kwargs.get("keepdim"))
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    return bool(keeps) and axis in (0, 1, -3, -4)


_LOCAL = {  # those that PyTorch does not tag as pointwise
    aten._to_copy.default,
    aten.clone.default,
    aten.detach.default,
    aten.alias.default,
    aten._prelu_kernel.default,
    aten.elu.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.hardtanh.default,
    aten.leaky_relu.default,
    aten.mish.default,
    aten.softplus.default,
}
_ALONG_ONE_AXIS = {  # the position of the argument that names the axis, and its default
    aten.cat.default: (1, 0),
    aten.glu.default: (1, -1),
    aten.slice.Tensor: (1, 0),
    aten.split.Tensor: (2, 0),
    aten.split_with_sizes.default: (2, 0),
    aten._softmax.default: (1, -1),
    aten.mean.dim: (1, None),
}
FACTORIES = {
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_empty.default,
    aten.new_full.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.empty_like.default,
    aten.full_like.default,
    aten.rand_like.default,
    aten.randn_like.default,
}


def _convolution(
    x: Any,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Node | None:
    if not isinstance(x, Node) or weight.dim() != 4:
        return None
    rest = (weight, bias, stride, padding, dilation, transposed, output_padding, groups)
    kernel = weight.shape[2:]
    reaches = [
        Reach(kernel[i], stride[i], padding[i], dilation[i], transposed, output_padding[i])
        for i in (0, 1)
    ]
    spread = stride[0] * stride[1] if transposed else 1
    cost = x.shape[1] / groups * kernel[0] * kernel[1] / spread
    like = shapes(aten.convolution.default, x, *rest)
    return Window(
        lambda part: aten.convolution.default(part, *rest), x, (reaches[0], reaches[1]), like, cost
    )


def _pooling(
    pool: Any, x: Node, kernel: list[int], stride: Any = None, padding: Any = 0, *rest: Any
) -> Node:
    kernel, padding = _pair(kernel), _pair(padding)
    stride = _pair(stride) if stride else kernel
    # Of both poolings the next argument is that for max pooling's dilation or none.
    dilation = _pair(rest[0]) if pool is aten.max_pool2d.default and rest else [1, 1]
    reaches = [Reach(kernel[i], stride[i], padding[i], dilation[i]) for i in (0, 1)]
    like = shapes(pool, x, kernel, stride, padding, *rest)
    return Window(
        lambda part: pool(part, kernel, stride, padding, *rest),
        x,
        (reaches[0], reaches[1]),
        like,
        kernel[0] * kernel[1],
    )


def _pair(value: int | list[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _index_padding(edge: Callable[[Tensor, int], Tensor], x: Node, pad: list[int]) -> Node:
    left, right, top, bottom = pad
    height, width = x.shape[2:]
    rows, columns = torch.arange(-top, height + bottom), torch.arange(-left, width + right)
    return Gathered(x, edge(rows, height), edge(columns, width))


def _mirrored(numbers: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - numbers.abs()).abs()


def _repeated(numbers: Tensor, size: int) -> Tensor:
    return numbers.clamp(0, size - 1)


def _border(x: Node, pad: list[int], value: float = 0) -> Node | None:
    if len(pad) > 4 or min(pad) < 0:
        return None
    return Bordered(x, [*pad, 0, 0][:4], value)


def _interpolated(
    mode: str, x: Node, output_size: list[int], align_corners: bool = False, *_: Any
) -> Node | None:
    factors = {o / i for o, i in zip(output_size, x.shape[2:], strict=True)}
    factor = factors.pop()
    if factors or factor % 1 or align_corners:
        return None
    keywords: dict[str, Any] = {} if mode == "nearest" else {"align_corners": False}
    enlarge = partial(F.interpolate, scale_factor=factor, mode=mode, **keywords)
    return Enlarged(enlarge, x, int(factor), shapes(enlarge, x))


def _shuffled(x: Node, factor: int) -> Node:
    shuffle = partial(F.pixel_shuffle, upscale_factor=factor)
    return Enlarged(shuffle, x, factor, shapes(shuffle, x))


RULES: dict[Any, Callable[..., Node | None]] = {
    aten.convolution.default: _convolution,
    aten.avg_pool2d.default: partial(_pooling, aten.avg_pool2d.default),
    aten.max_pool2d.default: partial(_pooling, aten.max_pool2d.default),
    aten.reflection_pad2d.default: partial(_index_padding, _mirrored),
    aten.replication_pad2d.default: partial(_index_padding, _repeated),
    aten.constant_pad_nd.default: _border,
    aten.upsample_nearest2d.default: lambda x, size, *_: _interpolated("nearest", x, size),
    aten.upsample_bilinear2d.default: partial(_interpolated, "bilinear"),
    aten.upsample_bicubic2d.default: partial(_interpolated, "bicubic"),
    aten.pixel_shuffle.default: _shuffled,
}


def _instance_norm(
    plan: Plan,
    x: Node,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Node | None:
    if use_input_stats or running_mean is None or running_var is None:
        mean, variance = plan.moments(x)
    else:
        mean, variance = (
            v.double().cpu()[None, :, None, None] for v in (running_mean, running_var)
        )
    return _normalised(plan, x, mean, variance, weight, bias, eps)


def _batch_norm(
    plan: Plan,
    x: Node,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Node | None:
    if training:
        return None  # over the batch, too: of the whole
    return _instance_norm(plan, x, running_mean, running_var, weight, bias, False, momentum, eps)


def _group_norm(
    plan: Plan,
    x: Node,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Node:
    means, variances = (v.unflatten(1, (num_groups, -1)) for v in plan.moments(x))
    mean = means.mean(2, keepdim=True)
    variance = (variances + (means - mean) ** 2).mean(2, keepdim=True)
    mean, variance = (v.expand_as(means).flatten(1, 2) for v in (mean, variance))
    return _normalised(plan, x, mean, variance, weight, bias, eps)


def _normalised(
    plan: Plan,
    x: Node,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Node:
    scale = (variance + eps).rsqrt()
    shift = torch.zeros_like(scale)
    if weight is not None:
        scale = scale * weight.detach().double().cpu()[None, :, None, None]
    if bias is not None:
        shift = shift + bias.detach().double().cpu()[None, :, None, None]
    mean, scale, shift = (v.float().to(plan.device) for v in (mean, scale, shift))
    return Normalised(x, mean, scale, shift)


NORMALISATIONS: dict[Any, Callable[..., Node | None]] = {  # of functions, not of operations
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
}
