"""The page of `compare_methods.py`: Markdown with tables, a reading by rule, and figures."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from compare_problems import SHORTER, SIDE, Tiles, as_pixels
from compare_runs import WAYS, Result, Scores, result_file, shown, sources, truths
from compare_variants import METHODS
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cyclegan_media.files import atomic_file
from cyclegan_media.media import read_image

ARROWS = {"a2b": "A→B", "b2a": "B→A"}


@dataclass(frozen=True)
class Measure:
    """A column of a table."""

    key: str
    title: str
    digits: int
    higher_is_better: bool


MEASURES = {
    "known": [
        Measure(f"{name}_{way}", f"{title} {ARROWS[way]}", digits, higher_is_better=True)
        for way in WAYS
        for name, title, digits in (("psnr", "PSNR, dB,", 2), ("ssim", "SSIM", 3))
    ],
    "monet": [
        Measure(f"kid_{way}", f"KID {ARROWS[way]}", 3, higher_is_better=False) for way in WAYS
    ],
}


@dataclass
class Page:
    """All that the page tells."""

    command: str
    flops: float
    """Of one training."""
    threads: int
    notes: str
    methods: list[str]
    problems: list[Tiles]
    baselines: dict[str, dict[str, tuple[Scores, dict[str, Tensor]]]]
    """By problem and title: scores, and pictures by direction."""
    results: list[Result] = field(default_factory=list)

    def of(self, problem: str, method: str) -> list[Result]:
        """Those that did not fail."""
        return [
            r for r in self.results if (r.problem, r.method) == (problem, method) and not r.failure
        ]

    def values(self, problem: str, method: str, key: str) -> list[float]:
        """A score over the seeds."""
        return [r.scores[key] for r in self.of(problem, method) if key in r.scores]


def write_page(out: Path, work: Path, page: Page) -> None:
    """Write ``methods.md`` and a figure for each problem and direction into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for tiles in page.problems:
        for way in WAYS:
            figure = _figure(page, work, tiles, way)
            with atomic_file(out / _figure_name(tiles.name, way), overwrite=True) as partial:
                figure.save(partial, "webp", quality=80, method=6)
    with atomic_file(out / "methods.md", overwrite=True) as partial:
        partial.write_text("\n".join(_lines(page)) + "\n", encoding="utf-8")


def _figure_name(problem: str, way: str) -> str:
    return f"{problem}-{way}.webp"


# --- text --------------------------------------------------------------------------------------


def _lines(page: Page) -> Iterator[str]:
    yield "# Methods compared"
    yield ""
    yield (
        "Every method of the toolkit for pictures against vanilla CycleGAN, on two small unpaired "
        "problems, at equal compute. The networks are tiny and the trainings short: this tells how "
        "the methods do on a small budget, not how the published models do on theirs."
    )
    yield ""
    yield from _made(page)
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
    if page.notes:
        yield "## What the pictures show"
        yield ""
        yield page.notes.strip()
        yield ""
    yield from _protocol(page)


def _made(page: Page) -> Iterator[str]:
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
        "of training by the wall clock, other work going on beside."
    )
    yield ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _known_problem(page: Page, tiles: Tiles) -> Iterator[str]:
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


def table(page: Page, problem: str) -> Iterator[str]:
    """Markdown: baselines, then a row a method, mean ± standard deviation over its seeds."""
    measures = MEASURES[problem]
    heads = ["method", "steps", "seeds", *(measure.title for measure in measures)]
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    for title, (scores, _) in page.baselines[problem].items():
        cells = [f"{scores[m.key]:.{m.digits}f}" if m.key in scores else "" for m in measures]
        yield f"| *{title}* | | | {' | '.join(cells)} |"
    for method in page.methods:
        results = page.of(problem, method)
        if results:
            cells = [spread(page.values(problem, method, m.key), m.digits) for m in measures]
            head = f"{METHODS[method].title} | {results[0].steps} | {len(results)}"
            yield f"| {head} | {' | '.join(cells)} |"


