"""Terms that speak of time: prediction (Recycle-GAN) and steadiness along the motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.methods import Clips, Recycle
from cyclegan_media.core.objective import Term, register_term


@register_term("recurrent")
@dataclass(frozen=True)
class Recurrent(Term):
    """``Σ_t ‖a_t+1 − P_A(a_1:t)‖²``, and the same for b: the predictors learn to predict.

    The recurrent loss of Bansal 2018, "Recycle-GAN", arXiv 1808.05174; the mean over elements.
    """

    reads = frozenset({"predicted_a", "predicted_b"})

    def __call__(self, t: Recycle) -> dict[str, Tensor]:
        return {
            "recurrent_a": F.mse_loss(t.predicted_a, t.last_a),
            "recurrent_b": F.mse_loss(t.predicted_b, t.last_b),
        }


@register_term("recycle")
@dataclass(frozen=True)
class Recycled(Term):
    """``Σ_t ‖a_t+1 − F(P_B(G(a_1:t)))‖²``, and the same for b: a cycle through time, too.

    The recycle loss of Bansal 2018, "Recycle-GAN", arXiv 1808.05174; the mean over elements.
    """

    reads = frozenset({"recycle_a", "recycle_b"})

    def __call__(self, t: Recycle) -> dict[str, Tensor]:
        return {
            "recycle_a": F.mse_loss(t.recycle_a, t.last_a),
            "recycle_b": F.mse_loss(t.recycle_b, t.last_b),
        }


@register_term("temporal")
@dataclass(frozen=True)
class Temporal(Term):
    """``E M ‖y_t+1 − W(y_t)‖₁`` of translated clips y: what moved along looks as it did before.

    Lai, Huang, Wang, Shechtman, Yumer, Yang 2018, "Learning Blind Video Temporal Consistency",
    arXiv 1808.00449, section 3.2 (short-term loss): W warps along the flow of the source, and
    ``M = exp(−α ‖x_t+1 − W(x_t)‖₂²)`` leaves out what the source shows to be hidden or to have
    changed by itself, the colours of x taken to 0…1. The frames need no pairs: each clip is
    compared with itself. Divided by Σ M, so that much hidden does not mean much steadiness.

    The extra ``flow`` is ``(batch, time − 1, 2, height, width)``: from each pixel of a frame, in
    pixels to the right and down, to where it was in the frame before.

    Args:
        alpha: α, 50 in the paper.
    """

    alpha: float = 50.0
    needs: ClassVar[frozenset[str]] = frozenset({"clips", "flow", "pixels"})
    reads = frozenset({"clip"})

    def __call__(self, t: Clips) -> dict[str, Tensor]:
        return {
            f"temporal_{way.name}": self._steadiness(
                t.clip("fake", way.target),
                t.clip("real", way.source),
                t.extras[f"flow_{way.source}"],
            )
            for way in t.directions
        }

    def _steadiness(self, translated: Tensor, source: Tensor, flow: Tensor) -> Tensor:
        motion = flow.flatten(0, 1)
        seen = (warp(_before(source), motion) - _after(source)) / 2
        inside = warp(torch.ones_like(seen[:, :1]), motion)
        visible = inside * torch.exp(-self.alpha * seen.square().sum(1, keepdim=True))
        change = (_after(translated) - warp(_before(translated), motion)).abs()
        return (visible * change).mean(1).sum() / visible.sum().clamp(min=1)


def _before(clip: Tensor) -> Tensor:
    return clip[:, :-1].flatten(0, 1)


def _after(clip: Tensor) -> Tensor:
    return clip[:, 1:].flatten(0, 1)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """``out(p) = picture(p + flow(p))``, bilinear; 0 where that lies outside of the picture.

    Args:
        picture: ``(batch, channels, height, width)``.
        flow: ``(batch, 2, height, width)``, in pixels to the right and down.
    """
    height, width = picture.shape[2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = (rows[:, None] + flow[:, 1]) * 2 / max(height - 1, 1) - 1
    x = (columns[None, :] + flow[:, 0]) * 2 / max(width - 1, 1) - 1
    return F.grid_sample(picture, torch.stack([x, y], dim=3), align_corners=True)
