"""A batch of thousands of short files: does its memory stay, are files closed, are processes gone?

python scripts/soak.py --files 2000

Pictures, clips and recordings go through `cyclegan-media batch` by a manifest, all of one model
before those of the other, as the batch orders them. While it runs, resident memory and open files
of the parent and of each worker are read from /proc. Held against each other are the medians of the
second quarter of a model's files and of the last; the first loads what they need. Exit code 1: some
process grew by more than 5 % within a model's files, or holds more files open than before; an
output is missing or none of ours; a process was left behind.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from batch_files import command, environment, media, processes
from fuzz_files import make_originals

MOST_GROWTH = 0.05
_EVERY = 0.1
"""Seconds between two looks."""
_KINDS = ("a.png", "a.wav", "a.png", "a.mp4", "a.jpg")
_STRETCHES = {"image": (0.0, 0.8), "voice": (0.8, 1.0)}
"""Shares of the batch at which each model's files begin and end: one in five is a voice."""


class Look(NamedTuple):
    """At one process, at one moment."""

    share: float
    """Of the files that were done."""
    memory: int
    """Bytes."""
    files: int
    """Open."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = prepare(folder, args.files)
        return soak(folder, manifest, args.files, args.workers)


def prepare(folder: Path, count: int) -> Path:
    """Write so many files, and a manifest of them."""
    make_originals(folder / "originals")
    (folder / "in").mkdir()
    manifest = folder / "jobs.csv"
    with open(manifest, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["input", "model"])
        for k in range(count):
            kind = _KINDS[k % len(_KINDS)]
            path = folder / "in" / f"{k}{Path(kind).suffix}"
            shutil.copy(folder / "originals" / kind, path)
            model = "voice" if path.suffix == ".wav" else "image"
            rows.writerow([f"in/{path.name}", f"originals/{model}"])
    return manifest


def soak(folder: Path, manifest: Path, count: int, workers: int) -> int:
    """Run the batch and print what was seen; the exit code."""
    out, started = folder / "out", time.monotonic()
    arguments = ["-o", out, "--workers", str(workers), "--device", "cpu", "--quiet"]
    process = subprocess.Popen(
        command(manifest, *arguments), stderr=subprocess.PIPE, env=environment(name := str(folder))
    )
    seen: dict[int, list[Look]] = {}
    while process.poll() is None:
        share = done(out) / count
        for pid in processes(name):
            with suppress(OSError, ValueError):
                seen.setdefault(pid, []).append(look(pid, share))
        time.sleep(_EVERY)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    seconds, left, made = time.monotonic() - started, processes(name), len(media(out))
    print(f"{count} files in {seconds:.0f} s by {workers} workers: exit code {process.returncode}")
    good = process.returncode == 0 and made == count and not left and not said
    print(
        f"outputs: {made}; processes left: {len(left)}; said: {said.strip()[:500] or 'nothing'}\n"
    )
    print("| process | model | MiB in the second quarter | in the last | growth | open files |")
    print("|---|---|---|---|---|---|")
    for pid, looks in seen.items():
        who = "parent" if pid == process.pid else f"worker {pid}"
        for model, (begin, end) in _STRETCHES.items():
            quarter = (end - begin) / 4
            early = within(looks, begin + quarter, begin + 2 * quarter)
            late = within(looks, begin + 3 * quarter, end)
            if not early or not late:
                print(f"| {who} | {model}: it was not there | | | | |")
                continue
            memory = [statistics.median(one.memory for one in part) for part in (early, late)]
            files = [max(one.files for one in part) for part in (early, late)]
            growth = memory[1] / memory[0] - 1
            good &= growth <= MOST_GROWTH and files[1] <= files[0]
            cells = " | ".join(f"{one / 2**20:.1f}" for one in memory)
            print(f"| {who} | {model} | {cells} | {growth:+.1%} | {files[0]} → {files[1]} |")
    return int(not good)


def within(looks: list[Look], first: float, last: float) -> list[Look]:
    """The looks while that share of the batch was done."""
    return [one for one in looks if first <= one.share <= last]


def look(pid: int, share: float) -> Look:
    """Raises OSError where the process has gone."""
    place = Path("/proc") / str(pid)
    status = (place / "status").read_text().split("VmRSS:")
    memory = int(status[1].split()[0]) * 1024 if len(status) > 1 else 0
    return Look(share, memory, sum(1 for _ in (place / "fd").iterdir()))


def done(out: Path) -> int:
    """How many files the work list says are done."""
    with (
        suppress(sqlite3.Error),
        closing(
            sqlite3.connect(f"file:{out}/.cyclegan-media-batch.sqlite?mode=ro", uri=True)
        ) as database,
    ):
        row = database.execute("SELECT count(*) FROM files WHERE state = 'done'").fetchone()
        return int(row[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
