"""Damage files of every kind in thousands of ways, and see that each is translated or refused.

python scripts/fuzz.py --mutants 5000

Bits are flipped, ends cut off, pieces of other files put in, numbers in headers made extreme; each
mutant by its number alone, so that one can be looked at: `--only 4711 --keep FOLDER`. Child
processes use them as the command line does. What must hold of each:

- it ends in time, with exit code 0, 1 or 2;
- on failure it says one line that begins with "error:", which is not that of a bug;
- its memory does not grow beyond the bound (an rlimit makes allocations beyond it fail);
- it leaves nothing behind but a complete output.

A child that a decoder crashes is counted apart and replaced; nothing else is lost by it. The limits
on the size of media are lowered here, so that the bound can be low, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BOUND = 1 << 30
"""Bytes that the use of one mutant may add to the memory of a child."""
PATIENCE = 60.0
"""Seconds."""
LIMITS = {
    "CYCLEGAN_MEDIA_MAX_MEGAPIXELS": "8",
    "CYCLEGAN_MEDIA_MAX_FRAME_MEGAPIXELS": "4",
    "CYCLEGAN_MEDIA_MAX_HOURS": "0.05",
}
_GOOD = ("used", "refused")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--children", type=int, default=1)
    parser.add_argument("--only", type=int, help="try this one, and show what it says")
    parser.add_argument("--keep", type=Path, help="folder for the mutant of --only")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.seed)
        return 0
    numbers = [args.only] if args.only is not None else range(args.first, args.first + args.mutants)
    with tempfile.TemporaryDirectory() as folder:
        results = list(run(Path(folder), list(numbers), args.seed, args.children))
        if args.keep:
            args.keep.mkdir(parents=True)
            Child(Path(folder), args.seed).originals.mutant(args.only, args.keep)
    print(table(results))
    bad = [result for result in results if result["end"] not in _GOOD]
    for result in bad if args.only is None else results:
        print(json.dumps(result, ensure_ascii=False))
    return int(any(result["end"] != "crash" for result in bad))


def table(results: list[dict[str, Any]]) -> str:
    """A row for each kind of file, in Markdown."""
    ends = ("used", "refused", "crash", "hang", "memory", "bad")
    lines = [
        f"| kind | mutants | {' | '.join(ends)} | most memory added, MiB | longest, s |",
        f"|---|{'---|' * (len(ends) + 3)}",
    ]
    kinds = dict.fromkeys(result["kind"] for result in results)
    for kind in [*kinds, "all"]:
        own = [result for result in results if kind in (result["kind"], "all")]
        counts = Counter(result["end"] for result in own)
        memory = max(result.get("memory", 0) for result in own) / 2**20
        longest = max(result["seconds"] for result in own)
        cells = " | ".join(str(counts[end]) for end in ends)
        lines.append(f"| {kind} | {len(own)} | {cells} | {memory:.0f} | {longest:.1f} |")
    return "\n".join(lines)


def run(
    folder: Path, numbers: list[int], seed: int = 0, children: int = 1
) -> Iterator[dict[str, Any]]:
    """Try the mutants in child processes; a result for each, as it comes."""
    waiting, begun = list(reversed(numbers)), 0
    pool: dict[int, _Process] = {}
    try:
        while waiting or pool:
            while waiting and len(pool) < children:
                begun += 1
                process = _Process(folder / f"child-{begun}", seed)
                pool[process.answers] = process
                process.give(waiting.pop())
            ready, _, _ = select.select(list(pool), [], [], 0.5)
            for number in list(pool):
                process = pool[number]
                result = process.result(number in ready)
                if result is None:
                    continue
                yield result
                if result["end"] in ("crash", "hang") or not waiting:
                    del pool[number]
                    process.stop()
                else:
                    process.give(waiting.pop())
    finally:
        for process in pool.values():
            process.stop()


class _Process:
    """A child, and the mutant that it has in hand."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(folder), "--seed", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **LIMITS, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        self.answers = self._process.stdout.fileno()
        self._number, self._kind, self._begin, self._buffer = -1, "?", time.monotonic(), b""

    def give(self, number: int) -> None:
        assert self._process.stdin is not None
        self._number, self._begin, self._kind = number, time.monotonic(), "?"
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()

    def result(self, ready: bool) -> dict[str, Any] | None:
        """How the mutant ended, if it has."""
        known = {
            "number": self._number,
            "kind": self._kind,
            "seconds": time.monotonic() - self._begin,
        }
        if not ready:
            starting = self._kind == "?"  # it makes the originals, and a training among them
            if known["seconds"] < (10 * PATIENCE if starting else PATIENCE):
                return None
            return {**known, "end": "hang"}
        some = os.read(self.answers, 1 << 16)
        if not some:
            return {**known, "end": "crash", "code": self._process.wait()}
        self._buffer += some
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            message: dict[str, Any] = json.loads(line)
            if "begun" in message:  # which kind of file it is, in case it takes the child with it
                self._kind, self._begin = message["begun"], time.monotonic()
            else:
                return message
        return None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def child(folder: Path, seed: int) -> None:
    """Try the mutants whose numbers come, one a line, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    one = Child(folder, seed)
    one.warm_up()
    for line in sys.stdin:
        number = int(line)
        kind = one.originals.of(number).kind
        print(json.dumps({"begun": kind}), file=answers, flush=True)
        print(json.dumps(one.attempt(number)), file=answers, flush=True)


class Originals:
    """The files of which mutants are made."""

    def __init__(self, folder: Path, seed: int) -> None:
        from fuzz_files import make_originals

        self.folder, self._seed = folder, seed
        self._all = make_originals(folder)
        self._contents = [self._path(original).read_bytes() for original in self._all]

    def _path(self, original: Any) -> Path:
        return self.folder / (original.folder or "") / original.name

    def of(self, number: int) -> Any:
        """The original of a mutant."""
        return self._all[number % len(self._all)]

    def mutant(self, number: int, folder: Path) -> tuple[Path, str]:
        """Write a mutant into ``folder``; its path, and how it was damaged."""
        from fuzz_files import mutate

        original, rng = self.of(number), random.Random(f"{self._seed} {number}")
        at = number % len(self._all)
        others = [c for k, c in enumerate(self._contents) if self._all[k].kind == original.kind]
        how, content = "whole", self._contents[at]  # the first ones show that originals are used
        if number >= len(self._all):
            how, content = mutate(rng, content, others)
        if original.folder is None:
            path = folder / f"mutant{Path(original.name).suffix}"
            path.write_bytes(content)
        else:
            path = folder / "mutant"
            shutil.copytree(self.folder / original.folder, path)
            (path / original.name).write_bytes(content)
        return path, how


class Child:
    """Uses mutants as the command line does."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.originals = Originals(folder / "originals", seed)
        self._folder = folder

    def warm_up(self) -> None:
        """Use undamaged files, so that what is loaded once is there, and then set the bound."""
        for suffix, model in (("png", "image"), ("mp4", "image"), ("wav", "voice")):
            source = self.originals.folder / f"a.{suffix}"
            out = self._folder / f"warm.{suffix}"
            code, said = _said(
                ["translate", str(source), "-m", str(self.originals.folder / model), "-o", str(out)]
            )
            assert code == 0, said
        space = _kilobytes("VmSize") * 1024 + BOUND
        resource.setrlimit(resource.RLIMIT_AS, (space, resource.RLIM_INFINITY))

    def attempt(self, number: int) -> dict[str, Any]:
        """Use a mutant; how that ended."""
        original = self.originals.of(number)
        place = self._folder / "place"
        place.mkdir()
        path, how = self.originals.mutant(number, place)
        named = {"MUTANT": path, "OUT": place / "out", "ORIGINALS": self.originals.folder}
        arguments = [_filled(argument, named) for argument in original.arguments]
        before = set(_names(place))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        held, begin = _kilobytes("VmRSS"), time.monotonic()
        code, said = _said(arguments)
        seconds = time.monotonic() - begin
        added = max(0, _kilobytes("VmHWM") - held) * 1024
        left = sorted(set(_names(place)) - before)
        shutil.rmtree(place)
        return {
            "number": number,
            "kind": original.kind,
            "file": original.name,
            "how": how,
            "end": _judged(original, code, said, left, added)
            if how != "whole" or not code
            else "bad",
            "code": code,
            "said": said[-1500:],
            "left": left[:5],
            "memory": added,
            "seconds": round(seconds, 2),
        }


