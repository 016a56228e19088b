"""What commands take that only answer: the whole process, from the shell and back.

    python scripts/bench_startup.py [--json]

Each command runs several times after one that does not count, taking turns with an interpreter
that does nothing. The peak memory is of the process, resident.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

COMMANDS = ("--help", "translate --help", "recipes", "info cyclegan", "info picture.png")
NOTHING = "an empty Python"
LIMIT = 0.5
"""Seconds that a command may take."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, default=9, help="runs of each (default: 9)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    program = "import sys; from cyclegan_media.cli import main; sys.exit(main(sys.argv[1:]))"
    lines = {NOTHING: [sys.executable, "-c", "pass"]}
    for command in COMMANDS:
        lines[command] = [sys.executable, "-c", program, *command.split()]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    with tempfile.TemporaryDirectory() as folder:
        from PIL import Image

        Image.new("RGB", (64, 48), "teal").save(Path(folder, "picture.png"))
        for turn in range(args.times + 1):
            for name, line in lines.items():
                found = _run(line, folder)
                if turn:
                    taken[name].append(found)
    rows = {
        name: {
            "seconds": statistics.median(seconds for seconds, _ in runs),
            "spread": max(s for s, _ in runs) - min(s for s, _ in runs),
            "megabytes": statistics.median(memory for _, memory in runs),
        }
        for name, runs in taken.items()
    }
    about = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "cyclegan-media": version("cyclegan-media"),
        "times": args.times,
        "load": os.getloadavg()[0],
    }
    if args.json:
        print(json.dumps({"machine": about, "commands": rows}, indent=2))
        return 0
    print("; ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{'command':20} {'s':>6} {'spread':>7} {'MB':>6}  under {LIMIT} s")
    for name, row in rows.items():
        under = "" if name == NOTHING else ("yes" if row["seconds"] < LIMIT else "NO")
        print(
            f"{name:20} {row['seconds']:6.3f} {row['spread']:7.3f} {row['megabytes']:6.0f}  {under}"
        )
    return 0


def _run(line: list[str], folder: str) -> tuple[float, float]:
    """Seconds by the clock, and the peak of resident memory in MB, of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(line[3:])}: failed with exit code {process.returncode}")
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return seconds, usage.ru_maxrss / unit


if __name__ == "__main__":
    sys.exit(main())
