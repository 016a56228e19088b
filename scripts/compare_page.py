"""The page of `compare_methods.py`: what was done, tables, readings, figures."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from compare_figures import draw
from compare_problems import SHORTER, SIDE, Tiles
from compare_runs import WAYS
from compare_tables import ARROWS, Comparison, reading, table
from compare_variants import METHODS

from cyclegan_media.files import atomic_file


def write_page(out: Path, work: Path, page: Comparison) -> None:
    """Write ``methods.md`` and a figure for each problem and direction into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for tiles in page.problems:
        for way in WAYS:
            figure = draw(page, work, tiles, way)
            with atomic_file(out / _figure_name(tiles.name, way), overwrite=True) as partial:
                figure.save(partial, "webp", quality=80, method=6)
    with atomic_file(out / "methods.md", overwrite=True) as partial:
        partial.write_text("\n".join(_lines(page)) + "\n", encoding="utf-8")


def _figure_name(problem: str, way: str) -> str:
    return f"{problem}-{way}.webp"


def _lines(page: Comparison) -> Iterator[str]:
    yield "# Methods compared"
    yield ""
    yield (
        "Every method of the toolkit for pictures against vanilla CycleGAN, on two small unpaired "
        "problems, at equal compute. The networks are tiny and the trainings short: this tells how "
        "the methods do on a small budget, not how the published models do on theirs."
    )
    yield ""
    yield from _made(page)
    if page.notes:
        yield "## In short"
        yield ""
        yield page.notes.strip()
        yield ""
    for tiles in page.problems:
        yield from (_known_problem(page, tiles) if tiles.name == "known" else _monet_problem(tiles))
        yield ""
        yield from table(page, tiles.name)
        yield ""
        yield from reading(page, tiles.name)
        yield ""
        for way in WAYS:
            words = f"{ARROWS[way]}, held-out tiles, the first seed"
            yield f"![{words}]({_figure_name(tiles.name, way)})"
            yield ""
            yield f"*{words}.*"
            yield ""
    yield from _protocol(page)


def _made(page: Comparison) -> Iterator[str]:
    seconds = sum(result.seconds for result in page.results)
    yield "```"
    yield page.command
    yield "```"
    yield ""
    yield (
        f"{time.strftime('%Y-%m-%d')}, {_processor()}, {os.cpu_count()} cores, of which the run "
        f"used {page.threads} thread{'s' if page.threads > 1 else ''}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, cyclegan-media "
        f"{version('cyclegan-media')}. {len(page.results)} trainings, {seconds / 60:.0f} minutes "
        "of training by the wall clock, pauses for other work included."
    )
    yield ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _known_problem(page: Comparison, tiles: Tiles) -> Iterator[str]:
    yield "## A problem whose right answer is known"
    yield ""
    yield (
        f"A: {', '.join(tiles.sources['a'])}. B: other photographs, "
        f"{', '.join(tiles.sources['b'])}, under a look that is a function of the picture: brush "
        "(Kuwahara's filter), muted warm tones by a curve for each channel, ink along edges, and a "
        "canvas weave fixed to the tile. Nothing of A's photographs is in B. The truth of A→B is "
        "the look of the tile; of B→A it is the photograph under the look, some of which the look "
        "has destroyed."
    )


def _monet_problem(tiles: Tiles) -> Iterator[str]:
    yield "## A photograph and a painting"
    yield ""
    yield (
        f"A: {tiles.sources['a'][0]}, a photograph of the cliffs of Étretat. B: "
        f"{tiles.sources['b'][0]}, Monet's painting of them. There is no right answer; the kernel "
        "distance (KID) between translated held-out tiles and held-out tiles of the other domain "
        "tells how near the *look* is, on 153 features of colours and textures without weights "
        "(`cyclegan_media/metrics/image_features.py`): it cannot be compared with KID on "
        "Inception's features, and does not see whether the content was kept. Lower is nearer."
    )


def _protocol(page: Comparison) -> Iterator[str]:
    yield "## Protocol"
    yield ""
    yield (
        f"Tiles of {SIDE} × {SIDE} pixels from photographs scaled to {SHORTER} on their shorter "
        "side and brought to one exposure; half are mirrored. Tests take tiles from a strip in the "
        "middle of each photograph, a quarter of its width or more, from which nothing was "
        "trained. Every method starts from one recipe (`scripts/compare_variants.py`) and changes "
        "what its row says: U-Net of width 24 with 4 halvings, PatchGAN of width 16 with 2 layers, "
        "least squares, cycle 10, identity 5, Adam at 6e-4 and 4e-4 with linear decay over the "
        "second half, batches of 1, a history of 50, averaged weights. The last weights count. "
        "Seeds change initial weights and the order of the tiles, not the tiles. Weights of terms "
        "are those of each method's published recipe; nothing was tuned for any method but plain "
        "CycleGAN, for which generator and learning rates were chosen with one seed."
    )
    yield ""
    yield (
        f"Equal compute: {page.flops / 1e12:.2f} TFLOP a training, convolutions and matrix "
        "products of one step counted, forward and backward. Cheaper methods make more steps; "
        "one-sided ones learn one direction with all of it. Some methods are made for a ResNet; "
        "they are compared with CycleGAN on a ResNet. On tiles this small its instance "
        "normalisation takes away how light and how rich in contrast a tile is, which the U-Net's "
        "first skip keeps. Augmented CycleGAN translates with the code's mean, 0."
    )
    yield ""
    yield "| method | what changes | GFLOP a step | steps | seconds a training |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for method in page.methods:
        results = [r for r in page.results if r.method == method]
        if results:
            each, steps = results[0].flops_per_step / 1e9, results[0].steps
            seconds = statistics.median(r.seconds for r in results)
            variant = METHODS[method]
            yield f"| {variant.title} | {variant.change} | {each:.2f} | {steps} | {seconds:.0f} |"
    yield ""
    yield (
        "Not compared: Recycle-GAN and the loss of steadiness along the motion need clips that "
        "move in both domains, and the one real clip at hand shows two scenes; Face-off's mask "
        "needs faces; pix2pixHD's local enhancer needs pictures larger than these tiles."
    )
