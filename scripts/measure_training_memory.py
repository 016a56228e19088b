"""What activation checkpointing saves in training, and whether it changes anything.

python scripts/measure_training_memory.py pix2pixhd cyclegan --size 1024x512 --count-only
python scripts/measure_training_memory.py cyclegan_small --size 512x256

prints the tables of docs/high_resolution.md, for a step of each recipe with crops of this size,
with and without checkpointing its generators. What the generators' forward pass leaves for the
backward pass is counted at any size, without computing it. Then a step is made, in a process of
its own, whose memory is all that it holds at its peak: networks, gradients, optimisers and
activations.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from cyclegan_media.core import training_step
from cyclegan_media.recipe import (
    Recipe,
    build_networks,
    build_objective,
    load_recipe,
    parse_recipe,
)
from cyclegan_media.training.state import initial_state
from cyclegan_media.translate.tiles_memory import LiveBytes

WAYS = ("kept", "checkpointed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", nargs="+")
    parser.add_argument("--size", default="1024x512", help="width x height")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count-only", action="store_true", help="make no step")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(args.recipe[0], args.size, *args.one)))
        return
    print(f"One step with crops of {args.size}, one of each domain:\n")
    print(
        "| recipe | activations | left for the backward pass, GiB | peak of the process, GiB"
        " | CPU s | sum of the losses | largest difference of a gradient |"
    )
    print("|---|---|---|---|---|---|---|")
    for recipe in args.recipe:
        with tempfile.TemporaryDirectory() as folder:
            for way in WAYS:
                cells = [recipe, way, f"{kept(recipe, args.size, way):.2f}"]
                if not args.count_only:
                    cells += _step(args, recipe, way, folder)
                print(f"| {' | '.join(cells)} |", flush=True)


def _step(args: argparse.Namespace, recipe: str, way: str, folder: str) -> list[str]:
    options = ["--size", args.size, "--threads", str(args.threads), "--one", way, folder]
    command = [sys.executable, __file__, recipe, *options]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured = json.loads(told.splitlines()[-1])
    difference = f"{_difference(Path(folder)):.1e}" if way == WAYS[-1] else ""
    numbers = f"{measured['GiB']:.2f}", f"{measured['seconds']:.0f}", f"{measured['loss']:.6f}"
    return [*numbers, difference]


def recipe_of(name: str, size: str, way: str) -> Recipe:
    """The recipe with crops of this size, with or without checkpointing."""
    width, height = map(int, size.split("x"))
    content = load_recipe(name).model_dump(mode="json")
    content["model"]["generator"]["checkpointing"] = way == "checkpointed"
    content["data"].update(load_size=height, crop_size=height, crop_width=width)
    return parse_recipe(content)


def kept(name: str, size: str, way: str) -> float:
    """GiB that exist between the generators' forward pass and their backward pass."""
    width, height = map(int, size.split("x"))
    recipe = recipe_of(name, size, way)
    objective = build_objective(recipe)
    with torch.device("meta"):  # shapes without values
        networks = build_networks(recipe, objective.roster)
        real_a, real_b = torch.empty(2, 1, 3, height, width)
        with LiveBytes() as live:
            summands = objective.generators(objective.method(networks, real_a, real_b, None, 0))
            assert summands
            return live.now / 2**30


def measure(recipe_name: str, size: str, way: str, folder: str) -> dict[str, float]:
    """Make a step, in this process; the generators' gradients go to ``folder``."""
    width, height = map(int, size.split("x"))
    recipe = recipe_of(recipe_name, size, way)
    objective = build_objective(recipe)
    fabric = Fabric(accelerator="cpu", devices=1)
    state = initial_state(recipe, objective, fabric)
    random = torch.Generator().manual_seed(1)
    real_a, real_b = (torch.rand(1, 3, height, width, generator=random) * 2 - 1 for _ in "ab")
    start = time.process_time()
    losses, _ = training_step(
        state.prepared, objective, state.optimisers, state.histories, real_a, real_b, step=0
    )
    seconds = time.process_time() - start
    peak = _peak()
    gradients = {
        name: parameter.grad
        for name, parameter in state.networks.named_parameters()
        if name.startswith("generator") and parameter.grad is not None
    }
    assert gradients
    torch.save(gradients, Path(folder) / f"{way}.pt")
    return {"GiB": peak, "seconds": seconds, "loss": float(sum(losses.values()))}


def _difference(folder: Path) -> float:
    kept, checkpointed = (
        torch.load(folder / f"{way}.pt", mmap=True, weights_only=True) for way in WAYS
    )
    assert kept.keys() == checkpointed.keys()

    def largest(one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max())

    return max(largest(kept[name], checkpointed[name]) for name in kept)


def _peak() -> float:
    """GiB that this process has held at most."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 2**20


if __name__ == "__main__":
    main()
