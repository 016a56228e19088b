"""The tables of `compare_methods.py`, and what they say by a rule."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from compare_problems import Tiles
from compare_runs import BASELINES, WAYS, Result, Scores
from compare_variants import METHODS
from torch import Tensor

ARROWS = {"a2b": "A→B", "b2a": "B→A"}


@dataclass(frozen=True)
class Measure:
    """A column of a table."""

    key: str
    title: str
    digits: int
    higher_is_better: bool
    unit: str = ""


MEASURES = {
    "known": [
        Measure(f"{name}_{way}", f"{name.upper()} {ARROWS[way]}", digits, True, unit)
        for way in WAYS
        for name, digits, unit in (("psnr", 2, " dB"), ("ssim", 3, ""))
    ],
    "monet": [
        Measure(f"kid_{way}", f"KID {ARROWS[way]}", 3, higher_is_better=False) for way in WAYS
    ],
}


@dataclass
class Comparison:
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


def table(page: Comparison, problem: str) -> Iterator[str]:
    """Markdown: baselines, then a row a method, mean ± standard deviation over its seeds."""
    measures = MEASURES[problem]
    titles = [f"{m.title},{m.unit}" if m.unit else m.title for m in measures]
    heads = ["method", "steps", "seeds", *titles]
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


def reading(page: Comparison, problem: str) -> Iterator[str]:
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
        "where it is larger than the standard deviations of both together. With three seeds each "
        "one comparison in twelve would count by chance alone, with two one in five, so a single "
        "small difference proves nothing:"
    )
    yield ""
    for method, said in verdicts.items():
        if said:
            yield f"- {METHODS[method].title}: {'; '.join(said)}."
        elif page.of(problem, method):
            seeds = min(len(page.of(problem, name)) for name in (method, METHODS[method].reference))
            words = "no difference that counts" if seeds > 1 else "one seed, so nothing can be said"
            yield f"- {METHODS[method].title}: {words}."
    yield ""
    yield "Better than the better of the two baselines by more than a method's own deviation:"
    yield ""
    for measure in MEASURES[problem]:
        yield f"- {measure.title}: {_above_baselines(page, problem, measure)}."


def _above_baselines(page: Comparison, problem: str, measure: Measure) -> str:
    # The reverse of a distance is again the higher the better.
    sign = 1 if measure.higher_is_better else -1
    found = page.baselines[problem]
    scores = {title: found[title][0].get(measure.key) for title in BASELINES if title in found}
    known = {title: score for title, score in scores.items() if score is not None}
    if not known:
        return "no baseline"
    title, bar = max(known.items(), key=lambda item: sign * item[1])
    better = []
    for method in page.methods:
        values = page.values(problem, method, measure.key)
        if len(values) > 1 and sign * (statistics.mean(values) - bar) > statistics.stdev(values):
            better.append(METHODS[method].title)
    return f"{title} {bar:.{measure.digits}f}{measure.unit}; {', '.join(better) or 'none'}"


def _verdicts(page: Comparison, problem: str, method: str) -> Iterator[str]:
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
            size = f"{abs(difference):.{measure.digits}f}{measure.unit}"
            yield f"{measure.title} {sign}{size}, {'better' if better else 'worse'}"
