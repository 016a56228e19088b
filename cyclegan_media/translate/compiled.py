"""Networks compiled by ``torch.compile``, where that earns back the time it takes.

On a CPU it does not: :mod:`.inference` leaves next to nothing to fuse between the convolutions, and
the compiled ResNet of CycleGAN takes the same time a frame to within 2 % (docs/performance.md). On
a GPU, normalisation and activations are a larger share, and are fused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor

logger = logging.getLogger("cyclegan_media")

COMPILE_SECONDS = 60.0
"""What compiling a generator takes: 15 to 60 s, by the processor and by what is cached."""
SAVED_SHARE = {"cuda": 0.2}
"""Share of a frame's time that compiling is sure to save, by device; nothing where none is named.
CUDA's is a careful guess, not a measurement."""

Run = Callable[..., Tensor]


def worth_compiling(device: torch.device, frames: int | None, seconds: float) -> bool:
    """Whether a video of so many frames saves more time than compiling takes.

    Args:
        frames: ``None`` where the file does not say; then it is not.
        seconds: that a frame takes without.
    """
    saved = SAVED_SHARE.get(device.type, 0.0) * seconds * (frames or 0)
    return saved > COMPILE_SECONDS


def seconds_a_frame(run: Run, frames: Tensor) -> float:
    """What ``run`` takes for each of ``frames``, after a first call in which kernels are chosen."""

    def timed() -> float:
        start = time.perf_counter()
        run(frames)
        if frames.device.type == "cuda":
            torch.cuda.synchronize(frames.device)
        return time.perf_counter() - start

    timed()
    return timed() / len(frames)


class CompiledNetwork:
    """Calls a network compiled; or as it is, after a warning, where compiling it fails.

    Compiling needs a C++ compiler on a CPU, and Triton on a GPU. It is done in the first call, for
    batches of that size; smaller ones (the last of a video) are filled up.
    """

    def __init__(self, run: Run) -> None:
        self._plain = run
        self._run: Run = torch.compile(run)
        self._batch = 0

    def __call__(self, *inputs: Tensor) -> Tensor:
        from torch._dynamo.exc import TorchDynamoException

        count = len(inputs[0])
        self._batch = max(self._batch, count)
        try:
            return self._run(*(_filled(x, self._batch) for x in inputs))[:count]
        except TorchDynamoException as error:
            if self._run is self._plain:
                raise
            reason = " ".join(str(error).partition("Set TORCHDYNAMO")[0].split())[:300]
            logger.warning("the network cannot be compiled here and runs as it is: %s", reason)
            self._run = self._plain
            return self._plain(*inputs)


def _filled(x: Tensor, count: int) -> Tensor:
    """``x`` with its last item repeated until there are ``count``."""
    return torch.cat([x, x[-1:].expand(count - len(x), *x.shape[1:])]) if len(x) < count else x
