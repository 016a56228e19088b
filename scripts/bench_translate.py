"""How fast a video is translated, against the way that the CycleGAN release offers.

    python scripts/bench_translate.py [--quick] [--reference DIR] [--clip FILE] [--json FILE]

The work is CycleGAN's ResNet generator (9 blocks, width 64) on frames of 256 × 256 pixels, whole
commands as a user would wait for them. The release's way: ffmpeg writes the frames as PNG, one
picture after the other goes through the network in eager fp32, ffmpeg makes a video of the results.
``--reference DIR`` is a checkout of the release, whose test.py is then run; without it, the same
steps are written plainly below.

Each command translates a short clip and a longer one; the difference is what a further frame takes,
the rest is what the command takes once (start-up, the first frames of int8). Contenders take turns,
so that a machine that is busy for a while is so for all of them. The limit is the network's
operations at the rate of a matrix product in bfloat16, measured in the same run. "distilled" is the
student that the command distill makes of such a network by default, here with random weights.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_table as bench
import torch
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.backbones import build
from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.distill.student import student_spec
from cyclegan_media.media.video import VideoReader
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.translate.engine import Engine, Run
from cyclegan_media.translate.precision import has_bf16, has_int8
from cyclegan_media.translate.quantise import FRAMES, psnr
from cyclegan_media.translate.streams import Streams

SPEC = {"name": "resnet", "width": 64, "blocks": 9}
SIDE = 256
SHORT = 12
"""Frames of the short clip: more than int8 looks at before it begins."""
_STUDENT = "translate, distilled"
_TIMES = 10
"""So many times as many frames for the student, which takes little time for one."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", metavar="FILE", help="a video (default: FFmpeg's test picture)")
    parser.add_argument("--reference", metavar="DIR", help="a checkout of the CycleGAN release")
    parser.add_argument("--quick", action="store_true", help="one run of each: under two minutes")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    rounds, longer = (1, 24) if args.quick else (3, 40)
    about = bench.machine()
    with tempfile.TemporaryDirectory() as name:
        work = Work(Path(name), args.clip, longer, args.reference)
        floor = measure_floor(work.network)
        alone = {way: model_alone(work, way, 3 if args.quick else 8) for way in precisions()}
        taken: dict[str, list[dict[int, float]]] = {way: [] for way in work.commands}
        for k in range(rounds):
            for way in work.commands:
                taken[way].append({count: work.timed(way, count) for count in (SHORT, longer)})
                print(f"round {k + 1} of {rounds}: {way}", file=sys.stderr)
    print(bench.describe(about))
    content = report(taken, alone, floor, longer)
    bench.write_json(args.json, {"machine": about, **content})
    return 0


def precisions() -> list[str]:
    return ["fp32", *(["bf16"] if has_bf16() else []), *(["int8"] if has_int8() else [])]


