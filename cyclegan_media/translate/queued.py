"""Batches on a GPU, one queued behind the other, so that copies and computation overlap.

A GPU works through what is queued on a stream while the processor goes on. A copy overlaps with a
computation where it is on a stream of its own, and where its end in the computer's memory is
pinned: the driver copies other memory by way of a buffer of its own, and waits.

A video goes there and back as the samples that its decoder made and its encoder takes, an eighth of
the bytes of RGB in float32 for 4:2:0 in 8 bits; the device converts their colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Fetch = Callable[[], list[Tensor]]
"""Waits for a result and returns it, on the CPU; to be called once."""


@dataclass(frozen=True)
class Samples:
    """What the planes ``(n, rows, columns)`` of a video's frames mean, before and after.

    Both functions compute on the device of the tensors that they are given.
    """

    size: tuple[int, int]
    """Height and width of the upright frames."""
    to_rgb: Callable[[Sequence[Tensor]], Tensor]
    """Planes of the source → float32 ``(n, 3, height, width)`` in −1…1, upright."""
    from_rgb: Callable[[Tensor], list[Tensor]]
    """The same → planes of the target."""


@runtime_checkable
class Queues(Protocol):
    """An :data:`~cyclegan_media.translate.image.Apply` that can be told of batches beforehand."""

    ahead: int
    """How many further ones may be begun before the first result is fetched."""
    device: torch.device
    """Where planes may lie instead of in the computer's memory, and are spared a way."""

    def __call__(self, frames: Tensor, /) -> Tensor: ...

    def begin(self, planes: Sequence[Tensor], samples: Samples, /) -> Fetch:
        """Queue a batch.

        Returns:
            Gets the planes of the target, in memory of their own.
        """

    def stop(self) -> None:
        """Nothing that was begun will be fetched, and nothing more begun."""


@dataclass
class _Slot:
    """Memory of one batch on its way to the device and back."""

    given: list[Tensor] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)
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

    def begin(
        self, batch: Sequence[Tensor], compute: Callable[[list[Tensor]], list[Tensor]]
    ) -> Fetch:
        """Queue ``compute(batch)``, of tensors in the computer's memory, which may then change.

        Tensors that are on the GPU already stay where they are, and as they are.

        Returns:
            Gets the result, in memory that the second ``begin`` from here writes to again.
        """
        slot = self._slots[self._turn]
        self._turn = 1 - self._turn
        if slot.taken:
            raise ValueError("two batches are under way; fetch the first of them")
        moved = list(batch) if _on_a_gpu(batch) else self._moved(slot, batch)
        results = [result.contiguous() for result in compute(moved)]
        self._hand_over(results, self._current(), self._down)
        slot.made = self._memory(slot.made, results)
        with self._on(self._down):
            for kept, result in zip(slot.made, results, strict=True):
                kept.copy_(result, non_blocking=True)
        done = None if self._down is None else self._down.record_event()
        slot.taken = True

        def fetch() -> list[Tensor]:
            if done is not None:
                done.synchronize()
            slot.taken = False
            return slot.made

        return fetch

    def _moved(self, slot: _Slot, batch: Sequence[Tensor]) -> list[Tensor]:
        slot.given = self._memory(slot.given, batch)
        for kept, tensor in zip(slot.given, batch, strict=True):
            kept.copy_(tensor)
        with self._on(self._up):
            moved = [kept.to(self._device, non_blocking=True) for kept in slot.given]
        self._hand_over(moved, self._up, self._current())
        return moved

    def _memory(self, had: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """Memory of the computer for tensors; what there was, where it fits."""
        forms = [(tensor.shape, tensor.dtype) for tensor in like]
        if [(tensor.shape, tensor.dtype) for tensor in had] == forms:
            return list(had)
        return [torch.empty(shape, dtype=dtype, pin_memory=self._on_gpu) for shape, dtype in forms]

    def _current(self) -> torch.cuda.Stream | None:
        return torch.cuda.current_stream(self._device) if self._on_gpu else None

    @staticmethod
    def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    @staticmethod
    def _hand_over(
        tensors: Sequence[Tensor],
        maker: torch.cuda.Stream | None,
        user: torch.cuda.Stream | None,
    ) -> None:
        """Let what one stream makes be used on another, once it is made and while it is needed."""
        if maker is None or user is None:
            return
        user.wait_stream(maker)
        for tensor in tensors:
            tensor.record_stream(user)  # its memory is not given away before


def _on_a_gpu(batch: Sequence[Tensor]) -> bool:
    return all(tensor.is_cuda for tensor in batch)
