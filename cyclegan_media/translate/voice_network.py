"""A generator of voices, run in the arithmetic that the device and the user's choice allow.

bfloat16 keeps 8 bits of what each layer makes. In the standardised spectra that a generator of
voices returns this is lost among the coefficients' deviations of 1:
``tests/test_translate_voice_speed.py`` holds the mel-cepstral distortion to single precision below
0.1 dB, where what a training leaves to the target speaker is 5 dB and more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import RunError
from cyclegan_media.translate.engine import Engine


class VoiceNetwork(nn.Module):
    """Takes and returns ``(batch, coefficients, frames)`` as ``network`` does, by an engine.

    Args:
        network: on the engine's device.
        engine: says in which arithmetic, and what runs in the network's place.
    """

    def __init__(self, network: Backbone, engine: Engine) -> None:
        super().__init__()
        self.multiple, self.minimum = network.multiple, network.minimum
        # First, so that callers who ask for the type and the place of parameters find its own.
        self.network = network
        self.run = engine.ready(network)
        self.device, self.dtype = engine.device.type, engine.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network.

        Raises:
            RunError: the output is not finite.
        """
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            output = self.run(x)
        if not bool(torch.isfinite(output).all()):
            raise RunError("the model's output is not finite; try --precision fp32")
        return output
