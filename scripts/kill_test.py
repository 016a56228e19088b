"""Kill trainings and batches at random moments, and hold what they end with against a whole run.

python scripts/kill_test.py training --kills 50
python scripts/kill_test.py batch --kills 50

A small training is killed by SIGKILL before a change to the file system, at a random moment, or
halfway through the writing of a checkpoint's file, and resumed, until it ends; then the next one,
of another seed, until there were so many kills. Each must end with checkpoints, metrics and models
that are, to the bit, those of a training that nothing stopped. A batch of pictures and a clip is
started and killed so many times, every other time by one of its workers alone; each output that is
there must be whole after every kill, and in the end all of them, each once, and no process left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from test_batch_kill import batch_is_killed
from test_training_resume import check_kills
from training_runs import pictures, recipe

from cyclegan_media.training import train

ATTEMPTS = 12
"""In each training, of which some come to the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=["training", "batch"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1000)
    args = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if args.what == "training":
            kill_trainings(Path(folder), args.kills, args.seed)
        else:
            batch_is_killed(Path(folder), args.kills, args.seed)
            print(f"a batch was killed {args.kills} times and ended with the same outputs")
    print(f"{time.monotonic() - begin:.0f} s")


def kill_trainings(folder: Path, kills: int, seed: int) -> None:
    whole = folder / "whole"
    train(recipe(), pictures(whole), whole / "run", device="cpu", progress=False)
    kinds: Counter[str] = Counter()
    trainings = 0
    while kinds.total() < kills:
        trainings += 1
        one = folder / str(trainings)
        ends = check_kills(one, whole / "run", seed + trainings, ATTEMPTS)
        kinds.update(end.split()[0] for end in ends if end.endswith("killed"))
        print(
            f"training {trainings}: the same to the bit; killed so far: {dict(kinds)}", flush=True
        )
    print(f"{trainings} trainings were killed {kinds.total()} times: {dict(kinds)}")


if __name__ == "__main__":
    main()
