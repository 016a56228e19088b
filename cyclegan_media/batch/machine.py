"""How many workers this machine has room for."""

from __future__ import annotations

import os
from pathlib import Path

WORKER_BYTES = 2 * 2**30
"""Memory that a worker is reckoned to take; large pictures take more."""


def cores() -> int:
    """Cores that this process may use, by its affinity and by its container's share."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = _cgroup("cpu.max").split()
    if len(share) == 2 and share[0].isdecimal():
        usable = min(usable or 1, max(1, int(share[0]) // int(share[1])))
    return usable or 1


def memory() -> int:
    """Bytes of memory of the machine, or of the container. Not those free now: that a batch is
    started again while others compute must not change how many threads each worker has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max").strip()
    return min(total, int(limit)) if limit.isdecimal() else total


def _cgroup(name: str) -> str:
    try:
        return Path("/sys/fs/cgroup", name).read_text()
    except OSError:
        return ""


def auto_workers(gpus: int = 0) -> int:
    """One per GPU; without one, as many as there are cores and memory for."""
    return gpus or max(1, min(cores(), memory() // WORKER_BYTES))


def threads(workers: int) -> int:
    """Threads of each of so many workers: no more than ``OMP_NUM_THREADS`` says, if it does."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    most = int(said) if said.isdecimal() and int(said) > 0 else cores()
    return max(1, min(most, cores() // workers))
