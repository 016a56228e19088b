"""Which library multiplies in int8 fastest, and how near its pictures stay: a comparison.

    python scripts/bench_int8.py [--model DIR] [--clip FILE] [--rounds N] [--threads N]

The work is a generator (CycleGAN's ResNet with 9 blocks and width 64, random weights, unless
``--model`` names one) on frames of 256 × 256 pixels. Contenders: this toolkit in fp32, bf16, int8
(oneDNN through PyTorch); ONNX Runtime in fp32 and int8 (its static quantisation, weights by
channel); OpenVINO in fp32, bf16 and on the very int8 graph of ONNX Runtime, where it is installed
(``pip install openvino``: it is no dependency of this toolkit). All int8 ranges come from the same
8 frames, and other frames are measured. Two graphs are quantised: every convolution, and only those
that this toolkit quantises, since an error made early passes through all that follows.

Contenders take turns. Processor seconds are those of all threads together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_table as bench
import numpy as np
import torch
from torch import nn

from cyclegan_media.backbones import build
from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.export.graph import to_onnx
from cyclegan_media.media.video import VideoReader
from cyclegan_media.pretrained import load_model
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.precision import has_bf16, has_int8
from cyclegan_media.translate.quantise import FRAMES, is_worth_it, psnr

SPEC = {"name": "resnet", "width": 64, "blocks": 9}
SIDE = 256
_MEASURED = 4
"""Frames that each contender translates for its quality and its time."""

Run = Callable[[torch.Tensor], torch.Tensor]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="DIR", help="a model of pictures (its a2b)")
    parser.add_argument("--clip", metavar="FILE", help="a video (default: moving patterns)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"of frames (default: {SIDE})")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="of each contender (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = bench.machine()
    torch.manual_seed(0)
    network = build(SPEC) if args.model is None else load_model(args.model).generators["a2b"]
    network = network.eval().requires_grad_(False)
    frames = read_frames(args.clip, args.side)
    with tempfile.TemporaryDirectory() as name:
        runs = contenders(network, frames[:FRAMES], Path(name), args.threads)
        rows = measure(runs, frames[FRAMES:], args.rounds)
    print(bench.describe(about))
    first = rows[0]["seconds"]
    print(
        bench.table(
            ["library", "ms a frame", "spread", "processor ms", "times", "PSNR to fp32"],
            [
                [
                    row["name"],
                    f"{1000 * row['seconds']:.0f}",
                    f"± {100 * row['spread']:.0f} %",
                    f"{1000 * row['processor']:.0f}",
                    f"{first / row['seconds']:.2f}",
                    "" if row["psnr"] is None else f"{row['psnr']:.1f} dB",
                ]
                for row in rows
            ],
        )
    )
    bench.write_json(args.json, {"machine": about, "rows": rows})
    return 0


def read_frames(clip: str | None, side: int) -> torch.Tensor:
    """``(FRAMES + _MEASURED, 3, side, side)`` in −1…1."""
    count = FRAMES + _MEASURED
    if clip is not None:
        with VideoReader(clip) as video:
            some = [frame.tensor() for frame, _ in zip(video, range(count), strict=False)]
        if len(some) < count:
            sys.exit(f"{clip}: has {len(some)} frames; {count} are needed")
        return nn.functional.interpolate(torch.stack(some), (side, side), mode="area")
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [
        torch.sin((rows * a + columns * b) / 9 + k + c)
        for k in range(count)
        for c, (a, b) in enumerate([(1, 0.3), (0.2, 1), (0.7, 0.7)])
    ]
    return torch.stack(waves).view(count, 3, side, side).float()


def contenders(
    network: Backbone, calibration: torch.Tensor, folder: Path, threads: int
) -> dict[str, Run]:
    """What runs the network, by name; those come first that others are compared with."""
    runs: dict[str, Run] = {}
    wanted = ["fp32", *["bf16"] * has_bf16(), *["int8"] * has_int8()]
    for precision in wanted:
        runs[f"this toolkit, {precision}"] = by_toolkit(network, precision, calibration)
    (folder / "fp32.onnx").write_bytes(to_onnx(network, voice=False))
    graphs = {"": [], ", as this toolkit": left_out(network, folder / "fp32.onnx")}
    for suffix, excluded in graphs.items():
        quantise(folder, suffix, excluded, calibration)
    names = {"fp32": "fp32", **{f"int8{suffix}": f"int8{suffix}" for suffix in graphs}}
    for name, file in names.items():
        runs[f"ONNX Runtime, {name}"] = by_onnxruntime(folder / f"{file}.onnx", threads)
    try:
        import openvino  # noqa: F401
    except ImportError:
        print("OpenVINO is not installed; it is left out", file=sys.stderr)
        return runs
    runs["OpenVINO, fp32"] = by_openvino(folder / "fp32.onnx", threads, "f32")
    if has_bf16():
        runs["OpenVINO, bf16"] = by_openvino(folder / "fp32.onnx", threads, "bf16")
    for suffix in graphs:
        rest = "bf16" if has_bf16() else "f32"
        runs[f"OpenVINO, int8{suffix}"] = by_openvino(folder / f"int8{suffix}.onnx", threads, rest)
    return runs


def by_toolkit(network: Backbone, precision: Any, calibration: torch.Tensor) -> Run:
    engine = Engine(torch.device("cpu"), precision)
    ready = engine.ready(network)

    def run(x: torch.Tensor) -> torch.Tensor:
        half = engine.dtype != torch.float32
        with torch.inference_mode(), torch.autocast("cpu", engine.dtype, enabled=half):
            return ready(x.contiguous(memory_format=torch.channels_last)).float()

    for frame in calibration:
        run(frame[None])
    return run


def left_out(network: Backbone, graph: Path) -> list[str]:
    """The graph's convolutions that this toolkit does not quantise, by their order."""
    import onnx

    worth = [
        type(part) is nn.Conv2d and is_worth_it(part)
        for part in network.modules()
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    ]
    nodes = [
        node.name
        for node in onnx.load(str(graph)).graph.node
        if node.op_type in ("Conv", "ConvTranspose")
    ]
    return [name for name, keep in zip(nodes, worth, strict=True) if not keep]


