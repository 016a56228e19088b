"""How fast CycleGAN trains at 256 × 256 pixels, against the loop of its release.

    python scripts/bench_train.py [--quick] [--compile] [--json FILE]

Both train the same networks (ResNet with 9 blocks and width 64, 70 × 70 PatchGAN) with the same
batch (1), losses (least squares, cycle, identity), histories of 50 and Adam. The release's loop is
written plainly below: eager fp32, each network called for each thing it makes. The toolkit's is
the step that ``cyclegan-media train`` makes, in single precision and, where the processor has the
instructions, in bfloat16. A step is all that a trainer does but reading pictures.

Contenders take turns, so that a machine that is busy for a while is so for all of them. The limit
is the step's operations at the rate of a matrix product in the contender's precision, measured in
the same run: a share of 100 % would mean that nothing but convolutions takes time.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import bench_table as bench
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.core import CycleGAN, training_step
from cyclegan_media.device import Device
from cyclegan_media.recipe import Recipe, build_networks, build_objective, load_recipe
from cyclegan_media.training.processes import Precision, make_fabric
from cyclegan_media.training.state import initial_state, update_average
from cyclegan_media.translate.precision import has_bf16

Step = Callable[[Tensor, Tensor], None]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PLAIN = "release's loop, fp32"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps: under two minutes")
    parser.add_argument("--compile", action="store_true", help="bfloat16 compiled, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    about = bench.machine(args.device)
    recipe = load_recipe("cyclegan", ["trainer.ema=0"])
    roster = build_objective(recipe).roster
    contenders: dict[str, tuple[str, Step]] = {
        PLAIN: ("fp32", release_step(build_networks(recipe, roster).to(args.device))),
        "this toolkit, fp32": ("fp32", toolkit_step(recipe, args.device, "fp32")),
    }
    if args.device == "cuda" or has_bf16():
        step = toolkit_step(recipe, args.device, "bf16")
        contenders["this toolkit, bf16"] = ("bf16", step)
        if args.compile:
            step = toolkit_step(recipe, args.device, "bf16", compiled=True)
            contenders["this toolkit, bf16, compiled"] = ("bf16", step)
    rounds = 2 if args.quick else 5
    if args.device == "cuda":
        rounds *= 10
    taken = take_turns(contenders, rounds, args.device)
    content = report(contenders, taken, about, operations(recipe))
    bench.write_json(args.json, {"machine": about, **content})
    return 0


def toolkit_step(
    recipe: Recipe, device: Device, precision: Precision, compiled: bool = False
) -> Step:
    """The step of ``cyclegan-media train``."""
    objective, fabric = build_objective(recipe), make_fabric(device, precision)
    state = initial_state(recipe, objective, fabric, compiled=compiled)

    def step(real_a: Tensor, real_b: Tensor) -> None:
        training_step(
            state.prepared,
            objective,
            state.optimisers,
            state.histories,
            real_a,
            real_b,
            0,
            backward=fabric.backward,
            limit=recipe.trainer.divergence_limit,
        )
        update_average(state)

    return step


class Pool:
    """The last 50 generated pictures; half of the time an old one comes back."""

    def __init__(self) -> None:
        self.pictures: list[Tensor] = []

    def query(self, picture: Tensor) -> Tensor:
        if len(self.pictures) < 50:
            self.pictures.append(picture)
            return picture
        if random.random() < 0.5:
            return picture
        place = random.randrange(50)
        old, self.pictures[place] = self.pictures[place], picture
        return old


def release_step(networks: CycleGAN) -> Step:
    """The step of the release with its options' defaults, from the equations of Zhu 2017."""
    G, F = networks.generator_a2b, networks.generator_b2a
    D_A, D_B = networks.discriminator_a, networks.discriminator_b
    least_squares, l1 = nn.MSELoss(), nn.L1Loss()
    generators = torch.optim.Adam(
        itertools.chain(G.parameters(), F.parameters()), 2e-4, (0.5, 0.999)
    )
    judges = torch.optim.Adam(
        itertools.chain(D_A.parameters(), D_B.parameters()), 2e-4, (0.5, 0.999)
    )
    pool_a, pool_b = Pool(), Pool()

    def wants(scores: Tensor, value: float) -> Tensor:
        return least_squares(scores, torch.full_like(scores, value))

    def judge(network: nn.Module, real: Tensor, fake: Tensor) -> None:
        loss = 0.5 * (wants(network(real), 1) + wants(network(fake.detach()), 0))
        loss.backward()

    def step(real_a: Tensor, real_b: Tensor) -> None:
        fake_b, fake_a = G(real_a), F(real_b)
        again_a, again_b = F(fake_b), G(fake_a)
        for network in (D_A, D_B):
            network.requires_grad_(False)
        generators.zero_grad()
        identities = 5 * (l1(G(real_b), real_b) + l1(F(real_a), real_a))
        games = wants(D_B(fake_b), 1) + wants(D_A(fake_a), 1)
        cycles = 10 * (l1(again_a, real_a) + l1(again_b, real_b))
        (identities + games + cycles).backward()
        generators.step()
        for network in (D_A, D_B):
            network.requires_grad_(True)
        judges.zero_grad()
        judge(D_A, real_a, pool_a.query(fake_a.detach()))
        judge(D_B, real_b, pool_b.query(fake_b.detach()))
        judges.step()

    return step


