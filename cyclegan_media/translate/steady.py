"""Steady translations of video without training: what was made of a thing moves along with it.

A network that sees one frame at a time makes something slightly different of each, so a clip
flickers. Blind temporal consistency (Bonneel et al. 2015, "Blind Video Temporal Consistency"; Lai
et al. 2018, arXiv 1808.00449) takes the motion from the source, which is steady, and carries the
last output along. Here it is not the output that is carried but what the network *changed*,

    d_t = G(x_t) − x_t
    d'_t = d_t + β M_t (W(d'_t−1) − d_t)
    y'_t = x_t + d'_t

so that details that both have come from the frame at hand, and stay as sharp as they are there.
W moves a picture along the optical flow of the source. M is 1 where the source shows the same thing
as before, and falls to 0 where it does not:

    M_t = V_t exp(−α ‖x_t − W(x_t−1)‖²)        colours in 0…1

with V 0 where following the flow there and back does not end at the start. A cut, after which
hardly a pixel is known, begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.media.flow import FlowFinder, Picture, warp
from cyclegan_media.translate.image import Apply

STRENGTH = 0.75
"""β: averages over about the last four frames of a thing; more is steadier and less sharp."""
ALPHA = 50.0
"""α, as in Lai et al. 2018."""
CUT = 0.25
"""Mean of M below which a frame is the first of another shot."""

_LUMA = np.asarray((0.299, 0.587, 0.114), dtype=np.float32)


@dataclass(frozen=True)
class _Last:
    """The frame before."""

    lightness: NDArray[np.uint8]
    colours: Picture
    change: Picture


class SteadyApply:
    """Translates the frames of one video as ``apply`` does, but steadily over time.

    Can stand wherever an :data:`~cyclegan_media.translate.image.Apply` for the frames of a video
    does: they are given in order, each once. Memory holds one frame beside those of the batch.

    Args:
        apply: maps float32 ``(n, 3, height, width)`` in −1…1 to the same shape.
        strength: β, 0…1; 0 changes nothing.

    Raises:
        UserError: OpenCV is not installed, or the strength is not in 0…1 (1 itself would never
            let a frame's own translation through).
    """

    def __init__(self, apply: Apply, strength: float = STRENGTH) -> None:
        if not 0 <= strength < 1:
            raise UserError(f"steadiness: must be at least 0 and below 1, not {strength:g}")
        self._apply, self._strength = apply, strength
        self._finder = FlowFinder()
        self._last: _Last | None = None
        self.shots = 0
        """How many shots there were so far: one more than cuts."""

    def __call__(self, frames: Tensor) -> Tensor:
        """The next frames ``(n, 3, height, width)``, −1…1.

        Raises:
            UserError: a frame is smaller than 16 × 16 pixels.
        """
        outputs = self._apply(frames)
        pairs = zip(frames.cpu(), outputs.cpu(), strict=True)
        return torch.stack([self._steadied(frame, output) for frame, output in pairs]).to(outputs)

    def _steadied(self, frame: Tensor, output: Tensor) -> Tensor:
        colours, translated = _picture(frame), _picture(output)
        lightness = np.rint(255 * (colours @ _LUMA)).clip(0, 255).astype(np.uint8)
        change = translated - colours
        known = None if self._last is None else self._known(self._last, lightness, colours)
        if known is None:
            self.shots += 1
        else:
            carried, reliable = known
            change = change + self._strength * reliable[..., None] * (carried - change)
        self._last = _Last(lightness, colours, change)
        result = torch.from_numpy(colours + change).permute(2, 0, 1)
        return (2 * result - 1).clamp(-1, 1)

    def _known(
        self, last: _Last, lightness: NDArray[np.uint8], colours: Picture
    ) -> tuple[Picture, Picture] | None:
        """The last change, moved to this frame, and M; ``None`` after a cut."""
        if last.lightness.shape != lightness.shape:
            return None
        flow = self._finder.between(last.lightness, lightness)
        error = np.square(colours - warp(last.colours, flow.to_previous)).sum(axis=2)
        reliable = np.exp(-ALPHA * error) * flow.seen_before
        if reliable.mean() < CUT:
            return None
        return warp(last.change, flow.to_previous, cubic=True), reliable


def _picture(frame: Tensor) -> Picture:
    """``(height, width, 3)``, 0…1, as OpenCV takes it."""
    return ((frame.float() + 1) / 2).permute(1, 2, 0).contiguous().numpy()
