"""One thread for what gains nothing by more.

OpenBLAS, which multiplies numpy's matrices, wakes a thread for each core and lets them all spin for
some hundredths of a second afterwards, in case there is more. A spectrum's product with a map of 25
coefficients takes 4 ms; the spinning takes 60, from whatever computes next.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """Within, numpy's linear algebra keeps to the calling thread."""
    limiter: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limiter


@cache
def _controller() -> ThreadpoolController:
    # Looking through the loaded libraries takes some milliseconds; numpy's is there already.
    import numpy  # noqa: F401

    return ThreadpoolController()
