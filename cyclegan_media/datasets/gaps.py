"""Gaps in time that generators learn to fill in."""

from __future__ import annotations

import torch
from torch import Tensor

from cyclegan_media.datasets.unpaired import Domain, as_example


def with_gaps(domain: Domain, longest: int) -> Domain:
    """``domain`` with gaps of at most ``longest`` frames; itself where that is 0."""
    return WithGaps(domain, longest) if longest else domain


class WithGaps:
    """A domain of segments ``(coefficients, frames)`` that also gives ``mask``.

    Kaneko 2021, "MaskCycleGAN-VC", arXiv 2102.12841, section 3: in each example a run of frames
    is hidden, of random length and at a random place.

    Args:
        longest: at most so many frames are hidden; any number from 0 to this is as likely.
    """

    def __init__(self, domain: Domain, longest: int) -> None:
        self.domain, self.longest = domain, longest

    def __len__(self) -> int:
        return len(self.domain)

    def sample(self, index: int, rng: torch.Generator) -> dict[str, Tensor]:
        """A segment ``real`` and its ``mask`` ``(1, frames)``: 1 known, 0 hidden."""
        example = as_example(self.domain.sample(index, rng))
        frames = example["real"].shape[-1]
        length = int(torch.randint(self.longest + 1, (), generator=rng))
        start = int(torch.randint(frames - length + 1, (), generator=rng))
        mask = torch.ones(1, frames)
        mask[:, start : start + length] = 0
        return {**example, "mask": mask}