def _judged(original: Any, code: int, said: str, left: list[str], added: int) -> str:
    partial = any("partial" in name for name in left)
    if added > BOUND or "not enough memory" in said:
        return "memory"
    if original.kind == "training state":  # a run that goes on adds to its folder
        left = []
    if code == 0:
        return "bad" if partial or original.output != bool(left) else "used"
    lines = [line for line in said.splitlines() if not line.startswith("warning: ")]
    if original.name.endswith(
        ".tif"
    ):  # libtiff writes what it dislikes to stderr, and Pillow lets it
        lines = [line for line in lines if line.startswith("error: ")]
    refused = len(lines) == 1 and lines[0].startswith("error: ") and len(said) < 10_000
    bug = "should not happen" in said or "Traceback" in said
    return "refused" if code in (1, 2) and refused and not bug and not left else "bad"


def _filled(argument: str, named: dict[str, Path]) -> str:
    for name, path in named.items():
        if argument == name or argument.startswith((f"{name}/", f"{name}.")):
            return f"{path}{argument[len(name) :]}"
    return argument


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _kilobytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


def _said(arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command line, and all that it and the libraries in C say on stderr."""
    from cyclegan_media.cli import main as command_line

    with tempfile.TemporaryFile("w+", errors="replace") as file, _into(file.fileno()):
        if arguments[0] == "PLAN":
            code = _plan(Path(arguments[1]), Path(arguments[2]))
        else:
            quiet = [] if arguments[0] in ("info", "import") else ["--device", "cpu"]
            code = command_line([*arguments, *quiet, "--quiet"])
        sys.stderr.flush()
        file.seek(0)
        return code, file.read()


def _plan(manifest: Path, out: Path) -> int:
    """What a batch would do by a manifest: all that is done before it starts its workers."""
    from cyclegan_media.batch.inputs import find_entries
    from cyclegan_media.batch.plan import Destination, ModelInfo, make_plan
    from cyclegan_media.batch.settings import BatchOptions
    from cyclegan_media.errors import CycleganMediaError

    options = BatchOptions(model="m")
    try:
        entries = find_entries([str(manifest)], out, options)
        planned = make_plan(
            entries, {"m": ModelInfo("image", ("a2b",), "f")}, Destination(out), "auto"
        )
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        print(f"this should not happen: {error!r}", file=sys.stderr)
        return 1
    inside = all((out / one.target).resolve().is_relative_to(out.resolve()) for one in planned)
    print("" if inside else f"this should not happen: {planned}", file=sys.stderr, end="")
    return 0 if inside else 1


@contextmanager
def _into(descriptor: int) -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
