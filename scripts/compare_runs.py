"""One training of `compare_methods.py`, and what is kept of it: a JSON file, strips of tiles."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from compare_problems import Tiles, as_pixels
from compare_variants import recipe_of
from torch import Tensor

from cyclegan_media.demo.picture_run import match_tones, tone_curves
from cyclegan_media.errors import RunError
from cyclegan_media.files import atomic_file
from cyclegan_media.media import Image, write_image
from cyclegan_media.metrics.image import psnr, ssim
from cyclegan_media.metrics.image_features import describe
from cyclegan_media.metrics.image_sets import features_of, kernel_distance
from cyclegan_media.pretrained import Direction, load_model
from cyclegan_media.recipe import Recipe
from cyclegan_media.training import train

SHOWN = 8
"""Tiles of each direction in a strip."""
BASELINES = ("Unconverted", "Histogram matching")
"""What a method has to beat: nothing done, and each colour channel's histogram given that of the
other domain's training tiles."""
WAYS: tuple[Direction, ...] = ("a2b", "b2a")

Scores = dict[str, float]


@dataclass
class Result:
    """What came of one method with one seed on one problem."""

    problem: str
    method: str
    seed: int
    settings: dict[str, Any]
    """All that the scores depend on: a result whose settings are equal is used again."""
    steps: int
    flops_per_step: int
    seconds: float = 0.0
    """Of training, by the wall clock."""
    scores: Scores = field(default_factory=dict)
    """``psnr_a2b`` and so on; empty where the training failed."""
    failure: str = ""


def settings_of(recipe: Recipe, digest: str) -> dict[str, Any]:
    """The recipe and the data; as plain JSON, so that it compares equal when it was read."""
    return json.loads(json.dumps({"recipe": recipe.model_dump(mode="json"), "data": digest}))


def result_of(
    work: Path,
    tiles: Tiles,
    method: str,
    seed: int,
    steps: int,
    flops_per_step: int,
    extra: Iterable[str] = (),
) -> tuple[Result, bool]:
    """Train and measure, or use what an earlier run left.

    Returns:
        The result, and whether it was there already.
    """
    kept = kept_result(work, tiles, method, seed, steps, extra)
    if kept is not None:
        return kept, True
    recipe = recipe_of(method, steps, seed, extra)
    settings = settings_of(recipe, tiles.digest)
    wanted = Result(tiles.name, method, seed, settings, steps, flops_per_step)
    file = result_file(work, tiles.name, method, seed)
    run = work / "runs" / file.stem
    shutil.rmtree(run, ignore_errors=True)  # of other settings, or stopped before its end
    start = time.perf_counter()
    outputs: dict[Direction, Tensor] = {}
    try:
        trained = train(recipe, tiles.files(), run, device="cpu", progress=False)
        if trained.interrupted or trained.model is None:
            raise KeyboardInterrupt
        wanted.seconds = time.perf_counter() - start
        outputs = translated(trained.model, tiles)
        wanted.scores = {
            key: value
            for way, pictures in outputs.items()
            for key, value in scored(tiles, way, pictures).items()
        }
    except RunError as error:
        wanted.seconds = time.perf_counter() - start
        wanted.failure = str(error).removeprefix(f"{run}: ")
    for way, pictures in outputs.items():
        save_strip(file.with_name(f"{file.stem}-{way}.png"), pictures)
    with atomic_file(file, overwrite=True) as partial:
        partial.write_text(json.dumps(asdict(wanted), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    return wanted, False


def result_file(work: Path, problem: str, method: str, seed: int) -> Path:
    """Where a result is kept; its strips lie beside it, ``…-a2b.png``."""
    return work / "results" / f"{problem}-{method}-{seed}.json"


def kept_result(
    work: Path, tiles: Tiles, method: str, seed: int, steps: int, extra: Iterable[str] = ()
) -> Result | None:
    """What an earlier run left with equal settings; ``None`` where there is nothing."""
    try:
        file = result_file(work, tiles.name, method, seed)
        kept = Result(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # absent, cut off, or of another version
        return None
    settings = settings_of(recipe_of(method, steps, seed, extra), tiles.digest)
    return kept if kept.settings == settings else None


@torch.no_grad()
def translated(model: Path, tiles: Tiles) -> dict[Direction, Tensor]:
    """The test tiles in each direction that the model has, rounded to 8 bits as pictures are."""
    outputs: dict[Direction, Tensor] = {}
    for way, generator in load_model(model).generators.items():
        pictures = torch.cat([generator(part) for part in sources(tiles, way).split(16)])
        outputs[way] = ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return outputs


def sources(tiles: Tiles, way: Direction) -> Tensor:
    """What is translated."""
    return tiles.pictures("testA" if way == "a2b" else "testB")


def truths(tiles: Tiles, way: Direction) -> Tensor:
    """The right answers."""
    return tiles.pictures("truthA2B" if way == "a2b" else "truthB2A")


def scored(tiles: Tiles, way: Direction, pictures: Tensor) -> Scores:
    """PSNR and SSIM to the truth, or KID to held-out tiles of the other domain."""
    if tiles.name == "known":
        truth = truths(tiles, way)
        return {f"psnr_{way}": psnr(pictures, truth), f"ssim_{way}": ssim(pictures, truth)}
    other = tiles.pictures("testB" if way == "a2b" else "testA")
    return {f"kid_{way}": distance(pictures, other)}


def distance(pictures: Tensor, others: Tensor) -> float:
    """KID on features that need no weights (:func:`cyclegan_media.metrics.image_features`)."""
    sets = (features_of(x, describe) for x in (pictures, others))
    return kernel_distance(*sets).mean


def baselines(tiles: Tiles) -> dict[str, tuple[Scores, dict[str, Tensor]]]:
    """What a method has to beat, by its title: its scores, and its pictures by direction.

    Where there is no truth, also what real tiles score: those that trained, of the domain that is
    translated to. No pictures of that.
    """
    found: dict[str, tuple[Scores, dict[str, Tensor]]] = {title: ({}, {}) for title in BASELINES}
    for way in WAYS:
        before = sources(tiles, way)
        matched = match_tones(before, tone_curves(tiles.folder, way))
        for (scores, pictures), made in zip(found.values(), (before, matched), strict=True):
            scores |= scored(tiles, way, made)
            pictures[way] = made
    if tiles.name != "known":
        real = {way: tiles.pictures("trainB" if way == "a2b" else "trainA") for way in WAYS}
        scores = [scored(tiles, way, pictures) for way, pictures in real.items()]
        found["Real tiles, from beside the held-out ones"] = ({**scores[0], **scores[1]}, {})
    return found


def save_strip(path: Path, pictures: Tensor) -> None:
    """Some tiles beside each other, evenly spaced over the test set; loses nothing."""
    row = torch.cat([*pictures[shown(len(pictures))]], dim=2)
    write_image(path, Image(as_pixels(row[None])[0]), overwrite=True)


def shown(count: int) -> list[int]:
    """Which tiles of ``count`` are shown."""
    wanted = min(SHOWN, count)
    return [int((k + 0.5) * count / wanted) for k in range(wanted)]
