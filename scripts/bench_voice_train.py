"""How fast CycleGAN-VC2 trains, against the loop of its published PyTorch release.

    python scripts/bench_voice_train.py [--quick] [--batch 8] [--compile] [--json FILE]

Both train the networks of the recipe ``cyclegan_vc2`` with its losses and Adam on segments of 128
frames. The published loop is written plainly below: eager fp32, one segment of each voice a step,
each network called for each thing it makes, the generators once more for the discriminators' step.
The toolkit's is the step that ``cyclegan-media train`` makes. What is compared is how many segments
of each voice are learned from in a second, since a step may have several.

Contenders take turns, so that a machine that is busy for a while is so for all of them. The limit
is the operations that a segment needs at the rate of a matrix product in the contender's precision,
measured in the same run; what the published loop computes twice does not count as needed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from typing import Any

import bench_table as bench
import torch
from bench_train import DTYPES, Step, toolkit_step
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.core import CycleGAN, Histories
from cyclegan_media.recipe import Recipe, build_networks, build_objective, load_recipe
from cyclegan_media.translate.precision import has_bf16

PLAIN = "published loop, fp32"
Contender = tuple[str, int, Step]
"""Precision, segments of each voice a step, the step."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps: under two minutes")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="of the toolkit's steps")
    parser.add_argument("--compile", action="store_true", help="bfloat16 compiled, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    about = bench.machine(args.device)
    recipe = load_recipe("cyclegan_vc2", ["trainer.ema=0"])
    networks = build_networks(recipe, build_objective(recipe).roster).to(args.device)
    contenders: dict[str, Contender] = {
        PLAIN: ("fp32", 1, published_step(networks)),
        "this toolkit, fp32": ("fp32", 1, toolkit_step(recipe, args.device, "fp32")),
    }
    if args.device == "cuda" or has_bf16():
        step = toolkit_step(recipe, args.device, "bf16")
        contenders["this toolkit, bf16"] = ("bf16", 1, step)
        contenders["this toolkit, bf16 in batches"] = ("bf16", args.batch, step)
        if args.compile:
            step = toolkit_step(recipe, args.device, "bf16", compiled=True)
            contenders["this toolkit, bf16 in batches, compiled"] = ("bf16", args.batch, step)
    rounds = 2 if args.quick else 6
    if args.device == "cuda":
        rounds *= 10
    taken = take_turns(contenders, recipe, rounds, args.device)
    content = report(contenders, taken, about, operations(recipe))
    bench.write_json(args.json, {"machine": about, **content})
    return 0


def published_step(networks: CycleGAN) -> Step:
    """The published step with the two-step games of the paper (Kaneko 2019, equations 1 to 4)."""
    G, F = networks.generator_a2b, networks.generator_b2a
    judges = {
        name: network
        for name, network in networks.named_children()
        if name.startswith("discriminator")
    }
    D_A, D_B = judges["discriminator_a"], judges["discriminator_b"]
    D2_A, D2_B = judges["discriminator_cycle_a"], judges["discriminator_cycle_b"]
    generators = torch.optim.Adam(
        itertools.chain(G.parameters(), F.parameters()), lr=2e-4, betas=(0.5, 0.999)
    )
    discriminators = torch.optim.Adam(
        networks.discriminator_parameters(), lr=1e-4, betas=(0.5, 0.999)
    )

    def forget() -> None:
        generators.zero_grad()
        discriminators.zero_grad()

    def wants(scores: Tensor, value: float) -> Tensor:
        return (value - scores).square().mean()

    def step(a: Tensor, b: Tensor) -> None:
        fake_b, fake_a = G(a), F(b)
        again_a, again_b = F(fake_b), G(fake_a)
        same_a, same_b = F(a), G(b)
        cycles = (a - again_a).abs().mean() + (b - again_b).abs().mean()
        identities = (a - same_a).abs().mean() + (b - same_b).abs().mean()
        games = wants(D_A(fake_a), 1) + wants(D_B(fake_b), 1)
        second = wants(D2_A(again_a), 1) + wants(D2_B(again_b), 1)
        forget()
        (games + second + 10 * cycles + 5 * identities).backward()
        generators.step()
        fake_a, fake_b = F(b), G(a)
        again_a, again_b = F(fake_b), G(fake_a)
        loss = sum(
            wants(judge(real), 1) + wants(judge(fake), 0)
            for judge, real, fake in (
                (D_A, a, fake_a),
                (D_B, b, fake_b),
                (D2_A, a, again_a),
                (D2_B, b, again_b),
            )
        )
        forget()
        (loss / 2).backward()
        discriminators.step()

    return step


def take_turns(
    contenders: dict[str, Contender], recipe: Recipe, rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each step after the first, the contenders in turn."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    shape = recipe.data.example_shape
    for k in range(rounds + 1):
        for name, (_, batch, step) in contenders.items():
            real_a, real_b = torch.randn(2, batch, *shape, device=device)
            start = time.perf_counter()
            step(real_a, real_b)
            bench.wait_for(device)
            if k:
                taken[name].append(time.perf_counter() - start)
            print(f"round {k} of {rounds}: {name}", file=sys.stderr)
    return taken


def operations(recipe: Recipe) -> int:
    """That a step on one segment of each voice needs, without anything computed twice."""
    objective = build_objective(recipe)
    networks = build_networks(recipe, objective.roster).to("meta")
    t = objective.method(networks, *torch.empty(2, 1, *recipe.data.example_shape, device="meta"))
    judges = list(networks.discriminator_parameters())
    with FlopCounterMode(display=False) as counter:
        for needed, losses in (
            (False, lambda: objective.generators(t)),
            (True, lambda: objective.discriminators(t, Histories(0))),
        ):
            for parameter in judges:
                parameter.requires_grad_(needed)
            torch.stack(list(losses().values())).sum().backward()
    return int(counter.get_total_flops())


def report(
    contenders: dict[str, Contender],
    taken: dict[str, list[float]],
    about: dict[str, Any],
    flop: int,
) -> dict[str, Any]:
    names = {dtype for dtype, _, _ in contenders.values()}
    device = "cpu" if about["gpu"] is None else "cuda"
    rates = {name: bench.matmul_rate(DTYPES[name], device) for name in names}
    rows, figures = [], {}
    plain = 1 / bench.median(taken[PLAIN])
    for name, (dtype, batch, _) in contenders.items():
        middle = bench.median(taken[name])
        rate = batch / middle
        share = flop * rate / rates[dtype]
        figures[name] = {
            "batch": batch,
            "seconds": taken[name],
            "segments_per_second": rate,
            "ratio": rate / plain,
            "share_of_limit": share,
        }
        rows.append(
            (
                name,
                str(batch),
                f"{middle:.3g}",
                f"± {100 * bench.spread(taken[name]):.0f} %",
                f"{rate:.2f}",
                f"{rate / plain:.2f}",
                f"{100 * share:.0f} %",
            )
        )
    print(bench.describe(about))
    print(f"A step on one segment of each voice: {flop / 1e9:.0f} GFLOP; matrix products: ", end="")
    print(", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in sorted(rates.items())))
    print()
    head = ("CycleGAN-VC2", "batch", "s a step", "spread", "segments/s", "times", "of the limit")
    print(bench.table(head, rows))
    return {"operations": flop, "rates": rates, "contenders": figures}


if __name__ == "__main__":
    sys.exit(main())
