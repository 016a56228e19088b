"""Unpaired batches whose every sample is a pure function of (seed, number of the sample).

So the position in the data is one integer, and an interrupted training goes on with exactly the
samples that an uninterrupted one would have seen, whatever the number of loading processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Domain(Protocol):
    """One side of the data: a number of items, and a random sample of each."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        """A random crop or segment of item ``index``; depends on nothing but its arguments."""
        ...


def random_generator(*key: object) -> torch.Generator:
    """A generator seeded by the whole of ``key``, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Unpaired(Dataset[tuple[Tensor, Tensor]]):
    """Sample ``n`` is one example of each domain, drawn independently.

    Each domain is gone through in a new random order each time round, so every item is seen
    equally often; the orders of the two are independent, so no pair is ever favoured.
    """

    def __init__(self, a: Domain, b: Domain, seed: int) -> None:
        self.domains = {"a": a, "b": b}
        self.seed = seed
        self._orders: dict[str, tuple[int, list[int]]] = {}

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self._example("a", number), self._example("b", number)

    def _example(self, side: str, number: int) -> Tensor:
        domain = self.domains[side]
        time_round, place = divmod(number, len(domain))
        index = self._order(side, time_round)[place]
        return domain.sample(index, random_generator(self.seed, side, "sample", number))

    def _order(self, side: str, time_round: int) -> list[int]:
        known = self._orders.get(side)
        if known is None or known[0] != time_round:
            rng = random_generator(self.seed, side, "order", time_round)
            order = torch.randperm(len(self.domains[side]), generator=rng).tolist()
            self._orders[side] = known = (time_round, order)
        return known[1]


class _BatchesOfSteps(Sampler[list[int]]):
    """The sample numbers of each step from ``first`` to before ``last``, for one of the ranks."""

    def __init__(self, first: int, last: int, batch_size: int, rank: int, ranks: int) -> None:
        self.first, self.last = first, last
        self.batch_size, self.rank, self.ranks = batch_size, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            start = (step * self.ranks + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))

    def __len__(self) -> int:
        return self.last - self.first


def unpaired_loader(
    a: Domain,
    b: Domain,
    *,
    seed: int,
    batch_size: int,
    first_step: int,
    last_step: int,
    workers: int = 0,
    rank: int = 0,
    ranks: int = 1,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches ``(real_a, real_b)`` for steps ``first_step`` to before ``last_step``."""
    return DataLoader(
        Unpaired(a, b, seed),
        batch_sampler=_BatchesOfSteps(first_step, last_step, batch_size, rank, ranks),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
