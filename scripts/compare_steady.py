"""What the temporal term of the recipe `steady` brings, on scenes of which the truth is known.

    python scripts/compare_steady.py [--steps N] [--seeds N] [--keep DIR] [--json FILE]

Draws clips of the demonstration's scenes by day and, of other scenes, at dusk; trains the
demonstration's small networks on pairs of consecutive frames, once without and once with the
temporal term, for as many steps and from the same random numbers; and translates clips of scenes
that neither has seen, frame by frame and with --steady. PSNR is to the true dusk; warping error
and flicker are those of scripts/measure_steadiness.py (less is steadier).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bench_table as bench
import torch
from measure_steadiness import RAW, STEADY, read, sharpness, translated

from cyclegan_media.demo.scenes import write_clip
from cyclegan_media.demo.world import make_scene
from cyclegan_media.metrics.video import SOURCE, steadiness
from cyclegan_media.translate import Translator
from cyclegan_media.translate.steady import STRENGTH

SIZE = (96, 144)
FPS = 12
SECONDS = 4.0
TRAINED = 16
"""Clips of each domain."""
HELD_OUT = 4
_RECIPE = """\
extends: demo_image
name: {name}
method: clips
objective:
  {term}
data:
  clip_frames: 2
  flow: true
  frames_per_video: 48
trainer:
  steps: {half}
  decay_steps: {half}
  checkpoint_every: {half}
  validate_every: {steps}
  preview_every: {steps}
"""
_TERMS = {"without": "temporal: {weight: 0}", "with": "temporal: {weight: 10}"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1200, help="of each training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and keep all of it")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    about = bench.machine()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        make_clips(folder)
        scores = {}
        for kind in _TERMS:
            each = [
                score(train(folder, kind, seed, args.steps), folder) for seed in range(args.seeds)
            ]
            for way in (RAW, STEADY):
                scores[f"{kind} the term, {way}"] = {
                    measure: statistics.mean(one[way][measure] for one in each)
                    for measure in each[0][way]
                }
        scores["the source itself"] = each[0][SOURCE]
    print(bench.describe(about))
    measures = list(next(iter(scores.values())))
    rows = [
        [name, *(f"{found[m]:.3f}" if m in found else "" for m in measures)]
        for name, found in scores.items()
    ]
    print(bench.table([f"{args.steps} steps, {args.seeds} seed(s)", *measures], rows))
    bench.write_json(args.json, {"machine": about, "steps": args.steps, "scores": scores})
    return 0


def make_clips(folder: Path) -> None:
    """``A`` and ``B`` to train on, which share no scene, and ``test`` and ``truth``."""
    plan = {
        "A": ("a", range(TRAINED)),
        "B": ("b", range(100, 100 + TRAINED)),
        "test": ("a", range(200, 200 + HELD_OUT)),
        "truth": ("b", range(200, 200 + HELD_OUT)),
    }
    for name, (domain, seeds) in plan.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            target = folder / name / f"{seed}.mp4"
            if not target.exists():
                write_clip(target, make_scene(seed), domain, SECONDS, FPS, SIZE, with_sound=False)


def train(folder: Path, kind: str, seed: int, steps: int) -> Path:
    """The run of a training, made unless it is there."""
    run, recipe = folder / f"{kind}-{seed}", folder / f"{kind}.yaml"
    recipe.write_text(
        _RECIPE.format(name=f"steady_{kind}", term=_TERMS[kind], half=steps // 2, steps=steps)
    )
    if not (run / "model").exists():
        data = ["--data-a", str(folder / "A"), "--data-b", str(folder / "B")]
        command = [sys.executable, "-m", "cyclegan_media.cli", "train", str(recipe), *data]
        subprocess.run(
            [*command, "--out", str(run), "--set", f"trainer.seed={seed}", "--quiet"], check=True
        )
    return run


def score(run: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Means over the held-out clips of each measure, by the way of translating."""
    model = Translator.load(run, device="cpu", precision="fp32")
    found: dict[str, list[dict[str, float]]] = {SOURCE: [], RAW: [], STEADY: []}
    for source, truth in pairs(folder):
        outputs = translated(model, source, "a2b", STRENGTH, run.name)
        steady = steadiness(source, outputs)
        for name, clip in {SOURCE: source, **outputs}.items():
            error = (clip - truth).square().mean()
            found[name].append(
                {
                    "warping error × 10⁴": 1e4 * steady[name].warping_error,
                    "flicker × 10⁶": 1e6 * steady[name].flicker_energy,
                    "temporal SSIM": steady[name].temporal_ssim,
                    "PSNR to the truth": float(10 * torch.log10(4 / error)),
                    "sharpness to the truth's": sharpness(clip) / sharpness(truth),
                }
            )
    return {
        name: {measure: statistics.mean(one[measure] for one in each) for measure in each[0]}
        for name, each in found.items()
    }


def pairs(folder: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Held-out clips by day and their true dusk."""
    for path in sorted((folder / "test").iterdir()):
        yield read(path, 10_000, None), read(folder / "truth" / path.name, 10_000, None)


if __name__ == "__main__":
    sys.exit(main())
