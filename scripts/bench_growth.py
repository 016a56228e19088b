"""Peak memory and processor time as work grows: a longer clip, a longer recording, more files.

    python scripts/bench_growth.py [--only clip voice corpus] [--json FILE]

Each kind of work is done at three sizes, in a process of its own with one thread (or as many as
OMP_NUM_THREADS says, of which each has a frame of a clip): small, half and whole; by default 10 s,
5 min and 10 min of a clip and of a recording, and 100, 5000 and 10,000 utterances. Models are
narrow, with random weights, and frames small, so that what surrounds the networks is what grows, if
anything does. Memory is the largest resident size; time is the processor's, of a further second or
file: between small and half, and between half and whole, so that it is proportional where the two
are equal.

- clip: ``cyclegan-media translate`` on a video of 25 frames a second, made here;
- voice: ``cyclegan-media translate`` on a made voice, 48 kHz in stereo;
- corpus: :func:`cyclegan_media.speech.analyse_corpus` on short utterances, into an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import bench_table as bench
import numpy as np
import soundfile
import torch
from bench_utterance import made_voice

from cyclegan_media.backbones import build
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics

FRAMES_A_SECOND = 25
PICTURES = {"name": "resnet", "width": 4, "blocks": 1}
VOICES = {"name": "gated_cnn", "width": 8, "residual_blocks": 1}
ANALYSIS = AnalysisConfig(f0="dio")
_LAUNCH = """\
import json, os, sys
place = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(place, 0)
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""A process's peak begins at that of the one which starts it, so a small one does."""
_CORPUS = """\
import sys
from pathlib import Path
from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.speech import AnalysisConfig, analyse_corpus
paths = sorted(map(str, Path(sys.argv[1]).iterdir()))[: int(sys.argv[2])]
config = AnalysisConfig(f0="dio")
found = analyse_corpus(paths, config, read=read_samples, cache=Path(sys.argv[3]), workers=1)
assert len(found) == len(paths)
"""


