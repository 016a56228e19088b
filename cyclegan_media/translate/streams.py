"""Frames side by side on a CPU, each computed by a thread of its own.

Threads that share a frame wait for one another at the end of each layer, and all of them for one
that the encoder keeps from its core. Threads that have a frame each wait for nobody (OpenVINO calls
them streams, too). A frame takes as many times longer as there are streams, and each holds what its
layers make.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import nn

from cyclegan_media.translate.allocator import keep_freed_memory
from cyclegan_media.translate.pipeline import use_threads

T = TypeVar("T")

_here = threading.local()


class StoppedError(Exception):
    """Nobody waits for this result any more."""


def stop_between_layers(network: nn.Module) -> None:
    """Let the layers of ``network`` raise :class:`StoppedError` once a stream is told to stop.

    Else an interrupted command would go on for as long as a large frame takes.
    """
    for part in network.modules():
        part.register_forward_pre_hook(_go_on)


def _go_on(*_: object) -> None:
    stop: threading.Event | None = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise StoppedError


class Streams:
    """Threads, each with an equal share of the cores that PyTorch uses.

    A context manager, at whose end they are gone; what they are at is done first.

    Args:
        count: of threads; 1 at least.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        keep_freed_memory()
        cores = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            count,
            thread_name_prefix="cyclegan-media frame",
            initializer=use_threads,
            initargs=(max(1, cores // count),),
        )
        # All start now, so that the number can be set back once the last one has begun.
        started = threading.Barrier(count + 1)
        for _ in range(count):
            self._pool.submit(started.wait)
        started.wait()
        torch.set_num_threads(cores)

    def begin(self, work: Callable[[], T], stop: threading.Event) -> Callable[[], T]:
        """Have ``work`` done in one of the threads; what is returned waits for its result.

        Args:
            stop: when it is set, the work is not begun any more, or ends early.
        """

        def stoppable() -> T:
            _here.stop = stop
            _go_on()
            return work()

        return self._pool.submit(stoppable).result

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