class Work:
    """The clips, the model, and the commands that translate them."""

    def __init__(self, folder: Path, clip: str | None, longer: int, reference: str | None) -> None:
        self.folder, self.reference = folder, reference
        torch.manual_seed(0)
        self.network = build(SPEC).eval().requires_grad_(False)
        self.model = folder / "model"
        config = ModelConfig(modality="image", generators={"a2b": SPEC})
        save_model(self.model, PretrainedModel(config, {"a2b": self.network}))
        self.student, slender = folder / "student", student_spec(self.network)
        config = ModelConfig(modality="image", generators={"a2b": slender})
        save_model(self.student, PretrainedModel(config, {"a2b": build(slender)}))
        for count in (SHORT, longer, _TIMES * SHORT, _TIMES * longer):
            make_clip(self.clip(count), clip, count)
        with VideoReader(self.clip(SHORT)) as video:
            self.frames = torch.stack([frame.tensor() for frame in video])
        self.commands: dict[str, Callable[[int], None]] = {
            "release's way": self.plain if reference is None else self.release
        }
        for precision in precisions():
            self.commands[f"translate, {precision}"] = self.translate(precision)
        best = "bf16" if has_bf16() else "fp32"
        self.commands[_STUDENT] = self.translate(best, self.student, _STUDENT, _TIMES)

    def clip(self, count: int) -> Path:
        return self.folder / f"clip-{count}.mp4"

    def result(self, way: str, count: int) -> Path:
        return self.folder / f"{way.replace(' ', '-').replace(',', '')}-{count}.mp4"

    def timed(self, way: str, count: int) -> float:
        start = time.perf_counter()
        self.commands[way](count)
        return time.perf_counter() - start

    def translate(
        self, precision: str, model: Path | None = None, way: str = "", times: int = 1
    ) -> Callable[[int], None]:
        def run(count: int) -> None:
            target = str(self.result(way or f"translate, {precision}", count))
            source, used = str(self.clip(times * count)), str(model or self.model)
            arguments = ["translate", source, "-m", used, "-o", target]
            options = ["--precision", precision, "--device", "cpu", "--overwrite", "--quiet"]
            command = [sys.executable, "-m", "cyclegan_media.cli", *arguments, *options]
            subprocess.run(command, check=True)

        return run

    def plain(self, count: int) -> None:
        """The release's steps, without the release."""
        inputs, outputs = self._empty("in"), self._empty("out")
        ffmpeg("-i", str(self.clip(count)), str(inputs / "%05d.png"))
        translate_plainly(self.model, inputs, outputs)
        self._encode(outputs / "%05d.png", count)

    def release(self, count: int) -> None:
        """The release's own test.py on the same weights."""
        inputs, outputs = self._empty("in"), self._empty("out")
        ffmpeg("-i", str(self.clip(count)), str(inputs / "%05d.png"))
        names = self.folder / "checkpoints" / "bench"
        names.mkdir(parents=True, exist_ok=True)
        torch.save(released_state(self.network), names / "latest_net_G.pth")
        where = ["--dataroot", str(inputs), "--results_dir", str(outputs)]
        where += ["--checkpoints_dir", str(names.parent), "--name", "bench"]
        how = ["--model", "test", "--no_dropout", "--preprocess", "none", "--num_test", str(count)]
        options = Path(str(self.reference), "options", "base_options.py").read_text()
        if "--gpu_ids" in options:  # later versions choose by the environment
            how += ["--gpu_ids", "-1"]
        command = [sys.executable, "test.py", *where, *how]
        subprocess.run(command, check=True, cwd=self.reference, stdout=subprocess.DEVNULL)
        self._encode(outputs / "bench" / "test_latest" / "images" / "%05d_fake.png", count)

    def _empty(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _encode(self, pictures: Path, count: int) -> None:
        encode(pictures, self.result("release's way", count))


PLAIN = """
import sys
from pathlib import Path
import numpy, PIL.Image, torch
from cyclegan_media.pretrained import load_model
device = sys.argv[4]
network = load_model(sys.argv[1]).generators["a2b"].eval().to(device)
for path in sorted(Path(sys.argv[2]).glob("*.png")):
    pixels = numpy.asarray(PIL.Image.open(path).convert("RGB"))
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        output = network(picture.to(device))[0].cpu()
    pixels = ((output.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy()
    PIL.Image.fromarray(pixels).save(Path(sys.argv[3]) / path.name)
"""


def released_state(network: Backbone) -> dict[str, torch.Tensor]:
    """The weights by the names of the release, whose generator is one sequence of layers."""
    parts = [*network.encoder, *network.residual, *network.decoder]  # type: ignore[misc]
    return {
        f"model.{k}.{name.replace('layers.', 'conv_block.')}": value
        for k, part in enumerate(parts)
        for name, value in part.state_dict().items()
    }


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-y", "-v", "error", *arguments], check=True)


def make_clip(target: Path, clip: str | None, count: int, side: int = SIDE) -> None:
    """The first frames of a clip, again and again if need be, or of FFmpeg's test picture."""
    source = ["-f", "lavfi", "-i", f"testsrc2=size={side}x{side}:rate=25"]
    if clip is not None:
        source = ["-stream_loop", "-1", "-i", clip, "-vf", f"scale={side}:{side}"]
    ffmpeg(*source, "-frames:v", str(count), "-an", "-crf", "12", str(target))


def translate_plainly(model: Path, inputs: Path, outputs: Path, device: str = "cpu") -> None:
    """A folder of PNG by the release's steps, without the release."""
    command = [sys.executable, "-c", PLAIN, str(model), str(inputs), str(outputs), device]
    subprocess.run(command, check=True)


def encode(pictures: Path, target: Path) -> None:
    how = ["-pix_fmt", "yuv420p", "-crf", "18"]
    ffmpeg("-framerate", "25", "-i", str(pictures), *how, str(target))


def measure_floor(network: Backbone) -> dict[str, float]:
    """Operations a frame, and what the processor does of them in a second."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, SIDE, SIDE))
    return {
        "operations": counter.get_total_flops(),
        "fp32": bench.matmul_rate(torch.float32),
        "bf16": bench.matmul_rate(torch.bfloat16),
    }


@dataclass(frozen=True)
class Alone:
    """The network without decoding and encoding."""

    seconds: float
    """Of a frame, in all threads."""
    side_by_side: float
    """Of a frame, where each thread has one of its own, as in a translation."""
    decibels: float
    """PSNR of the last frame to that of the eager network in fp32."""


def model_alone(work: Work, precision: str, times: int) -> Alone:
    """The network alone, in this process."""
    engine = Engine(torch.device("cpu"), precision)  # type: ignore[arg-type]
    run = engine.ready(load_model(work.model).generators["a2b"])
    with (
        torch.inference_mode(),
        torch.autocast("cpu", engine.dtype, enabled=engine.dtype != torch.float32),
    ):
        for frame in work.frames[:FRAMES] if precision == "int8" else []:
            run(frame[None])
        frame = work.frames[-1:]
        taken = bench.median(bench.seconds(lambda: run(frame), times))
        output = run(frame)
    beside = _side_by_side(engine, run, frame, times)
    with torch.inference_mode():
        return Alone(taken, beside, psnr(output, work.network(frame)))


def _side_by_side(engine: Engine, run: Run, frame: torch.Tensor, times: int) -> float:
    """Seconds of a frame, where each thread computes ``times`` of them."""
    threads, stop = torch.get_num_threads(), threading.Event()

    @torch.inference_mode()
    def work() -> None:
        with torch.autocast("cpu", engine.dtype, enabled=engine.dtype != torch.float32):
            for _ in range(times):
                run(frame)

    with Streams(threads) as streams:

        def all_of_them() -> None:
            for result in [streams.begin(work, stop) for _ in range(threads)]:
                result()

        return bench.median(bench.seconds(all_of_them, 1)) / (times * threads)


def report(
    taken: dict[str, list[dict[int, float]]],
    alone: dict[str, Alone],
    floor: dict[str, float],
    longer: int,
) -> dict[str, Any]:
    """Print the table; return its figures."""
    limit = floor["operations"] / floor["bf16"]
    rows, figures = [], {}
    base = 0.0
    for way, runs in taken.items():
        times = _TIMES if way == _STUDENT else 1
        each = [(run[longer] - run[SHORT]) / (longer - SHORT) / times for run in runs]
        frame = bench.median(each)
        once = bench.median([run[SHORT] for run in runs]) - SHORT * times * frame
        base = base or frame
        figures[way] = {
            "seconds": runs,
            "seconds a frame": frame,
            "spread": bench.spread(each),
            "seconds once": once,
        }
        network = alone.get(way.removeprefix("translate, "))
        rows.append(
            [
                way,
                f"{1 / frame:.2f} ±{100 * bench.spread(each):.0f} %",
                f"{base / frame:.2f}",
                "" if way == _STUDENT else f"{100 * limit / frame:.0f} %",
                "" if network is None else f"{1 / network.seconds:.2f}",
                "" if network is None else f"{1 / network.side_by_side:.2f}",
                f"{once:.1f}",
                "" if network is None else f"{network.decibels:.1f}",
            ]
        )
    alone_in = ["alone, all threads", "alone, side by side"]
    head = ["", "frames/s", "ratio", "of the bf16 limit", *alone_in, "s once", "dB to fp32"]
    print(bench.table(head, rows))
    print(
        f"\n{floor['operations'] / 1e9:.1f} GFLOP a frame; matrix products: fp32"
        f" {floor['fp32'] / 1e9:.0f} GFLOP/s, bf16 {floor['bf16'] / 1e9:.0f} GFLOP/s, so the limit"
        f" in bf16 is {1 / limit:.2f} frames/s. Medians of {len(next(iter(taken.values())))} runs."
    )
    each_alone = {way: vars(network) for way, network in alone.items()}
    return {"floor": floor, "network alone": each_alone, "commands": figures}


if __name__ == "__main__":
    sys.exit(main())