def quantise(folder: Path, suffix: str, excluded: list[str], calibration: torch.Tensor) -> None:
    """Write ``int8{suffix}.onnx``: ONNX Runtime's static quantisation of ``fp32.onnx``."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self._left, None)
            return None if frame is None else {"x": frame[None].numpy()}

    q.quantize_static(
        folder / "fp32.onnx",
        folder / f"int8{suffix}.onnx",
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=excluded,
    )


def by_onnxruntime(graph: Path, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def by_openvino(graph: Path, threads: int, precision: str) -> Run:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.Core().compile_model(str(graph), "CPU", settings)
    return lambda x: torch.from_numpy(model(x.numpy())[0].copy())


def measure(runs: dict[str, Run], frames: torch.Tensor, rounds: int) -> list[dict[str, Any]]:
    """Time and quality of each contender, in turns; the first is what others are compared with."""
    each = [frame[None].contiguous() for frame in frames]
    exact = torch.cat([runs[next(iter(runs))](x) for x in each])
    quality = {
        name: psnr(torch.cat([run(x) for x in each]), exact) for name, run in list(runs.items())[1:]
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for k in range(rounds):
        for name, run in runs.items():
            start, processor = time.perf_counter(), time.process_time()
            for x in each:
                run(x)
            taken[name].append(
                (
                    (time.perf_counter() - start) / len(each),
                    (time.process_time() - processor) / len(each),
                )
            )
        print(f"round {k + 1} of {rounds}", file=sys.stderr)
    return [
        {
            "name": name,
            "seconds": bench.median([wall for wall, _ in times]),
            "spread": bench.spread([wall for wall, _ in times]),
            "processor": bench.median([processor for _, processor in times]),
            "psnr": quality.get(name),
        }
        for name, times in taken.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
