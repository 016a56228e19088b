"""Small batches that tests run: a tiny model, inputs, and workers that can be made to die."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from video_files import moving, write_video

from cyclegan_media import load
from cyclegan_media.backbones.registry import build
from cyclegan_media.media import Image, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model

HOOK = '''
"""Fate of the processes whose names of inputs say so: what decoders do to them, now and then."""
import os, signal, sys, time

def watch(event, arguments):
    if event != "open" or not isinstance(arguments[0], (str, os.PathLike)):
        return
    name = os.path.basename(arguments[0])
    if name == "dies-once.png" and not os.path.exists(os.fspath(arguments[0]) + ".died"):
        os.close(os.open(os.fspath(arguments[0]) + ".died", os.O_CREAT | os.O_WRONLY))
        os.kill(os.getpid(), signal.SIGSEGV)
    elif name == "exits.png":
        os._exit(7)
    elif name in ("hangs.png", "z-hangs.png"):
        time.sleep(600)
    elif name.startswith(".full.partial-") and not os.path.exists("room"):
        raise OSError(28, "No space left on device")

if "-c" in sys.orig_argv or any("default_worker.py" in argument for argument in sys.orig_argv):
    sys.addaudithook(watch)  # a worker, not its parent, which looks at all inputs first
'''


def hooked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers die over, hang at or leave at inputs whose names say so."""
    (folder / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def tiny_model(folder: Path, seed: int = 0, *, both: bool = False) -> Path:
    """A generator of pictures."""
    import torch

    torch.manual_seed(seed)
    spec = {"name": "resnet", "width": 2, "blocks": 1}
    directions = ("a2b", "b2a") if both else ("a2b",)
    config = ModelConfig(
        modality="image",
        domains={"a": "horse", "b": "zebra"},
        generators=dict.fromkeys(directions, spec),  # type: ignore[misc]
        origin="trained",
    )
    networks = {direction: build(spec) for direction in directions}
    return save_model(folder, PretrainedModel(config, networks))  # type: ignore[arg-type]


def picture(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 14, 3)).astype(np.uint8)
    return write_image(path, Image(pixels), overwrite=True)


def inputs(folder: Path, pictures: int = 3, frames: int = 0) -> Path:
    """``0.png``, ``1.png``, …, and ``sub/clip.mp4`` of so many frames."""
    folder.mkdir(parents=True)
    for k in range(pictures):
        picture(folder / f"{k}.png", k)
    if frames:
        (folder / "sub").mkdir()
        write_video(folder / "sub" / "clip.mp4", moving(frames, (32, 32)))
    return folder


def expected(model: Path, source: Path, folder: Path) -> dict[str, bytes]:
    """What the Python interface makes of each input, by its name."""
    translator = load(model, device="cpu")
    made = {}
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = str(path.relative_to(source))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        translator.translate(path, folder / name)
        made[name] = (folder / name).read_bytes()
    return made


def media(folder: Path) -> dict[str, bytes]:
    """What lies in a folder of outputs, the batch's own files and reports aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(".cyclegan-media-batch.")
        and path.name not in ("report.json", "report.html")
    }


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cyclegan_media.cli", "batch", *map(str, arguments)]


def environment(mark: str, **more: str) -> dict[str, str]:
    """Of a batch whose processes are to be found by ``mark``."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MARK": mark, **more}


def processes(mark: str) -> list[int]:
    """The processes of batches with that mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
            if marked and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found
