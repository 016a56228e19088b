"""Stages that overlap: a source and a sink in threads of their own, joined by bounded queues."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds that an interrupted run waits for its threads; they end after their current item."""


@dataclass(frozen=True)
class Busy:
    """Seconds by the clock that each stage worked; what it waited for another is left out."""

    source: float
    work: float
    sink: float


class _StopError(Exception):
    """The other end of a queue is gone."""


class _Queue(Generic[T]):
    """A bounded queue whose two ends can be told that the other one is gone."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self.waited_for_room = self.waited_for_items = 0.0
        """Seconds, of the one thread at either end."""

    def put(self, item: T) -> None:
        """Wait for room, and append. Raises ``_StopError`` if nobody will take it."""
        start = perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            self.waited_for_room += perf_counter() - start
            if self._stopped:
                raise _StopError
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the other end has ended. Raises ``_StopError`` if all is to stop."""
        while True:
            start = perf_counter()
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._items or self._ended)
                self.waited_for_items += perf_counter() - start
                if self._stopped:
                    raise _StopError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def end(self) -> None:
        """There will be no more items."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Drop what waits here, and let both ends go on with ``_StopError``."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()


def overlapped(
    source: Iterable[T],
    work: Callable[[Iterator[T]], Iterable[T]],
    sink: Callable[[T], None],
    *,
    capacity: int = 4,
) -> Busy:
    """Run ``for item in work(source): sink(item)`` with the three in parallel.

    ``source`` is iterated in one thread and ``sink`` is called in another; ``work`` runs in the
    caller's. No more than ``capacity`` items wait between two stages.

    An error in any stage, or a ``KeyboardInterrupt`` in the caller's thread, stops all three; both
    threads have ended when this function returns or raises, unless one hangs after an interrupt.
    Of several errors the first one in the order sink, work, source is raised, since the others may
    follow from it.

    Returns:
        How long each of the three was busy.
    """
    before, after = _Queue[T](capacity), _Queue[T](capacity)
    errors: dict[str, BaseException] = {}
    lasted: dict[str, float] = {}

    def feed() -> None:
        with _timed(lasted, "source"):
            for item in source:
                before.put(item)
        before.end()

    def drain() -> None:
        with _timed(lasted, "sink"):
            for item in after:
                sink(item)

    with _threads(errors, (before, after), source=feed, sink=drain):
        try:
            with _timed(lasted, "work"):
                for item in work(iter(before)):
                    after.put(item)
            after.end()
        except _StopError:
            pass
    return Busy(
        source=lasted["source"] - before.waited_for_room,
        work=lasted["work"] - before.waited_for_items - after.waited_for_room,
        sink=lasted["sink"] - after.waited_for_items,
    )


def use_threads(count: int) -> None:
    """Have PyTorch compute in so many threads where this one calls it.

    The setting is the thread's own, but also what threads to come begin with, so who started it
    sets the number back at once.
    """
    # A thread takes up what it begins with when it is first asked for it, not to undo this later.
    torch.get_num_threads()
    torch.set_num_threads(count)


@contextmanager
def _timed(lasted: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        lasted[stage] = perf_counter() - start


@contextmanager
def _threads(
    errors: dict[str, BaseException],
    queues: tuple[_Queue[T], _Queue[T]],
    **stages: Callable[[], None],
) -> Iterator[None]:
    def run(name: str, stage: Callable[[], None]) -> None:
        # Else each of these threads would have a team of workers of its own, and all of them would
        # wait for a core at the end of each small operation.
        use_threads(1)
        is_set.release()
        try:
            stage()
        except _StopError:
            pass
        except BaseException as error:
            errors[name] = error
            for queue in queues:
                queue.stop()

    workers = torch.get_num_threads()
    is_set = threading.Semaphore(0)
    threads = [
        threading.Thread(target=run, args=item, name=f"cyclegan-media {item[0]}", daemon=True)
        for item in stages.items()
    ]
    patience: float | None = None
    try:
        for thread in threads:
            thread.start()  # within the block, since an interrupt may come here, too
            is_set.acquire()
        torch.set_num_threads(workers)
        yield
    except BaseException as error:
        for queue in queues:
            queue.stop()
        if not isinstance(error, Exception):
            # An interrupt may strike while a lock is being taken, and leave it taken for ever.
            patience = _PATIENCE
        raise
    finally:
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join(patience)
        torch.set_num_threads(workers)
    for name in ("sink", "source"):
        if name in errors:
            raise errors[name]
