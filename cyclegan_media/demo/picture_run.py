"""The picture half of the demonstration: draw two domains, train, translate clips, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

import cyclegan_media
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.demo.apart import say
from cyclegan_media.demo.page import Exhibit, Measure, PictureSection
from cyclegan_media.demo.scenes import make_scene, write_clip, write_images
from cyclegan_media.demo.world import Domain
from cyclegan_media.errors import RunError
from cyclegan_media.media import VideoReader, read_image
from cyclegan_media.metrics.image import psnr, ssim
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import load_recipe
from cyclegan_media.training import train


@dataclass(frozen=True)
class PicturePlan:
    """How much is made; the defaults are what the demonstration does."""

    pictures: int = 300
    """Of each domain, to train on; no scene is in both."""
    held_out: int = 24
    """Of each domain, for the validation during training."""
    clips: int = 3
    """Held-out clips in each direction, none of whose scenes trained or validated."""
    seconds: float = 3.0
    """Length of a clip."""
    overrides: tuple[str, ...] = ()
    """Of the recipe ``demo_image``, as :func:`cyclegan_media.recipe.load_recipe` takes them."""


FPS = 20
STILL_SIZE, CLIP_SIZE = (96, 96), (96, 144)
"""(height, width) in pixels: clips are wider, and as high, so that things have one size."""
COMPARED = 15
"""One frame in so many is compared with the truth."""
MARGINS = {"PSNR": 5.0, "SSIM": 0.15}
"""Gains that are called clear."""


def picture_section(folder: Path, plan: PicturePlan) -> PictureSection:
    """Do everything in the new ``folder``: ``data/``, ``run/`` and ``clips/``.

    Raises:
        UserError, RunError: see :func:`cyclegan_media.training.train`.
    """
    recipe = load_recipe("demo_image", plan.overrides)
    say("drawing scenes in two looks: a day, and dusk on another planet")
    data, clips = folder / "data", folder / "clips"
    _write_pictures(data, plan)
    pairs = {way: _write_clips(clips, way, plan) for way in get_args(Direction)}

    say("training on scenes of which no two are the same")
    files = find_files(data, data, ("image",))
    trained = train(recipe, files, folder / "run", device="cpu")
    if trained.model is None:
        raise RunError(f"{folder}: the training was interrupted before it had a model")

    say("translating clips that it has never seen")
    model = cyclegan_media.load(trained.model, device="cpu")
    exhibits: list[Exhibit] = []
    measures: list[Measure] = []
    for way, sources in pairs.items():
        back: Direction = "b2a" if way == "a2b" else "a2b"
        done = []
        for before, truth in tqdm(sources, desc=way, unit="clip", dynamic_ncols=True):
            after = before.with_name(before.name.replace("before", "after"))
            cycle = before.with_name(before.name.replace("before", "cycle"))
            model.translate(before, after, direction=way)
            model.translate(after, cycle, direction=back)
            packets = check_sound_kept(before, after)
            note = f"Its sound was copied as it is: {packets} packets, equal bit for bit."
            done.append(Exhibit(_WORDS[way], before, after, cycle, truth, note))
        say("comparing them with the truth")
        measures += _measures(way, done, tone_curves(data, way))
        exhibits.append(done[0])
    return PictureSection(
        heading="Pictures",
        introduction=(
            "Two looks of one synthetic world, learned from scenes that have no counterpart in "
            "the other look. The clips show scenes that took no part in training."
        ),
        exhibits=exhibits,
        measures=measures,
        settings={
            "Recipe": recipe.name,
            "Generators": _described(recipe.model.generator),
            "Discriminators": _described(recipe.model.discriminator),
            "Steps": trained.steps,
            "Batch": recipe.trainer.batch_size,
            "Training pictures": f"{plan.pictures} of each look, no scene in both",
            "Trivial method": "each colour channel's histogram matched to the other look's",
        },
        curves=folder / "run" / "metrics.csv",
    )


_WORDS: dict[Direction, str] = {"a2b": "Day to dusk", "b2a": "Dusk to day"}


def _write_pictures(data: Path, plan: PicturePlan) -> None:
    parts: list[tuple[str, Domain, int]] = [
        ("trainA", "a", plan.pictures),
        ("trainB", "b", plan.pictures),
        ("testA", "a", plan.held_out),
        ("testB", "b", plan.held_out),
    ]
    first = 0
    for name, domain, count in parts:
        seeds = tqdm(range(first, first + count), desc=name, unit="picture", dynamic_ncols=True)
        write_images(data / name, seeds, domain, STILL_SIZE)
        first += count


def _write_clips(folder: Path, way: Direction, plan: PicturePlan) -> list[tuple[Path, Path]]:
    """Clips to translate, each with its truth, of scenes of their own."""
    source, target = _domains(way)
    first = 10_000 if way == "a2b" else 20_000
    pairs = []
    for number in tqdm(range(plan.clips), desc=f"clips {way}", unit="clip", dynamic_ncols=True):
        scene = make_scene(first + number)
        before, truth = (
            write_clip(
                folder / f"{way}-{number}-{name}.mp4", scene, look, plan.seconds, FPS, CLIP_SIZE
            )
            for name, look in (("before", source), ("truth", target))
        )
        pairs.append((before, truth))
    return pairs


def _domains(way: Direction) -> tuple[Domain, Domain]:
    return ("a", "b") if way == "a2b" else ("b", "a")


def check_sound_kept(before: Path, after: Path) -> int:
    """How many audio packets both clips have.

    Raises:
        RunError: they have none, or their packets differ in time or content.
    """
    ours, theirs = _sound(after), _sound(before)
    if not theirs or ours != theirs:
        raise RunError(f"{after}: its sound is not that of {before}")
    return len(ours)


def _sound(clip: Path) -> list[tuple[float, bytes]]:
    with av.open(str(clip)) as container:
        if not container.streams.audio:
            return []
        return [
            (round(float(packet.pts * packet.time_base), 6), bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.pts is not None and packet.time_base is not None
        ]


def _measures(
    way: Direction, clips: Sequence[Exhibit], curves: NDArray[np.uint8]
) -> Iterator[Measure]:
    before, after, truth = (
        torch.cat([_frames(Path(file)) for file in files])
        for files in zip(*((c.before, c.after, c.truth) for c in clips), strict=True)
    )
    matched = match_tones(before, curves)
    note = f"{len(truth)} frames of {len(clips)} held-out clips"
    for name, measure, unit in (("PSNR", psnr, "dB"), ("SSIM", ssim, "")):
        yield Measure(
            f"{name}, {_WORDS[way].lower()}",
            unconverted=measure(before, truth),
            converted=measure(after, truth),
            trivial=measure(matched, truth),
            margin=MARGINS[name],
            unit=unit,
            note=note,
        )


def _frames(clip: Path) -> Tensor:
    """Some of its frames ``(n, 3, height, width)``, −1…1."""
    with VideoReader(clip) as video:
        pixels = np.stack([frame.pixels for frame in islice(video, 0, None, COMPARED)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def tone_curves(data: Path, way: Direction) -> NDArray[np.uint8]:
    """``(3, 256)``: the curve of each channel that gives the training pictures of the source
    the histogram of those of the target. It needs no pairs and no network."""
    source, target = (
        np.concatenate(
            [read_image(file).pixels.reshape(-1, 3) for file in sorted(folder.iterdir())]
        )
        for folder in (data / f"train{domain.upper()}" for domain in _domains(way))
    )
    curves = np.empty((3, 256), np.uint8)
    for channel in range(3):
        share = np.searchsorted(np.sort(source[:, channel]), np.arange(256), "right") / len(source)
        curves[channel] = np.quantile(target[:, channel], share, method="inverted_cdf")
    return curves


def match_tones(pictures: Tensor, curves: NDArray[np.uint8]) -> Tensor:
    """Pictures ``(n, 3, height, width)``, −1…1, with the curves of :func:`tone_curves`."""
    levels = ((pictures + 1) * 127.5).round().long()
    tables = torch.from_numpy(curves)
    channels = [tables[c][levels[:, c]] for c in range(3)]
    return torch.stack(channels, 1).float().div(127.5).sub(1)


def _described(spec: dict[str, object]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in spec.items() if key != "name")
    return f"{spec['name']} ({rest})"
