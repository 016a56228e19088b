"""Which stage of a video's translation is the limit, from how long each of them worked.

Three stages overlap (:mod:`.pipeline`), so the run takes what the slowest of them takes. Reading
and writing consist of two steps each, which take turns in one thread: what FFmpeg does, and the way
from its samples to RGB or back; the latter is part of translating where frames are translated side
by side, or on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

Stage = Literal["reading", "translating", "writing"]
Step = Literal["decoding", "converting to RGB", "converting from RGB", "encoding"]

_ENOUGH = 0.5
"""Share of the run below which no stage held it up: the three hardly overlapped."""

_ONE_CORE = "it takes one core; translate several files at the same time (the command batch)"
_ADVICE: dict[Stage | Step, str] = {
    "decoding": "a source of smaller frames or in H.264 is decoded faster",
    "converting to RGB": _ONE_CORE,
    "translating": (
        "a smaller network is faster (the command distill), and so may be another --precision"
    ),
    "converting from RGB": _ONE_CORE,
    "encoding": "--preset fast or veryfast takes less time, for a larger file",
}


class Stopwatch:
    """Adds up the seconds that are spent within ``with stopwatch:``, by one thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._start


@dataclass(frozen=True)
class StageTimes:
    """Seconds by the clock that a run took, and that its stages worked.

    What a stage waits for another is left out; what it waits for a core of the processor is not.
    """

    frames: int
    seconds: float
    """From the first frame asked for to the finished file."""
    stages: dict[Stage, float]
    """Each at most :attr:`seconds`. Translating is the network and, where they are asked for, faces
    and steadiness."""
    steps: dict[Step, float]
    """What reading and writing consist of; 0 for what is part of translating."""

    def share(self, stage: Stage) -> float:
        """Of the run, in 0…1."""
        return self.stages[stage] / self.seconds

    @property
    def limit(self) -> Stage | None:
        """The stage that held up the others; ``None`` where they hardly overlapped."""
        slowest = max(self.stages, key=self.share)
        return slowest if self.share(slowest) >= _ENOUGH else None

    def verdict(self) -> str:
        """Which stage is the limit, and what would help, in a sentence."""
        limit = self.limit
        if limit is None:
            return "No stage is the limit: the clip is too short for the three to overlap."
        step = max(_STEPS[limit], key=self.steps.__getitem__, default=None)
        name = limit if step is None else f"{limit}, most of it {step}"
        return f"The limit is {name}: {_ADVICE[step or limit]}."

    def table(self) -> str:
        """Stages and steps in rows: seconds, share of the run, and frames a second by itself."""
        lines = [f"{'stage':23}{'seconds':>9}{'busy':>8}{'frames/s':>10}"]
        for stage, seconds in self.stages.items():
            lines.append(self._row(stage, seconds))
            lines += [
                self._row(f"  {step}", self.steps[step])
                for step in _STEPS[stage]
                if self.steps[step]
            ]
        lines.append(self._row("the run", self.seconds))
        return "\n".join(lines)

    def _row(self, name: str, seconds: float) -> str:
        rate = f"{self.frames / seconds:.1f}" if seconds > 0 else "–"
        return f"{name:23}{seconds:9.2f}{seconds / self.seconds:8.0%}{rate:>10}"

    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "frames": self.frames,
            "seconds": self.seconds,
            "stages": self.stages,
            "steps": self.steps,
            "limit": self.limit,
        }


_STEPS: dict[Stage, tuple[Step, ...]] = {
    "reading": ("decoding", "converting to RGB"),
    "translating": (),
    "writing": ("converting from RGB", "encoding"),
}