def spread(values: list[float], digits: int) -> str:
    """``mean ± deviation``; the mean alone of one value, a dash of none."""
    if not values:
        return "—"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def reading(page: Page, problem: str) -> Iterator[str]:
    """What the table says, by a rule: a difference from the method's reference counts where it is
    larger than both standard deviations together."""
    for result in page.results:
        if result.problem == problem and result.failure:
            title = METHODS[result.method].title
            yield f"**{title}, seed {result.seed}, failed:** {result.failure}"
            yield ""
    verdicts = {
        method: list(_verdicts(page, problem, method))
        for method in page.methods
        if METHODS[method].reference != method and method != "vanilla_resnet"
    }
    yield (
        "By the rule that a difference from plain CycleGAN with the same kind of generator counts "
        "where it is larger than the standard deviations of both together (three seeds prove "
        "little):"
    )
    yield ""
    for method, said in verdicts.items():
        if said:
            yield f"- {METHODS[method].title}: {'; '.join(said)}."
        elif page.of(problem, method):
            seeds = min(len(page.of(problem, name)) for name in (method, METHODS[method].reference))
            words = "no difference that counts" if seeds > 1 else "one seed, so nothing can be said"
            yield f"- {METHODS[method].title}: {words}."


def _verdicts(page: Page, problem: str, method: str) -> Iterator[str]:
    for measure in MEASURES[problem]:
        ours, base = (
            page.values(problem, name, measure.key) for name in (method, METHODS[method].reference)
        )
        if min(len(ours), len(base)) < 2:
            continue
        difference = statistics.mean(ours) - statistics.mean(base)
        if abs(difference) > statistics.stdev(ours) + statistics.stdev(base):
            better = (difference > 0) == measure.higher_is_better
            sign = "+" if difference > 0 else "−"
            size = f"{abs(difference):.{measure.digits}f}"
            yield f"{measure.title} {sign}{size}, {'better' if better else 'worse'}"


def _protocol(page: Page) -> Iterator[str]:
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
            seconds = statistics.mean(r.seconds for r in results)
            variant = METHODS[method]
            yield f"| {variant.title} | {variant.change} | {each:.2f} | {steps} | {seconds:.0f} |"
    yield ""
    yield (
        "Not compared: Recycle-GAN and the loss of steadiness along the motion need clips that "
        "move in both domains, and the one real clip at hand shows two scenes; Face-off's mask "
        "needs faces; pix2pixHD's local enhancer needs pictures larger than these tiles."
    )


# --- figures -----------------------------------------------------------------------------------

_LABELS, _GAP, _SCALE = 250, 4, 1.5


def _figure(page: Page, work: Path, tiles: Tiles, way: str) -> Image.Image:
    """A row of tiles for the input, the truth where there is one, and each method."""
    before = sources(tiles, way)  # type: ignore[arg-type]
    rows = {"input": _row(before)}
    if tiles.name == "known":
        rows["right answer"] = _row(truths(tiles, way))  # type: ignore[arg-type]
    for title, (_, pictures) in page.baselines[tiles.name].items():
        if title != "Unconverted":
            rows[title] = _row(pictures[way])
    for method in page.methods:
        results = page.of(tiles.name, method)
        if results and way in METHODS[method].ways:
            file = result_file(work, tiles.name, method, results[0].seed)
            strip = read_image(file.with_name(f"{file.stem}-{way}.png")).pixels
            rows[METHODS[method].title] = Image.fromarray(strip.astype("uint8"))
    side = round(SIDE * _SCALE)
    width = side * math.ceil(max(row.width for row in rows.values()) / SIDE)
    sheet = Image.new("RGB", (_LABELS + width, len(rows) * (side + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (title, row) in enumerate(rows.items()):
        top = number * (side + _GAP)
        draw.multiline_text((4, top + side // 2 - 16), title.replace(" (", "\n("), "black", font)
        scaled = row.resize((side * row.width // SIDE, side), Image.Resampling.BICUBIC)
        sheet.paste(scaled, (_LABELS, top))
    return sheet


def _row(pictures: Tensor) -> Image.Image:
    chosen = pictures[shown(len(pictures))]
    return Image.fromarray(as_pixels(torch.cat([*chosen], dim=2)[None])[0])
