"""Temporal predictor of Recycle-GAN: the next frame of a video from the frames before it.

Bansal, Ma, Ramanan, Sheikh: "Recycle-GAN: Unsupervised Video Retargeting", ECCV 2018, arXiv
1808.05174, equation 3: P_X minimises ``Σ_t ‖x_{t+1} − P_X(x_{1:t})‖²``, where two past frames,
concatenated, stand for x_{1:t}. The network is the U-Net of pix2pix (``unet.py``), as in the
authors' release when it is asked for one.
"""

from __future__ import annotations

from pydantic import Field

from cyclegan_media.backbones.registry import register
from cyclegan_media.backbones.unet import UNetConfig, UNetGenerator


class PredictorConfig(UNetConfig):
    frames: int = Field(2, ge=1, le=16)
    """Past frames that it sees."""

    @property
    def input_channels(self) -> int:
        return self.frames * self.channels


@register("predictor")
class Predictor(UNetGenerator):
    """Maps past frames to the next, ``(batch, channels, height, width)`` in −1…1.

    The input is ``(batch, frames · channels, height, width)``: the frames concatenated along the
    channels, the oldest first. Sizes are those of :class:`UNetGenerator`.
    """

    Config = PredictorConfig
    role = "predictor"
