"""How weights and learning rates change with the step: pure functions, so nothing to save."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """The weight of one term of an objective, as a function of the step (counted from 0).

    Constant ``value``; or linear from ``value`` at step ``start`` to ``final`` at step ``end``,
    constant before and after. From step ``until`` on the weight is 0 and the term is not
    computed at all.
    """

    value: float
    final: float | None = None
    start: int = 0
    end: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if (self.final is None) != (self.end is None):
            raise ValueError("'final' and 'end' belong together: the weight reached, and when")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"'end' ({self.end}) must come after 'start' ({self.start})")

    def __call__(self, step: int) -> float:
        if self.until is not None and step >= self.until:
            return 0.0
        if self.final is None or self.end is None:
            return self.value
        way = min(1.0, max(0.0, (step - self.start) / (self.end - self.start)))
        return self.value + way * (self.final - self.value)


def learning_rate_factor(step: int, constant_steps: int, decay_steps: int) -> float:
    """1 for ``constant_steps`` steps, then linearly towards 0 over ``decay_steps`` (Zhu 2017, 4).

    The last step still has a rate above 0: the factor of step ``constant_steps + k`` is
    ``1 − (k + 1) / (decay_steps + 1)``.
    """
    if step < constant_steps:
        return 1.0
    return max(0.0, 1.0 - (step - constant_steps + 1) / (decay_steps + 1))
