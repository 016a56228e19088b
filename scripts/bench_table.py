"""What the benchmarks share: the machine, its rates, repeated timings, a table and JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def machine(device: str = "cpu") -> dict[str, Any]:
    """What figures depend on: processor, cores, versions, and what else ran meanwhile.

    Args:
        device: ``cpu``, or ``cuda``, of which the GPU is named.
    """
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "av", "cyclegan-media")},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def describe(machine: dict[str, Any]) -> str:
    """The machine in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = "" if machine["load"] is None else f"; load before the run {machine['load']:.1f}"
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
    gpu = "" if machine["gpu"] is None else f"{machine['gpu']}; "
    return f"{gpu}{where}; {versions}{load}"


def seconds(run: Callable[[], object], times: int) -> list[float]:
    """Seconds that each of so many calls takes, after one that does not count."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def matmul_rate(dtype: torch.dtype, device: str = "cpu", times: int = 12) -> float:
    """Operations a second of a matrix product, the best of so many: what the silicon can do.

    Its shape is that of the convolutions where a ResNet generator has most of its arithmetic:
    64 × 64 pixels, 3 × 3 × 256 inputs, 256 outputs; on a GPU, of 64 pictures. By BLAS or by a
    convolution with a kernel of 1 × 1, whichever is faster: in single precision BLAS may not use
    all of an AMD processor. On a GPU single precision is TF32, as in PyTorch's convolutions.
    """
    pixels, inner, columns = (64 if device == "cuda" else 1, 64, 64), 9 * 256, 256
    a = torch.randn(*pixels, inner, device=device).to(dtype)
    b = torch.randn(inner, columns, device=device).to(dtype)
    picture, kernel = a.permute(0, 3, 1, 2), b.T[:, :, None, None].contiguous()

    def by_blas() -> None:
        torch.matmul(a, b)
        wait_for(device)

    def by_convolution() -> None:
        torch.nn.functional.conv2d(picture, kernel)
        wait_for(device)

    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.inference_mode():
        fastest = min(seconds(by_blas, times) + seconds(by_convolution, times))
    torch.backends.cuda.matmul.allow_tf32 = tf32
    return 2 * math.prod(pixels) * inner * columns / fastest


def wait_for(device: str) -> None:
    """Until a GPU has done what is queued."""
    if device == "cuda":
        torch.cuda.synchronize()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Half of the distance from the least to the greatest, as a share of the median."""
    return (max(values) - min(values)) / 2 / statistics.median(values)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "| " + " | ".join([first, *map(str.rjust, cells[1:], widths[1:])]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(head), rule, *map(line, rows)])


def write_json(path: str | None, content: dict[str, Any]) -> None:
    """Write the figures, where a path is given."""
    if path is not None:
        Path(path).write_text(json.dumps(content, indent=2) + "\n")