class Used(NamedTuple):
    """By one process."""

    size: float
    """Seconds, or files."""
    seconds: float
    """Of the processor."""
    megabytes: float
    """Resident, at most."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=tuple(WORK), default=tuple(WORK))
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=(10, 600), metavar=("FEW", "MANY")
    )
    parser.add_argument(
        "--files", type=int, nargs=2, default=(100, 10_000), metavar=("FEW", "MANY")
    )
    parser.add_argument("--side", type=int, default=64, metavar="N", help="of frames, in pixels")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args(arguments)
    about = bench.machine()
    print(bench.describe(about), flush=True)
    found: dict[str, list[Used]] = {}
    for name in args.only:
        few, many = args.files if name == "corpus" else args.seconds
        with tempfile.TemporaryDirectory() as folder:
            run = WORK[name](Path(folder), many, args.side)
            found[name] = [run(size) for size in (few, many / 2, many)]
        print(f"{name}: done", file=sys.stderr)
    rows = [row_of(name, *used) for name, used in found.items()]
    head = ["work", "sizes", "peak MB", "memory grows", "s each, first half", "second half"]
    print("\n" + bench.table(head, rows))
    figures = {name: [each._asdict() for each in used] for name, used in found.items()}
    bench.write_json(args.json, {"machine": about, "growth": figures})
    return 0


def row_of(name: str, few: Used, half: Used, many: Used) -> list[str]:
    """A line of the table."""
    unit = "files" if name == "corpus" else "s"
    each = [
        (later.seconds - earlier.seconds) / (later.size - earlier.size)
        for earlier, later in ((few, half), (half, many))
    ]
    return [
        name,
        f"{few.size:g}, {half.size:g}, {many.size:g} {unit}",
        f"{few.megabytes:.0f}, {half.megabytes:.0f}, {many.megabytes:.0f}",
        f"{many.megabytes / few.megabytes - 1:+.1%}",
        *(f"{seconds:.4f}" for seconds in each),
    ]


def clip(folder: Path, seconds: float, side: int) -> Callable[[float], Used]:
    """Translates the first seconds of what would be one clip."""
    save_model(folder / "model", PretrainedModel(
        ModelConfig(modality="image", generators={"a2b": PICTURES}),
        {"a2b": build(PICTURES).eval()},
    ))  # fmt: skip

    def run(size: float) -> Used:
        source = folder / f"clip-{size:g}.mp4"
        write_clip(source, round(size * FRAMES_A_SECOND), side)
        return translated(folder, source, folder / f"out-{size:g}.mp4", size)

    return run


def voice(folder: Path, seconds: float, side: int) -> Callable[[float], Used]:
    """Converts the first seconds of what would be one recording."""
    speaker = SpeakerStatistics.from_features([ANALYSIS.analyse(made_voice())])
    config = ModelConfig(
        modality="voice", generators={"a2b": VOICES}, analysis=ANALYSIS.model_dump(mode="json")
    )
    statistics = {**speaker.to_tensors("a"), **speaker.to_tensors("b")}
    save_model(folder / "model", PretrainedModel(config, {"a2b": build(VOICES).eval()}, statistics))

    def run(size: float) -> Used:
        source = folder / f"voice-{size:g}.wav"
        write_recording(source, size)
        return translated(folder, source, folder / f"out-{size:g}.wav", size)

    return run


def corpus(folder: Path, files: float, side: int) -> Callable[[float], Used]:
    """Analyses the first of so many utterances, each another one."""
    spoken, rng = made_voice(), np.random.default_rng(0)
    (folder / "files").mkdir()
    for number in range(int(files)):
        start = int(rng.integers(len(spoken) - 8000))
        noise = rng.normal(0, 1e-4, 8000)
        soundfile.write(
            folder / "files" / f"{number:06d}.wav", spoken[start : start + 8000] + noise, 16000
        )

    def run(size: float) -> Used:
        place = [str(folder / "files"), str(int(size)), str(folder / f"cache-{size:g}")]
        return used_by([sys.executable, "-c", _CORPUS, *place], size)

    return run


WORK: dict[str, Callable[[Path, float, int], Callable[[float], Used]]] = {
    "clip": clip,
    "voice": voice,
    "corpus": corpus,
}


def translated(folder: Path, source: Path, target: Path, size: float) -> Used:
    arguments = ["translate", str(source), "-m", str(folder / "model"), "-o", str(target)]
    command = [sys.executable, "-m", "cyclegan_media.cli", *arguments]
    used = used_by([*command, "--device", "cpu", "--quiet"], size)
    source.unlink()
    target.unlink()
    return used


def used_by(command: list[str], size: float) -> Used:
    """What a command takes that must succeed."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *command], capture_output=True, text=True, env=environment
    )
    code, seconds, kibibytes = json.loads(done.stdout.splitlines()[-1])
    if code != 0:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stderr}")
    return Used(size, seconds, kibibytes * 1024 / 1e6)


def write_clip(path: Path, frames: int, side: int) -> None:
    """A gradient that moves, with a tone."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FRAMES_A_SECOND, options={"preset": "ultrafast"}
        )
        sound = container.add_stream("aac", rate=48000, layout="mono")
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width = video.height = side
        video.pix_fmt = "yuv420p"
        tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(48000 // FRAMES_A_SECOND) / 48000)
        row = np.arange(side)
        for number in range(frames):
            grey = (row[:, None] + row[None] + 3 * number) % 256
            picture = av.VideoFrame.from_ndarray(
                np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), format="rgb24"
            )
            picture.pts, picture.time_base = number, Fraction(1, FRAMES_A_SECOND)
            container.mux(video.encode(picture))
            block = av.AudioFrame.from_ndarray(
                tone[None].astype(np.float32), format="fltp", layout="mono"
            )
            block.sample_rate, block.pts = 48000, number * tone.size
            container.mux(sound.encode(block))
        for stream in (video, sound):
            container.mux(stream.encode(None))


def write_recording(path: Path, seconds: float) -> None:
    """A made voice over and over, 48 kHz in stereo."""
    with soundfile.SoundFile(path, "w", 48000, 2) as file:
        for block in _repeated(np.repeat(made_voice(), 3), round(seconds * 48000)):
            file.write(np.stack([block, 0.5 * block], axis=1))


def _repeated(samples: np.ndarray[Any, Any], count: int) -> Iterator[np.ndarray[Any, Any]]:
    while count > 0:
        yield samples[:count]
        count -= len(samples)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
