"""Train the voice systems for equally long, and write the page of what each reaches.

    python scripts/compare_voices.py --data-a vcc2016/SF1 --data-b vcc2016/TM1 --out docs/results

Each recipe gets the same processor time on one core. No sentence is learned from in both voices:
every second one goes to speaker A and the others to speaker B. The held-out sentences are seen by
no training, and none of them chooses a checkpoint. What is finished is kept in --work, and a run
that was stopped goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from compare_voices_page import write_page

from cyclegan_media.datasets.discover import Files
from cyclegan_media.errors import CycleganMediaError, RunError
from cyclegan_media.evaluation.history import trace
from cyclegan_media.evaluation.inputs import choose_files
from cyclegan_media.evaluation.voice import VoiceEvaluation
from cyclegan_media.files import atomic_file
from cyclegan_media.recipe import Recipe, load_recipe
from cyclegan_media.training import train
from cyclegan_media.translate import Translator

RECIPES = {
    "CycleGAN-VC": "cyclegan_vc_small",
    "CycleGAN-VC2": "cyclegan_vc2_small",
    "MaskCycleGAN-VC": "maskcyclegan_vc_small",
}
_TIMED = (4, 24)
"""Steps of the two trainings whose difference says what a step takes."""


@dataclass(frozen=True)
class Length:
    """Of one training."""

    steps: int
    step_seconds: float
    """Of the processor."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--data-a", type=Path, required=True, help="recordings of speaker A")
    add("--data-b", type=Path, required=True, help="recordings of speaker B, of the same sentences")
    add("--held-out", default="2*", metavar="GLOB", help="sentences to measure on (default: 2*)")
    add("--out", type=Path, default=Path("docs/results"), help="for voices.md and its figures")
    add("--work", type=Path, default=Path("runs/compare_voices"), help="for the trainings")
    add("--minutes", type=float, default=30, help="of processor time for each (default: 30)")
    add("--points", type=int, default=10, help="checkpoints that are measured (default: 10)")
    add("--recipes", default=",".join(RECIPES), help=f"of {', '.join(RECIPES)}")
    add("--precision", choices=("fp32", "bf16"), default="bf16", help="default: bf16")
    add("--page-only", action="store_true", help="train nothing; a page of what is finished")
    add("--notes", type=Path, help="Markdown for the head of the page: what somebody heard")
    args = parser.parse_args(arguments)
    unknown = [name for name in args.recipes.split(",") if name not in RECIPES]
    if unknown:
        parser.error(f"--recipes {unknown[0]}: unknown; there are: {', '.join(RECIPES)}")
    torch.set_num_threads(1)
    try:
        compare(args)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, start again to go on", file=sys.stderr)
        return 130
    return 0


def compare(args: argparse.Namespace) -> None:
    """Everything that the command line asks for."""
    everything = choose_files(args.data_a, args.data_b, ("audio",), args.held_out)
    files = Files(everything.train_a[0::2], everything.train_b[1::2], [], [])
    names = args.recipes.split(",")
    for name in names if not args.page_only else ():
        _train(args, name, files)
    done = [name for name in names if (args.work / _key(name) / "run" / "model").is_dir()]
    if not done:
        raise RunError(f"{args.work}: no training is finished yet; run without --page-only")
    speakers = {"a": args.data_a.resolve().name, "b": args.data_b.resolve().name}
    evaluation = VoiceEvaluation(everything, speakers)
    traces = {name: _traced(args.work / _key(name), evaluation) for name in done}
    models = {name: Translator.load(args.work / _key(name) / "run") for name in done}
    evaluation.compare(models)
    lengths = {name: _length_of(args.work / _key(name)) for name in done}
    notes = args.notes.read_text(encoding="utf-8") if args.notes else ""
    write_page(args, evaluation, traces, lengths, notes)
    print(args.out / "voices.md")


def _train(args: argparse.Namespace, name: str, files: Files) -> None:
    folder = args.work / _key(name)
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run"
    if (run / "model").is_dir():
        print(f"{name}: was trained before", flush=True)
        return
    if not (folder / "length.json").is_file():
        seconds = _step_seconds(folder, name, files, args.precision)
        steps = max(args.points, round(args.minutes * 60 / seconds))
        with atomic_file(folder / "length.json", overwrite=True) as partial:
            partial.write_text(json.dumps({"steps": steps, "step_seconds": seconds}))
    steps = _length_of(folder).steps
    print(f"{name}: {steps} steps", flush=True)
    every = max(1, steps // args.points)
    recipe = _recipe(name, steps, every)
    resume = bool(list((run / "checkpoints").glob("*")))
    start = time.perf_counter()
    result = train(
        recipe, files, run, resume=resume, device="cpu", precision=args.precision, progress=False
    )
    if result.interrupted:
        raise KeyboardInterrupt
    print(f"{name}: trained in {(time.perf_counter() - start) / 60:.0f} minutes", flush=True)


def _recipe(name: str, steps: int, every: int) -> Recipe:
    """Half of the steps at the full learning rate, half while it decays; all checkpoints stay."""
    settings = {
        "steps": steps - steps // 2,
        "decay_steps": steps // 2,
        "checkpoint_every": every,
        "validate_every": every,
        "preview_every": steps,
        "keep": steps,
    }
    return load_recipe(RECIPES[name], [f"trainer.{key}={value}" for key, value in settings.items()])


def _step_seconds(folder: Path, name: str, files: Files, precision: Any) -> float:
    """Processor time of a step, as the difference of two trainings that differ in steps alone.

    A first training fills the cache of analysed recordings and pays for what happens once.
    """
    took = []
    for steps in (_TIMED[0], *_TIMED):
        trial = folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        start = time.process_time()
        train(
            _recipe(name, steps, steps),
            files,
            trial,
            device="cpu",
            precision=precision,
            progress=False,
        )
        took.append(time.process_time() - start)
        shutil.rmtree(trial, ignore_errors=True)
    return (took[2] - took[1]) / (_TIMED[1] - _TIMED[0])


def _traced(folder: Path, evaluation: VoiceEvaluation) -> dict[str, Any]:
    """What every checkpoint reaches on the held-out sentences; measured once, then remembered."""
    kept = folder / "trace.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))

    def score(model: Path) -> Mapping[str, Mapping[str, float]]:
        return evaluation.score(Translator.load(model))

    found = trace(folder / "run", score)
    with atomic_file(kept, overwrite=True) as partial:
        partial.write_text(json.dumps(found))
    return found


def _length_of(folder: Path) -> Length:
    return Length(**json.loads((folder / "length.json").read_text(encoding="utf-8")))


def _key(name: str) -> str:
    return RECIPES[name]


if __name__ == "__main__":
    sys.exit(main())
