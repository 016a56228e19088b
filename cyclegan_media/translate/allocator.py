"""Freed memory kept for the next frame, where the C library would give it back to the system.

A layer's result of some megabytes is freed once the next layer has read it. glibc hands it to the
system and asks for it again for the next one, and the system clears each page anew, thousands of
them a frame. glibc itself raises both of its limits up to these as such memory is freed
(mallopt(3), ``M_MMAP_THRESHOLD``), but only for blocks that lie in no thread's arena.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_BYTES = 32 << 20
_TRIM_BYTES = 2 * _MMAP_BYTES


def keep_freed_memory() -> bool:
    """Have the C library keep up to 64 MiB of freed memory in each arena, from now on.

    Returns:
        Whether it was asked to: it is glibc that can be.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    limits = {_M_TRIM_THRESHOLD: _TRIM_BYTES, _M_MMAP_THRESHOLD: _MMAP_BYTES}
    taken = [mallopt(name, value) for name, value in limits.items()]
    return all(taken)
