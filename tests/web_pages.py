"""A page served by the real command, for tests: its models, its process, what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from batch_files import processes

from cyclegan_media.backbones.registry import build
from cyclegan_media.demo.voices import SAMPLE_RATE, Speaker, say
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse


def speech(path: Path, seconds: float = 1.0) -> Path:
    samples = np.resize(say(3, "a"), round(seconds * SAMPLE_RATE))  # said again if need be
    soundfile.write(path, samples, SAMPLE_RATE)
    return path


def voice_model(folder: Path) -> Path:
    """A small CycleGAN-VC with random weights."""
    analysis = AnalysisConfig(f0="dio")
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    sides: tuple[Speaker, ...] = ("a", "b")
    tensors = {
        name: value
        for side in sides
        for name, value in SpeakerStatistics.from_features([analyse(say(0, side), analysis)])
        .to_tensors(side)
        .items()
    }
    config = ModelConfig(
        modality="voice",
        domains={"a": "anna", "b": "ben"},
        generators={"a2b": spec},
        analysis=analysis.model_dump(mode="json"),
    )
    return save_model(folder, PretrainedModel(config, {"a2b": build(spec)}, tensors))


def slow_model(folder: Path) -> Path:
    """A generator that takes its time over every frame."""
    spec: dict[str, Any] = {"name": "resnet", "width": 48, "blocks": 9}
    config = ModelConfig(
        modality="image", domains={"a": "day", "b": "night"}, generators={"a2b": spec}
    )
    return save_model(folder, PretrainedModel(config, {"a2b": build(spec)}))


@dataclass
class Server:
    """A page that answers."""

    url: str
    process: subprocess.Popen[str]
    mark: str
    scratch: Path
    """Where its files of visitors are."""

    @property
    def files(self) -> list[Path]:
        """What there is of visitors: all files of sessions, what Gradio left empty aside."""
        roots = self.scratch.glob("cyclegan-media-web-*/files/*/")
        # os.walk, since folders go while they are looked at.
        walks = (entry for root in roots for entry in os.walk(root))
        return [Path(folder, name) for folder, _, names in walks for name in names]

    def resident(self) -> list[int]:
        """Bytes of memory that each of its processes holds, the server's first."""
        held = []
        for pid in sorted(processes(self.mark)):
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            held.append(int(found.group(1)) * 1024 if found else 0)
        return held


@contextmanager
def served(scratch: Path, *arguments: str | Path, **environment: str) -> Iterator[Server]:
    """``cyclegan-media web`` with these arguments, ended and looked after at the end."""
    scratch.mkdir(parents=True, exist_ok=True)
    mark = scratch.name + str(os.getpid())
    log = scratch.with_suffix(".log")
    command = [sys.executable, "-m", "cyclegan_media.cli", "web", *map(str, arguments)]
    with open(log, "w") as words:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            env={
                **os.environ,
                "TMPDIR": str(scratch),
                "MARK": mark,
                "OMP_NUM_THREADS": "1",
                **environment,
            },
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + log.read_text()
            yield Server(found.group(), process, mark, scratch)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                process.kill()
    assert process.returncode == 143, log.read_text()
    assert not processes(mark), "processes were left behind"
    left = [path for path in scratch.rglob("*") if path.name.startswith("cyclegan-media-web")]
    assert not left, "files of visitors were left behind"


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)