def take_turns(
    contenders: dict[str, tuple[str, Step]], rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each step after the first, the contenders in turn."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    real_a, real_b = (torch.rand(1, 3, 256, 256, device=device) * 2 - 1 for _ in "ab")
    for k in range(rounds + 1):
        for name, (_, step) in contenders.items():
            start = time.perf_counter()
            step(real_a, real_b)
            bench.wait_for(device)
            if k:
                taken[name].append(time.perf_counter() - start)
            print(f"round {k} of {rounds}: {name}", file=sys.stderr)
    return taken


def operations(recipe: Recipe) -> int:
    """Of the convolutions of a step: forwards, and backwards wherever a gradient is needed."""
    networks = build_networks(recipe, build_objective(recipe).roster).to("meta")
    pictures = torch.empty(1, 3, 256, 256, device="meta")
    with FlopCounterMode(display=False) as counter:
        release_step(networks)(pictures, pictures)
    return int(counter.get_total_flops())


def report(
    contenders: dict[str, tuple[str, Step]],
    taken: dict[str, list[float]],
    about: dict[str, Any],
    flop: int,
) -> dict[str, Any]:
    device = "cpu" if about["gpu"] is None else "cuda"
    names = {name for name, _ in contenders.values()}
    rates = {name: bench.matmul_rate(DTYPES[name], device) for name in names}
    rows, figures = [], {}
    plain = bench.median(taken[PLAIN])
    for name, (dtype, _) in contenders.items():
        middle = bench.median(taken[name])
        share = flop / middle / rates[dtype]
        figures[name] = {"seconds": taken[name], "ratio": plain / middle, "share_of_limit": share}
        rows.append(
            (
                name,
                f"{middle:.3g}",
                f"± {100 * bench.spread(taken[name]):.0f} %",
                f"{plain / middle:.2f}",
                f"{100 * share:.0f} %",
            )
        )
    print(bench.describe(about))
    print(f"One step: {flop / 1e12:.2f} TFLOP; matrix products: ", end="")
    print(", ".join(f"{rate / 1e9:.0f} GFLOP/s in {d}" for d, rate in sorted(rates.items())))
    print()
    head = ("256 × 256, batch 1", "s a step", "spread", "times as fast", "share of the limit")
    print(bench.table(head, rows))
    return {"operations": flop, "rates": rates, "contenders": figures}


if __name__ == "__main__":
    sys.exit(main())
