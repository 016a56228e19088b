"""Training on consecutive frames, for objectives that speak of time.

:class:`Recycle` is that of Bansal, Ma, Ramanan, Sheikh 2018: "Recycle-GAN: Unsupervised Video
Retargeting", arXiv 1808.05174, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from cyclegan_media.core.cyclegan import CycleGAN
from cyclegan_media.core.translation import Part, Roster, Translation, register_method


@register_method("clips")
class Clips(Translation):
    """CycleGAN, each example being a clip ``(batch, time, …)`` of consecutive frames.

    The frames are folded into the batch, ``(batch · time, …)``, so every term that speaks of
    single examples holds for each frame; :meth:`clip` unfolds a tensor again. Extras that are
    shaped ``(batch, time, …)`` are folded likewise.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"clips"})

    def __init__(
        self,
        networks: CycleGAN,
        real_a: Tensor,
        real_b: Tensor,
        extras: Mapping[str, Tensor] | None = None,
        step: int = 0,
    ) -> None:
        clips = real_a.shape[:2]
        folded = {
            name: extra.flatten(0, 1) if extra.shape[:2] == clips else extra
            for name, extra in (extras or {}).items()
        }
        super().__init__(networks, real_a.flatten(0, 1), real_b.flatten(0, 1), folded, step)
        self.frames = real_a.shape[1]
        """Frames in each clip."""

    def clip(self, what: str, domain: str) -> Tensor:
        """``clip("fake", "b")`` is ``fake_b`` as clips ``(batch, time, …)``."""
        return self.of(what, domain).unflatten(0, (-1, self.frames))


@register_method("recycle")
class Recycle(Clips):
    """Recycle-GAN: temporal predictors P_A and P_B give the last frame of a clip from the others.

    A predictor takes the earlier frames, joined along their channels, oldest first:
    ``(batch, (time − 1) · 3, height, width)``. The paper has clips of three.
    """

    roster: ClassVar[Roster] = {
        **Translation.roster,
        "predictor_a": Part("predictor"),
        "predictor_b": Part("predictor"),
    }

    @cached_property
    def last_a(self) -> Tensor:
        """a_t+1, the last frame of each clip"""
        return self.clip("real", "a")[:, -1]

    @cached_property
    def last_b(self) -> Tensor:
        """b_t+1"""
        return self.clip("real", "b")[:, -1]

    @cached_property
    def predicted_a(self) -> Tensor:
        """P_A(a_1:t), which should be a_t+1"""
        return self.networks["predictor_a"](_past(self.clip("real", "a")))

    @cached_property
    def predicted_b(self) -> Tensor:
        """P_B(b_1:t), which should be b_t+1"""
        return self.networks["predictor_b"](_past(self.clip("real", "b")))

    @cached_property
    def recycle_a(self) -> Tensor:
        """F(P_B(G(a_1:t))), which should be a_t+1"""
        predicted = self.networks["predictor_b"](_past(self.clip("fake", "b")))
        return self.networks.generator_b2a(predicted)

    @cached_property
    def recycle_b(self) -> Tensor:
        """G(P_A(F(b_1:t))), which should be b_t+1"""
        predicted = self.networks["predictor_a"](_past(self.clip("fake", "a")))
        return self.networks.generator_a2b(predicted)


def _past(clip: Tensor) -> Tensor:
    return clip[:, :-1].flatten(1, 2)
