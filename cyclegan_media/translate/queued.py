"""Batches on a GPU, one queued behind the other, so that copies and computation overlap.

A GPU works through what is queued on a stream while the processor goes on. A copy overlaps with a
computation where it is on a stream of its own, and where its end in the computer's memory is
pinned: the driver copies other memory by way of a buffer of its own, and waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Fetch = Callable[[], Tensor]
"""Waits for a result and returns it; to be called once."""


@runtime_checkable
class Queues(Protocol):
    """An :data:`~cyclegan_media.translate.image.Apply` that can be told of a batch beforehand."""

    def __call__(self, frames: Tensor, /) -> Tensor: ...

    def begin(self, frames: Tensor, /) -> Fetch:
        """Queue a batch. It may be called once more before the first result is fetched."""


@dataclass
class _Slot:
    """Memory of one batch on its way to the device and back."""

    given: Tensor | None = None
    made: Tensor | None = None
    taken: bool = False


class TwoBuffers:
    """Takes batches through a computation on a device, two at a time.

    While one batch is computed, the next is copied to the device and the last one's result back.
    On another device than a GPU all is done at once, by :meth:`begin`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._slots, self._turn = (_Slot(), _Slot()), 0
        self._on_gpu = device.type == "cuda"
        self._up = torch.cuda.Stream(device) if self._on_gpu else None
        self._down = torch.cuda.Stream(device) if self._on_gpu else None

    def begin(self, batch: Tensor, compute: Callable[[Tensor], Tensor]) -> Fetch:
        """Queue ``compute(batch)``, of a batch in the computer's memory, which may then change.

        Returns:
            Gets the result, in memory that the second ``begin`` from here writes to again.
        """
        slot = self._slots[self._turn]
        self._turn = 1 - self._turn
        if slot.taken:
            raise ValueError("two batches are under way; fetch the first of them")
        slot.given = self._memory(slot.given, batch)
        slot.given.copy_(batch)
        with self._on(self._up):
            moved = slot.given.to(self._device, non_blocking=True)
        self._hand_over(moved, self._up, self._current())
        result = compute(moved).contiguous()
        self._hand_over(result, self._current(), self._down)
        slot.made = self._memory(slot.made, result)
        with self._on(self._down):
            slot.made.copy_(result, non_blocking=True)
        done = None if self._down is None else self._down.record_event()
        slot.taken = True

        def fetch() -> Tensor:
            if done is not None:
                done.synchronize()
            slot.taken = False
            assert slot.made is not None
            return slot.made

        return fetch

    def _memory(self, had: Tensor | None, like: Tensor) -> Tensor:
        """Memory of the computer for a tensor; what there was, where it fits."""
        if had is not None and (had.shape, had.dtype) == (like.shape, like.dtype):
            return had
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=self._on_gpu)

    def _current(self) -> torch.cuda.Stream | None:
        return torch.cuda.current_stream(self._device) if self._on_gpu else None

    @staticmethod
    def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    @staticmethod
    def _hand_over(
        tensor: Tensor, maker: torch.cuda.Stream | None, user: torch.cuda.Stream | None
    ) -> None:
        """Let what one stream makes be used on another, once it is made and while it is needed."""
        if maker is None or user is None:
            return
        user.wait_stream(maker)
        tensor.record_stream(user)  # its memory is not given away before
