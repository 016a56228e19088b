"""Compare the methods on small unpaired problems, and write the page of results with its figures.

    python scripts/compare_methods.py --out docs/results

Trains every method with every seed at equal compute, through the toolkit's own trainer. What is
finished is kept in --work and used again where its settings are equal, so a run that was stopped
goes on when it is started again; the page is written anew after each round of all methods.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from compare_page import write_page
from compare_problems import Tiles, known_problem, monet_problem
from compare_runs import Result, baselines, kept_result, result_of
from compare_tables import Comparison
from compare_variants import METHODS, equal_steps

from cyclegan_media.errors import CycleganMediaError, UserError

STEPS = 700
"""Of vanilla CycleGAN; the others follow from its compute."""


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    torch.set_num_threads(args.threads)
    try:
        compare(args, ["python", "scripts/compare_methods.py", *(arguments or sys.argv[1:])])
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, start again to go on", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("docs/results"), help="for methods.md and its figures")
    add("--work", type=Path, default=Path("runs/compare"), help="for tiles, trainings, results")
    add("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)}")
    add("--seeds", type=int, default=3, help="how many trainings of each method (default: 3)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help=f"of vanilla CycleGAN (default: {STEPS})")
    length.add_argument("--flops", type=float, help="operations of one training instead")
    add("--only", choices=("known", "monet"), help="one of the two problems")
    add("--photos", type=Path, help="a folder of photographs and videos for the problem 'known'")
    add("--tiles", type=int, default=300, help="to train on, of each domain (default: 300)")
    add("--held-out", type=int, default=64, help="tiles to test on, of each domain (default: 64)")
    add("--threads", type=int, default=1)
    add("--notes", type=Path, help="Markdown for the head of the page: what somebody saw")
    add("--page-only", action="store_true", help="train nothing; a page of what is finished")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for every method's recipe")
    return parser.parse_args(arguments)


def compare(args: argparse.Namespace, command: list[str]) -> None:
    """Everything that the command line asks for."""
    methods = args.methods.split(",")
    for method in methods:
        if method not in METHODS:
            raise UserError(f"--methods {method}: unknown; there are: {', '.join(METHODS)}")
    if args.notes is not None and not args.notes.is_file():
        raise UserError(f"{args.notes}: no such file of notes")
    problems = _problems(args)
    one_step = equal_steps("vanilla", 0, args.set)[1]
    flops = args.flops or (args.steps or STEPS) * one_step
    lengths = {method: equal_steps(method, flops, args.set) for method in methods}
    for method, (steps, each) in lengths.items():
        print(f"{method}: {steps} steps of {each / 1e9:.2f} GFLOP, {steps * each / 1e12:.3f} TFLOP")
    page = Comparison(
        command=shlex.join(word for word in command if word != "--page-only"),
        flops=flops,
        threads=args.threads,
        notes=args.notes.read_text(encoding="utf-8") if args.notes else "",
        methods=methods,
        problems=problems,
        baselines={tiles.name: baselines(tiles) for tiles in problems},
    )
    for tiles in problems:
        for seed in range(args.seeds):
            for method in methods:
                steps, each = lengths[method]
                if args.page_only:
                    kept = kept_result(args.work, tiles, method, seed, steps, args.set)
                    page.results += [kept] if kept is not None else []
                    continue
                result, was_there = result_of(args.work, tiles, method, seed, steps, each, args.set)
                page.results.append(result)
                print(_line(result, was_there), flush=True)
            if not args.page_only:
                write_page(args.out, args.work, page)
    write_page(args.out, args.work, page)
    print(args.out / "methods.md")


def _problems(args: argparse.Namespace) -> list[Tiles]:
    made = []
    if args.only != "monet":
        folder = args.work / "known"
        made.append(known_problem(folder, args.photos, args.tiles, args.held_out))
    if args.only != "known":
        made.append(monet_problem(args.work / "monet", args.tiles, args.held_out))
    return made


def _line(result: Result, was_there: bool) -> str:
    told = result.failure or ", ".join(f"{k} {v:.3f}" for k, v in result.scores.items())
    how = "kept" if was_there else f"{result.seconds:.0f} s"
    now = time.strftime("%H:%M:%S")
    return f"{now} {result.problem} {result.method} seed {result.seed} ({how}): {told}"


if __name__ == "__main__":
    logging.getLogger("cyclegan_media").setLevel(logging.ERROR)
    sys.exit(main())
