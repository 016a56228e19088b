"""How recordings are read for analysis; free of torch, since analysing processes import it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import read_audio, read_rate
from cyclegan_media.speech.kinds import VoiceAnalysis
from cyclegan_media.speech.log_mel import LogMelConfig


def read_samples(path: Path, sample_rate: int) -> NDArray[np.floating[Any]]:
    """The best audio stream of a file, mixed to mono, ``(n,)`` in −1…1 at ``sample_rate``."""
    return read_audio(path, sample_rate=sample_rate, mono=True).samples[0]


def check_rates(
    paths: Sequence[Path], config: VoiceAnalysis, say: Callable[[str], None] = lambda text: None
) -> None:
    """Refuse recordings of which some hold frequencies that the analysis sees, and others not.

    Networks tell the two apart by what is missing, whoever speaks. What lies above the highest
    frequency of the analysis does not matter.

    Args:
        say: told where all recordings end below that frequency, which is no mistake.

    Raises:
        UserError: names a recording of the lowest rate and one of a higher.
    """
    is_mel = isinstance(config, LogMelConfig)
    highest = config.highest if isinstance(config, LogMelConfig) else config.sample_rate / 2
    rates = {path: read_rate(path) for path in paths}
    lowest = min(rates, key=lambda path: rates[path])
    reach = min(rates[lowest] / 2, highest)
    if reach == highest:
        return
    wider = next((path for path in rates if rates[path] > rates[lowest]), None)
    if wider is not None:
        key, value = ("f_max", reach) if is_mel else ("sample_rate", rates[lowest])
        raise UserError(
            f"{lowest}: has {rates[lowest]} samples a second, but {wider} has {rates[wider]}, and"
            f" networks that see frequencies up to {highest:g} Hz would learn that difference"
            f" instead of the voices; set data.analysis.{key} to {value:g} or less, or leave out"
            " recordings of lower rates"
        )
    say(
        f"all recordings have {rates[lowest]} samples a second: there is nothing above"
        f" {reach:g} Hz to learn, though the analysis goes up to {highest:g} Hz"
    )
