"""Log-mel spectrum → waveform: what every vocoder is, and whether one fits an analysis."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.log_mel import LogMelConfig


class Vocoder(Protocol):
    """Makes waveforms of log-mel spectra."""

    @property
    def name(self) -> str:
        """What to call it in messages: its kind and its file, for instance."""

    @property
    def convention(self) -> LogMelConfig:
        """The analysis whose spectra it takes."""

    def __call__(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """The waveform ``(convention.samples(frames),)`` of a log-mel spectrum ``(bands, frames)``.

        In about −1…1 at ``convention.sample_rate``; the same for the same input.
        """


def check_vocoder(vocoder: Vocoder, config: LogMelConfig) -> None:
    """Refuse a vocoder for other spectra than ``config`` describes.

    Their floors may differ: that is about what counts as silence.

    Raises:
        UserError: names the first setting that differs, with both values.
    """
    wanted = vocoder.convention
    for key in ("sample_rate", "hop", "bands", "n_fft", "f_min", "f_max", "filters", "centred"):
        attribute = "highest" if key == "f_max" else key
        takes, has = getattr(wanted, attribute), getattr(config, attribute)
        if takes != has:
            raise UserError(
                f"vocoder {vocoder.name}: is for spectra of {key} {_shown(takes)}, but the model's"
                f" analysis has {key} {_shown(has)}; choose a vocoder that was trained on the same"
            )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
