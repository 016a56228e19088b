"""A tensor whose operations are noted instead of computed, as nodes that are read in parts.

A network is called with a :class:`PartwiseTensor` and runs its own code; what PyTorch would
compute comes to :meth:`PartwiseTensor.__torch_dispatch__` one operation at a time. Those that
``tiles_rules.py`` knows become nodes. Any other (attention, a mean over the picture) is computed
of the whole tensor: the same result, for more memory. So nothing need be known of a network, and
those of other packages are read in parts, too.

What works in place changes its own tensor, not another that shares its memory in PyTorch: after
``a, b = x.chunk(2, 1)`` and ``a.relu_()``, x is what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from cyclegan_media.translate.tiles_nodes import Kept, Local, Node, Plan
from cyclegan_media.translate.tiles_rules import (
    FACTORIES,
    NORMALISATIONS,
    RULES,
    is_local,
    out_of_place,
    shapes,
)


class PartwiseTensor(Tensor):
    """Shaped and typed like a tensor ``(batch, channels, height, width)``, without its values."""

    plan: Plan
    node: Node

    @staticmethod
    def __new__(cls, plan: Plan, node: Node) -> PartwiseTensor:
        wrap: Any = Tensor._make_wrapper_subclass
        tensor: PartwiseTensor = wrap(cls, node.shape, dtype=node.dtype, device=plan.device)
        tensor.plan, tensor.node = plan, plan.add(node)
        return tensor

    def __init__(self, plan: Plan, node: Node) -> None:
        """Everything is done in ``__new__``; Tensor's own initialiser takes no arguments."""

    def whole(self) -> Tensor:
        """The values, in the computer's memory."""
        return self.plan.whole(self.node)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        x = args[0] if args else None
        if func in NORMALISATIONS and isinstance(x, cls):
            node = NORMALISATIONS[func](x.plan, x.node, *args[1:], **(kwargs or {}))
            if node is not None:
                return cls(x.plan, node)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub has no cls
        cls,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        plan = next(a.plan for a in tree_leaves((args, kwargs)) if isinstance(a, cls))
        if func in FACTORIES:  # they look at shape and type only
            return func(*tree_map(partial(_stand_in, plan), args), **kwargs)
        target = args[0] if func._schema.is_mutable else None
        pure = out_of_place(func) if target is not None else func
        if pure is not None and (target is None or isinstance(target, cls)):
            result = _as_nodes(plan, pure, args, kwargs)
            if target is not None and isinstance(result, cls):
                target.node = result.node
                return target
            if target is None and result is not None:
                return result
        decomposed = func.decompose(*args, **kwargs)
        if decomposed is not NotImplemented:
            return decomposed
        return _of_wholes(plan, func, args, kwargs)


def _as_nodes(plan: Plan, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of an operation as partwise tensors; None where there is no rule for it."""
    args, kwargs = tree_map(
        lambda a: a.node if isinstance(a, PartwiseTensor) else a, (tuple(args), kwargs)
    )
    rule = RULES.get(func)
    if rule is not None:
        node = rule(*args, **kwargs)
        return None if node is None else PartwiseTensor(plan, node)
    if not is_local(func, args, kwargs):
        return None
    kwargs = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    like = shapes(func, *args, **kwargs)
    if isinstance(like, Tensor):
        return PartwiseTensor(plan, Local(func, args, kwargs, like)) if like.dim() == 4 else None
    nodes = (Local(func, args, kwargs, one, pick) for pick, one in enumerate(like))
    return [PartwiseTensor(plan, node) for node in nodes]


def _of_wholes(plan: Plan, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The operation on whole tensors; a picture that comes of it is read in parts again."""
    parts: dict[int, tuple[PartwiseTensor, Tensor]] = {}

    def whole(value: Any) -> Any:
        if not isinstance(value, PartwiseTensor):
            return value
        if id(value) not in parts:
            parts[id(value)] = value, value.whole().to(plan.device)
        return parts[id(value)][1]

    result = func(*tree_map(whole, tuple(args)), **tree_map(whole, kwargs))
    if func._schema.is_mutable:  # what it changed in place takes the place of what was there
        for tensor, changed in parts.values():
            tensor.node = Kept(changed.cpu(), plan.device)
        for tensor, changed in parts.values():
            if result is changed:
                return tensor

    def partwise(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim() == 4 and min(value.shape[2:]) > 1:
            return PartwiseTensor(plan, Kept(value.cpu(), plan.device))
        return value

    return tree_map(partwise, result)


def _stand_in(plan: Plan, value: Any) -> Any:
    """A tensor of that shape, type and device that takes no memory."""
    if not isinstance(value, PartwiseTensor):
        return value
    return torch.zeros((), dtype=value.dtype, device=plan.device).expand(value.shape)
