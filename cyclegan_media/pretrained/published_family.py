"""What is known of one kind of published network: how to tell it, what it is, its names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from cyclegan_media.errors import UserError

State = dict[str, torch.Tensor]
Spec = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """One architecture of one published implementation."""

    title: str
    """For messages: what it is and whose."""
    paper: str
    recognise: Callable[[State], bool]
    """Whether a state dict is of this family, by the names it has."""
    spec: Callable[[State], Spec]
    """The architecture, as ``registry.build`` takes it, from names and shapes.

    Raises UserError where a key that tells is missing or of a wrong kind.
    """
    published: Callable[[str, Spec], tuple[str, ...]]
    """Our name of a layer to the published one. Where there are several, the published layers
    compute side by side what ours computes as one, in this order along the output channels."""
    unused: str = r"(?!)"
    """A pattern of published names that take no part in the computation."""


def shape(state: State, key: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor that tells the architecture.

    Raises:
        UserError: it is missing or has another number of dimensions.
    """
    tensor = state.get(key)
    if tensor is None or tensor.dim() != dimensions:
        raise UserError(f"key {key!r} is missing or not of {dimensions} dimensions")
    return tuple(tensor.shape)
