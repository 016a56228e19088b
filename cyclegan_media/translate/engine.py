"""Generators run as fast as the device and the user's choice of precision allow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.translate.compiled import CompiledNetwork, seconds_a_frame, worth_compiling
from cyclegan_media.translate.inference import inference_copy
from cyclegan_media.translate.latent import WithCode
from cyclegan_media.translate.precision import Precision, choose_precision
from cyclegan_media.translate.quantise import QuantisedOnUse
from cyclegan_media.translate.streams import stop_between_layers
from cyclegan_media.translate.tiles_memory import available_memory, bytes_per_pixel

Run = Callable[..., Tensor]
"""Takes a batch of pictures, and for some networks a code each."""

_SHARE = 0.5
"""Share of the free memory that a batch may take."""
_MOST = 16
"""Frames at once that fill any GPU; more only make the queues longer."""


class Engine:
    """Makes of each generator what runs in its place; of each once, from its weights then.

    Raises:
        UserError: this machine lacks the precision; see :func:`.precision.choose_precision`.
    """

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision, self.dtype = choose_precision(precision, device)
        self._runs: dict[tuple[Backbone, bool], Run] = {}

    def ready(self, network: Backbone, *, compiled: bool = False) -> Run:
        """What computes ``network(x)``, to be called under autocast of :attr:`dtype`.

        int8 is for pictures, from whose first ones its ranges are; voices are in bfloat16 then.
        """
        if isinstance(network, WithCode):  # made anew for each code, of a network that stays
            inner, code = self.ready(network.generator, compiled=compiled), network.code
            return lambda x: inner(x, code.to(x).expand(len(x), -1))
        key = (network, compiled)
        if key not in self._runs:
            copy = network
            if self.device.type == "cpu":
                copy = inference_copy(network, self.dtype)
                if not compiled:
                    stop_between_layers(copy)
            run: Run = copy
            if self.precision == "int8" and network.modality != "voice":
                run = QuantisedOnUse(copy)
            elif compiled:
                run = CompiledNetwork(copy)
            self._runs[key] = run
        return self._runs[key]

    def pays_to_compile(self, network: Backbone, frames: int | None, size: tuple[int, int]) -> bool:
        """Whether so many frames, of this height and width, earn back what compiling takes."""
        if not worth_compiling(self.device, frames, 1.0):  # not even were they as slow as this
            return False
        m = network.multiple
        height, width = (-(-max(side, network.minimum) // m) * m for side in size)
        picture = torch.zeros(1, 3, height, width, device=self.device)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
            seconds = seconds_a_frame(self.ready(network), picture)
        return worth_compiling(self.device, frames, seconds)

    def is_steady(self, network: Backbone) -> bool:
        """Whether pictures may go through in any order: not while int8 takes ranges from them."""
        if isinstance(network, WithCode):
            return self.is_steady(network.generator)
        run = self._runs.get((network, False))
        return not isinstance(run, QuantisedOnUse) or run.is_steady

    def batch_size(self, network: Backbone, size: tuple[int, int]) -> int:
        """Frames of this height and width to translate at once, in one batch.

        On a CPU one: a second one brings nothing there, and takes memory and time to the first
        result. On a GPU as many as fit well into its free memory, 16 at most.
        """
        return 1 if self.device.type == "cpu" else self._fitting(network, size, _MOST)

    def side_by_side(self, network: Backbone, size: tuple[int, int]) -> int:
        """Frames of this height and width to translate at once on a CPU, each by itself.

        One for each core that PyTorch uses, if they fit well into free memory, 16 at most.
        """
        return self._fitting(network, size, min(_MOST, torch.get_num_threads()))

    def _fitting(self, network: Backbone, size: tuple[int, int], most: int) -> int:
        each = size[0] * size[1] * bytes_per_pixel(network, self.device)
        return max(1, min(most, int(_SHARE * available_memory(self.device) / each)))
