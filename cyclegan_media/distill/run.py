"""Distil a model for the user's own frames. Read :func:`distill` top to bottom."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from cyclegan_media.backbones import Backbone, build, spec_of
from cyclegan_media.device import Device
from cyclegan_media.distill.frames import learning_crops
from cyclegan_media.distill.learn import Settings, learn
from cyclegan_media.distill.student import operations, student_spec
from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import psnr, ssim
from cyclegan_media.pretrained import (
    Direction,
    ModelConfig,
    PretrainedModel,
    check_target,
    save_model,
)
from cyclegan_media.training.processes import Precision, interrupt_flag, make_fabric
from cyclegan_media.translate import Translator

logger = logging.getLogger("cyclegan_media")

StrPath = str | os.PathLike[str]

SMALLEST = 16
"""Side of the crops in pixels; structural similarity looks at 11."""


@dataclass(frozen=True)
class Measured:
    """One direction's student beside its teacher, on held-out crops."""

    pictures: int
    psnr: float
    """dB, of the student's pictures to the teacher's (8 bits each), the mean; and ``ssim``."""
    ssim: float
    input_psnr: float
    """The same of the untranslated input: what doing nothing would reach."""
    input_ssim: float
    gflop: float
    """For a picture of the crops' size."""
    teacher_gflop: float
    frames_per_second: float
    """By the translation's own path, on this machine, without decoding and encoding."""
    teacher_frames_per_second: float


@dataclass(frozen=True)
class Distillation:
    """Where a distillation ended."""

    model: Path
    steps: int
    """Done, in the direction that has done the fewest."""
    interrupted: bool
    measured: dict[Direction, Measured] = field(default_factory=dict)


def distill(
    teacher: StrPath,
    student: StrPath,
    *,
    frames_a: StrPath | None = None,
    frames_b: StrPath | None = None,
    settings: Settings | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Distillation:
    """Train a small generator that does to frames like these what ``teacher`` does.

    The first interrupt (Ctrl-C or SIGTERM) ends the learning after the current step and saves the
    student as it is then; before the first step, nothing is left behind.

    Args:
        teacher: a model folder of pictures, or that of a training.
        student: the model folder to write; it is complete or absent.
        frames_a: what the direction a2b is to translate: a video, or a folder of pictures and
            videos. ``frames_b`` is for b2a. The student has the directions that have frames.
        precision: of the learning; see :func:`cyclegan_media.training.train`.

    Raises:
        UserError: no frames, or none that can be read; the teacher has no such direction or is
            none to distil; ``student`` exists or cannot be written.
        RunError: the learning diverged.
        KeyboardInterrupt: interrupted before the first step.
    """
    settings = settings or Settings()
    sources: dict[Direction, StrPath | None] = {"a2b": frames_a, "b2a": frames_b}
    wanted: dict[Direction, StrPath] = {way: path for way, path in sources.items() if path}
    if not wanted:
        raise UserError("distilling needs frames: those that the student will have to translate")
    if settings.size < SMALLEST or settings.size % 4:
        raise UserError(
            f"crops of {settings.size} pixels: a student learns from crops of at least {SMALLEST}"
            " pixels, in multiples of 4; give another --size"
        )
    check_target(student, overwrite=overwrite)
    master = Translator.load(teacher, device=device)
    specs = {
        way: student_spec(master.generator(way), settings.width, settings.blocks) for way in wanted
    }
    fabric = make_fabric(device, precision)
    if fabric.world_size > 1:
        raise UserError("distilling runs in one process; start it without torchrun")
    torch.manual_seed(settings.seed)
    learned: dict[Direction, _Learned] = {}
    with interrupt_flag("the student as it is then") as stop:
        for way, source in wanted.items():
            pairs = _pairs(master, way, source, settings, stop, progress)
            if pairs is not None:
                network, steps = learn(
                    build(specs[way]),
                    pairs.inputs,
                    pairs.wanted,
                    settings,
                    fabric,
                    stop=stop,
                    progress=progress,
                    label=f"student {way}",
                )
                learned[way] = _Learned(network, steps, pairs)
    if not learned:
        raise KeyboardInterrupt
    config = ModelConfig(
        modality="image",
        domains=master.config.domains,
        generators={way: specs[way] for way in learned},
        steps=min(each.steps for each in learned.values()),
        origin=f"distilled from {master.name}",
        ema=True,
        paper=master.config.paper,
        analysis=master.config.analysis,
    )
    model = PretrainedModel(config, {way: each.network for way, each in learned.items()})
    folder = save_model(student, model, overwrite=overwrite)
    return Distillation(
        folder,
        config.steps or 0,
        stop.is_set(),
        {way: _measure(each, model, way, device) for way, each in learned.items()},
    )


@dataclass
class _Pairs:
    """Crops and what the teacher makes of them, uint8 ``(n, 3, size, size)``."""

    inputs: Tensor
    wanted: Tensor
    held_out: Tensor
    held_out_wanted: Tensor
    seconds: float
    """That the teacher took for a held-out crop."""
    teacher: Backbone


@dataclass
class _Learned:
    network: Backbone
    steps: int
    pairs: _Pairs


def _pairs(
    master: Translator,
    way: Direction,
    source: StrPath,
    settings: Settings,
    stop: threading.Event,
    progress: bool,
) -> _Pairs | None:
    """Ask the teacher; ``None`` if interrupted before it was done."""
    inputs, held_out = learning_crops(
        source,
        count=settings.crops,
        size=settings.size,
        load_size=settings.load_size,
        seed=settings.seed,
        progress=lambda path: logger.info("taking frames from %s", path.name),
    )
    wanted = torch.empty_like(inputs)
    bar = tqdm(total=len(inputs), desc=f"teacher {way}", unit="crop", disable=not progress)
    with bar:
        for k in range(0, len(inputs), 8):
            wanted[k : k + 8] = master.translate(inputs[k : k + 8], direction=way)
            bar.update(len(inputs[k : k + 8]))
            if stop.is_set():
                return None
    held_out_wanted, seconds = _timed(master, held_out, way)
    return _Pairs(inputs, wanted, held_out, held_out_wanted, seconds, master.generator(way))


def _timed(translator: Translator, pictures: Tensor, way: Direction) -> tuple[Tensor, float]:
    """Translations, and the seconds for each, after one that is not counted."""
    translator.translate(pictures[:1], direction=way)
    start = time.perf_counter()
    translated = translator.translate(pictures, direction=way)
    return translated, (time.perf_counter() - start) / len(pictures)


def _measure(learned: _Learned, model: PretrainedModel, way: Direction, device: Device) -> Measured:
    pairs = learned.pairs
    got, seconds = _timed(Translator(model, device=device), pairs.held_out, way)
    held_out, wanted, got = (
        x.float().div(127.5).sub(1) for x in (pairs.held_out, pairs.held_out_wanted, got)
    )
    size = (held_out.shape[2], held_out.shape[3])
    return Measured(
        pictures=len(held_out),
        psnr=psnr(got, wanted),
        ssim=ssim(got, wanted),
        input_psnr=psnr(held_out, wanted),
        input_ssim=ssim(held_out, wanted),
        gflop=operations(spec_of(learned.network), size) / 1e9,
        teacher_gflop=operations(spec_of(pairs.teacher), size) / 1e9,
        frames_per_second=1 / seconds,
        teacher_frames_per_second=1 / pairs.seconds,
    )
