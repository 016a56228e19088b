"""Stages that overlap: order, bounds, and what happens when one of them fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import pytest
import torch

from cyclegan_media.translate.pipeline import overlapped


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("cyclegan-media")]


def test_items_pass_through_in_order() -> None:
    written: list[int] = []
    overlapped(range(100), lambda items: (10 * k for k in items), written.append)
    assert written == [10 * k for k in range(100)]
    assert threads() == []


def test_work_may_make_more_or_fewer_items() -> None:
    written: list[int] = []

    def pairs(items: Iterator[int]) -> Iterable[int]:
        for first in items:
            yield first + next(items, 0)
        yield -1

    overlapped(range(5), pairs, written.append)
    assert written == [1, 5, 4, -1]


def test_nothing_is_fine_too() -> None:
    written: list[int] = []
    overlapped([], lambda items: items, written.append)
    assert written == []


@pytest.mark.parametrize("capacity", [1, 3])
def test_no_more_than_the_capacity_waits(capacity: int) -> None:
    # The sink waits until the source has gone as far as it can.
    made = written = ahead = 0
    full = threading.Event()
    most = 2 * capacity + 3

    def source() -> Iterator[int]:
        nonlocal made
        for k in range(200):
            made += 1
            if made == most:
                full.set()
            yield k

    def sink(_: int) -> None:
        nonlocal written, ahead
        assert full.wait(30)
        ahead = max(ahead, made - written)
        written += 1

    overlapped(source(), lambda items: items, sink, capacity=capacity)
    assert written == 200
    # Both queues are full, and each of the three stages has one item in hand.
    assert ahead <= most


def test_stages_run_at_the_same_time() -> None:
    # Each stage goes on only when all three are at work, which one thread could never reach.
    together = threading.Barrier(3, timeout=30)

    def source() -> Iterator[int]:
        yield from range(2)
        together.wait()
        yield 2

    def work(items: Iterator[int]) -> Iterator[int]:
        yield next(items)
        next(items)
        together.wait()
        yield from items

    def sink(item: int) -> None:
        if item == 0:
            together.wait()

    overlapped(source(), work, sink)


@pytest.mark.parametrize("stage", ["source", "work", "sink"])
@pytest.mark.parametrize("error", [ValueError("at 7"), KeyboardInterrupt()])
def test_an_error_in_any_stage_stops_all(stage: str, error: BaseException) -> None:
    read: list[int] = []

    def at(name: str, item: int) -> int:
        if name == stage and item == 7:
            raise error
        return item

    def source() -> Iterator[int]:
        for k in range(10_000):
            read.append(k)
            yield at("source", k)

    with pytest.raises(type(error)) as caught:
        overlapped(
            source(),
            lambda items: (at("work", item) for item in items),
            lambda item: at("sink", item),
            capacity=2,
        )
    assert caught.value is error
    assert threads() == []
    assert len(read) < 20


@pytest.mark.parametrize("stage", ["source", "work", "sink"])
def test_a_stage_that_takes_its_time_is_the_busy_one(stage: str) -> None:
    def at(name: str, item: int) -> int:
        time.sleep(0.02 if name == stage else 0)
        return item

    start = time.perf_counter()
    busy = overlapped(
        (at("source", k) for k in range(20)),
        lambda items: (at("work", item) for item in items),
        lambda item: at("sink", item) and None,
    )
    run = time.perf_counter() - start
    seconds = {"source": busy.source, "work": busy.work, "sink": busy.sink}
    assert max(seconds, key=seconds.__getitem__) == stage
    assert 20 * 0.02 <= seconds[stage] <= run
    # What the others waited for is not theirs: together they are the rest of one run at most.
    assert all(0 <= seconds[name] < seconds[stage] / 2 for name in seconds if name != stage)


def test_the_thread_setting_of_torch_is_restored() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside: list[int] = []
        overlapped(
            [1],
            lambda items: [inside.append(torch.get_num_threads()) or k for k in items],
            lambda _: inside.append(torch.get_num_threads()),
        )
        assert inside == [2, 1]
        assert torch.get_num_threads() == 2
        late: list[int] = []
        thread = threading.Thread(target=lambda: late.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert late == [2]
    finally:
        torch.set_num_threads(before)
