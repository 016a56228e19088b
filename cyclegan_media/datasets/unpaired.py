"""Unpaired batches whose every sample is a pure function of (seed, number of the sample).

So the position in the data is one integer, and an interrupted training goes on with exactly the
samples that an uninterrupted one would have seen, whatever the number of loading processes.
"""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from cyclegan_media.errors import CycleganMediaError, RunError


class Domain(Protocol):
    """One side of the data: a number of items, and a random sample of each."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: torch.Generator) -> Tensor | dict[str, Tensor]:
        """A random crop or segment of item ``index``; depends on nothing but its arguments.

        Either the example alone, or by name: the example as ``real``, beside what else is to
        go with it (a mask, for instance).
        """
        ...


def as_example(sample: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """A sample of a domain, by name."""
    return {"real": sample} if isinstance(sample, Tensor) else sample


Batch = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Examples of A, of B, and what else there is for them, by name and domain (``mask_a``)."""


def random_generator(*key: object) -> torch.Generator:
    """A generator seeded by the whole of ``key``, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Unpaired(Dataset[Batch | CycleganMediaError]):
    """Sample ``n`` is one example of each domain, drawn independently, or why there is none.

    Each domain is gone through in a new random order each time round, so every item is seen
    equally often; the orders of the two are independent, so no pair is ever favoured.
    """

    def __init__(self, a: Domain, b: Domain, seed: int) -> None:
        self.domains = {"a": a, "b": b}
        self.seed = seed
        self._orders: dict[str, tuple[int, list[int]]] = {}

    def __getitem__(self, number: int) -> Batch | CycleganMediaError:
        try:
            sides = {side: self._example(side, number) for side in ("a", "b")}
        except CycleganMediaError as error:
            return error  # raised by a loading process, it would come with that one's traceback
        real_a, real_b = (example.pop("real") for example in sides.values())
        extras = {
            f"{name}_{side}": extra
            for side, example in sides.items()
            for name, extra in example.items()
        }
        return real_a, real_b, extras

    def _example(self, side: str, number: int) -> dict[str, Tensor]:
        domain = self.domains[side]
        time_round, place = divmod(number, len(domain))
        index = self._order(side, time_round)[place]
        rng = random_generator(self.seed, side, "sample", number)
        return dict(as_example(domain.sample(index, rng)))

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


def unpaired_batches(
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
    device: torch.device | str = "cpu",
) -> Generator[Batch, None, None]:
    """Batches on ``device`` for steps ``first_step`` to before ``last_step``.

    Args:
        workers: processes that load ahead; 0 loads in this one.
        rank, ranks: which part of each step's samples is this process's, and of how many.

    Raises:
        UserError: an example cannot be read.
        RunError: a loading process was killed.
    """
    on_cuda = torch.device(device).type == "cuda"
    loader: DataLoader[Any] = DataLoader(
        Unpaired(a, b, seed),
        batch_sampler=_BatchesOfSteps(first_step, last_step, batch_size, rank, ranks),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=on_cuda,
        prefetch_factor=4 if workers else None,
        # Forked processes share what is already in memory; elsewhere than on Linux forking is
        # unsafe or impossible.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        worker_init_fn=_leave_interrupts_to_the_trainer,
        # Otherwise each start of the loader would draw from the global random state, and a
        # resumed training would go on with other numbers than an uninterrupted one.
        generator=torch.Generator(),
    )
    try:
        for batch in loader:
            if isinstance(batch, CycleganMediaError):
                raise batch
            real_a, real_b, extras = batch
            yield (
                real_a.to(device, non_blocking=on_cuda),
                real_b.to(device, non_blocking=on_cuda),
                {name: extra.to(device, non_blocking=on_cuda) for name, extra in extras.items()},
            )
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            "a process that loads data was killed, as happens when memory runs out; lower"
            " trainer.workers or data.cache_megabytes"
        ) from error


def _collate(samples: list[Any]) -> Any:
    """A batch, or the first error instead of it."""
    failed = [sample for sample in samples if isinstance(sample, CycleganMediaError)]
    return failed[0] if failed else default_collate(samples)


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    # Ctrl-C reaches the whole process group, and a cluster's SIGTERM often does; the trainer
    # needs its data until it has stopped. Loading processes end when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
