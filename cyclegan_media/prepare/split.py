"""Which groups of examples are held out. What belongs together is never torn apart."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any


def held_out_groups(sizes: Mapping[Any, int], share: float) -> set[Hashable]:
    """Groups to hold out: about ``share`` of all examples, and never all groups.

    The choice depends on the groups' names alone, not on their order or on chance, so that further
    sources change little of it.

    Args:
        sizes: of each group, how many examples it has.
        share: 0…1.
    """
    wanted = share * sum(sizes.values())
    chosen: set[Hashable] = set()
    taken = 0
    for group in sorted(sizes, key=_draw):
        size = sizes[group]
        # A group that overshoots by more than what is missing is left for training.
        if len(chosen) + 1 < len(sizes) and taken + size <= wanted + min(size, wanted) / 2:
            chosen.add(group)
            taken += size
    return chosen


def _draw(group: Hashable) -> str:
    return hashlib.blake2b(repr(group).encode(), digest_size=8).hexdigest()
