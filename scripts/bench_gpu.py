"""How fast a video is translated on a GPU, how busy that is, and which stage is the limit.

    python scripts/bench_gpu.py [--clip FILE] [--frames 2000] [--side 256] [--json FILE]

Whole runs of ``cyclegan-media translate --stats`` with CycleGAN's ResNet generator (9 blocks, width
64, random weights), without start-up and loading: each stage is timed by the command itself, and
"busy" is the share of the run that the network was at work. Against them the release's way on the
same GPU: ffmpeg to PNG, one picture after the other in eager fp32, ffmpeg back, of which further
frames are timed. "compiled" includes compiling, a minute or so the first time. What a GPU lacks,
such as NVENC, is named and left out. ``--device cpu`` tries the
script itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_table as bench
import torch
from bench_translate import SPEC, encode, ffmpeg, make_clip, translate_plainly
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.backbones import build
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.translate.engine import Engine

BATCH = 16
OPTIONS = {
    "fp32": ["--precision", "fp32", "--no-compile"],
    "auto": ["--no-compile"],
    "auto, compiled": ["--compile"],
    "auto, NVDEC": ["--no-compile", "--decoder", "nvdec"],
    "auto, NVDEC and NVENC": ["--no-compile", "--decoder", "nvdec", "--codec", "h264_nvenc"],
    "auto, x264 veryfast": ["--no-compile", "--preset", "veryfast"],
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", metavar="FILE", help="a video (default: FFmpeg's test picture)")
    parser.add_argument("--frames", type=int, default=2000, metavar="N", help="of the toolkit's")
    parser.add_argument("--plain", type=int, default=200, metavar="N", help="of the release's way")
    parser.add_argument("--side", type=int, default=256, metavar="PIXELS", help="of a frame")
    parser.add_argument("--width", type=int, default=64, help="of the network")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--options", nargs="+", choices=OPTIONS, default=[*OPTIONS])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here that PyTorch can use; try --device cpu")
    about = bench.machine(args.device)
    print(bench.describe(about), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), args)
        limit, alone, plain = work.limit(), work.alone(), work.plain()
        runs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(args.rounds):  # in turns
            for name in args.options:
                stats = work.translate(name, OPTIONS[name])
                if stats is not None:
                    runs.setdefault(name, []).append(stats)
    rows = [["the release's way, fp32", f"{plain:.1f}", "", "1.00", f"{plain / limit:.0%}"]]
    rows[0] += [""] * 4
    rows += [row(name, stats, plain, limit) for name, stats in runs.items()]
    head = ["", "frames/s", "spread", "times", "of the limit", "busy", "reading", "writing"]
    print(bench.table([*head, "held up by"], rows))
    print(
        f"\nThe network alone, {BATCH} frames at once in the precision of auto, runs at {alone:.1f}"
        f" frames/s; the limit, its operations at the rate of a matrix product in bf16, is"
        f" {limit:.1f}. Medians of {args.rounds} runs."
    )
    figures = {"limit": limit, "network alone": alone, "the release's way": plain, "runs": runs}
    bench.write_json(args.json, {"machine": about, **figures})
    return 0


def row(name: str, runs: list[dict[str, Any]], plain: float, limit: float) -> list[str]:
    """Medians of a contender's runs."""
    rates = [run["frames"] / run["seconds"] for run in runs]
    rate = bench.median(rates)
    shares = [
        bench.median([run["stages"][stage] / run["seconds"] for run in runs])
        for stage in ("translating", "reading", "writing")
    ]
    return [
        f"translate, {name}",
        f"{rate:.1f}",
        f"± {bench.spread(rates):.0%}",
        f"{rate / plain:.2f}",
        f"{rate / limit:.0%}",
        *(f"{share:.0%}" for share in shares),
        runs[-1]["limit"] or "nothing: too short",
    ]


class Work:
    """The clips, the model, and what translates them. All rates are frames a second."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args, self.model = folder, args, folder / "model"
        spec = {**SPEC, "width": args.width}
        torch.manual_seed(0)
        self.network = build(spec).eval().requires_grad_(False)
        config = ModelConfig(modality="image", generators={"a2b": spec})
        save_model(self.model, PretrainedModel(config, {"a2b": self.network}))
        for count in {args.frames, args.plain, args.plain // 4}:
            make_clip(self.clip(count), args.clip, count, args.side)

    def clip(self, count: int) -> Path:
        return self.folder / f"clip-{count}.mp4"

    def limit(self) -> float:
        picture = torch.zeros(1, 3, self.args.side, self.args.side)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            self.network(picture)
        return bench.matmul_rate(torch.bfloat16, self.args.device) / counter.get_total_flops()

    def alone(self) -> float:
        engine = Engine(torch.device(self.args.device), "auto")
        run = engine.ready(load_model(self.model, device=engine.device).generators["a2b"].eval())
        frames = torch.rand(BATCH, 3, self.args.side, self.args.side, device=engine.device) * 2 - 1

        def once() -> None:
            run(frames)
            bench.wait_for(self.args.device)

        with (
            torch.inference_mode(),
            torch.autocast(engine.device.type, engine.dtype, engine.dtype != torch.float32),
        ):
            return BATCH / bench.median(bench.seconds(once, 5))

    def plain(self) -> float:
        """By the release's way: what further frames take, free of its start-up."""
        few, many = self.args.plain // 4, self.args.plain
        seconds = []
        for count in (few, many):
            start = time.perf_counter()
            self._plain(count)
            seconds.append(time.perf_counter() - start)
        return (many - few) / (seconds[1] - seconds[0])

    def _plain(self, count: int) -> None:
        inputs, outputs = self.folder / f"in-{count}", self.folder / f"out-{count}"
        for each in (inputs, outputs):
            each.mkdir()
        ffmpeg("-i", str(self.clip(count)), str(inputs / "%05d.png"))
        translate_plainly(self.model, inputs, outputs, self.args.device)
        encode(outputs / "%05d.png", self.folder / "plain.mp4")

    def translate(self, name: str, options: list[str]) -> dict[str, Any] | None:
        """What ``--stats`` says of a run; ``None`` where the machine lacks what it needs."""
        target = self.folder / "out.mp4"
        arguments = ["translate", str(self.clip(self.args.frames)), "-m", str(self.model)]
        arguments += ["-o", str(target), "--overwrite", "--quiet", "--stats", "--json"]
        command = [sys.executable, "-m", "cyclegan_media.cli", *arguments, *options]
        run = subprocess.run(
            [*command, "--device", self.args.device], capture_output=True, text=True
        )
        if run.returncode:
            print(f"left out: {name}: {run.stderr.strip()}", file=sys.stderr)
            return None
        return dict(json.loads(run.stdout)[0]["stats"])


if __name__ == "__main__":
    sys.exit(main())
