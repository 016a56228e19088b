"""Segments of a voice varied at random, so that a few minutes of speech go further.

What is varied is what one speaker varies, too, from day to day: how loud, how fast, and (a little)
where the formants lie. A variation wider than that makes the voice another one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.datasets.unpaired import Domain
from cyclegan_media.datasets.voices import VoiceSegments
from cyclegan_media.errors import UserError
from cyclegan_media.speech import AnalysisConfig, LogMelConfig, SpeakerStatistics, VoiceAnalysis
from cyclegan_media.speech.mel_cepstrum import rewarp

_WARPINGS = 33
"""Shifts of the formants that are told apart: from one to the next is far less than is heard."""


def varied(
    segments: VoiceSegments,
    statistics: SpeakerStatistics,
    config: VoiceAnalysis,
    *,
    level: float = 0.0,
    formants: float = 0.0,
    tempo: float = 0.0,
) -> Domain:
    """:class:`VariedSegments`; ``segments`` themselves where nothing varies."""
    if not (level or formants or tempo):
        return segments
    return VariedSegments(segments, statistics, config, level=level, formants=formants, tempo=tempo)


class VariedSegments:
    """A domain of segments whose level, formants and tempo are drawn anew for each sample.

    The statistics that segments are standardised by remain those of the recordings as they are.

    Args:
        segments: what is varied.
        statistics: what they are standardised by.
        config: how they were analysed.
        level: dB; segments of log-mel bands get up to so much louder or quieter, evenly
            distributed. Mel-cepstra hold no level.
        formants: 0…1; all frequencies move by a factor between ``1 / (1 + formants)`` and
            ``1 + formants``, whose logarithm is evenly distributed. Of mel-cepstra this is the
            bilinear transform (Pitz & Ney, "Vocal Tract Normalization Equals Linear Transformation
            in Cepstral Space", 2005), which has the factor at low frequencies and ends at half the
            sample rate; of log-mel bands the axis is stretched, with the pitch that they hold.
        tempo: 0…1; speech gets faster or slower by a factor between ``1 / (1 + tempo)`` and
            ``1 + tempo``, whose logarithm is evenly distributed. Its pitch stays.

    Raises:
        UserError: ``level`` with mel-cepstra.
    """

    def __init__(
        self,
        segments: VoiceSegments,
        statistics: SpeakerStatistics,
        config: VoiceAnalysis,
        *,
        level: float = 0.0,
        formants: float = 0.0,
        tempo: float = 0.0,
    ) -> None:
        self.segments, self.level, self.tempo = segments, level, tempo
        self._mean = torch.from_numpy(statistics.mean)[:, None]
        scale = np.broadcast_to(statistics.std / statistics.weight, statistics.mean.shape)
        self._scale = torch.from_numpy(np.array(scale, dtype=np.float32))[:, None]
        self._floor = -math.inf
        if isinstance(config, LogMelConfig):
            self._floor = math.log(config.floor)
        elif level:
            raise UserError("level: mel-cepstra hold none; leave it out, or vary log-mel spectra")
        self._maps: list[Tensor] = []
        if formants:
            analysis = statistics.analysis(config)
            factors = (1 + formants) ** np.linspace(-1, 1, _WARPINGS)
            self._maps = [torch.from_numpy(warping(analysis, float(f))) for f in factors]

    def __len__(self) -> int:
        return len(self.segments)

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        """A segment ``(coefficients, frames)``, float32; a function of its arguments alone."""
        frames = self.segments.frames
        taken = frames
        if self.tempo:
            taken = max(2, round(frames * (1 + self.tempo) ** _between(-1, 1, rng)))
        spectrum = self.segments.cut(index, taken, rng)
        if spectrum.shape[1] != frames:
            spectrum = torch.nn.functional.interpolate(
                spectrum[None, None],
                size=(spectrum.shape[0], frames),
                mode="bicubic",  # along time alone, and smoothing less than a line would
                align_corners=True,
            )[0, 0]
        if not self._maps and not self.level:
            return spectrum
        plain = spectrum * self._scale + self._mean
        if self._maps:
            plain = self._maps[int(torch.randint(len(self._maps), (), generator=rng))] @ plain
        if self.level:
            gain = _between(-self.level, self.level, rng) * math.log(10) / 20
            plain = (plain + gain).clamp(min=self._floor)
        return (plain - self._mean) / self._scale


def warping(config: VoiceAnalysis, factor: float) -> NDArray[np.float32]:
    """What moves all formants by ``factor``, as a linear map ``(coefficients, coefficients)``.

    Args:
        config: the speaker's, with its all-pass constant.
    """
    if isinstance(config, AnalysisConfig):
        # Two all-pass filters in a row are one, whose slope at 0 is the product of theirs.
        change = (factor - 1) / (factor + 1)
        moved = (config.warping + change) / (1 + config.warping * change)
        unit = np.eye(config.coefficients + 1)
        whole = rewarp(unit, config.warping, moved, config.coefficients)
        # c₀ needs none of the others' company: a constant stays one however the axis is bent.
        return np.ascontiguousarray(whole[1:, 1:], dtype=np.float32)
    from librosa import mel_frequencies

    edges = (config.f_min, config.highest)
    centres = mel_frequencies(
        config.bands + 2, fmin=edges[0], fmax=edges[1], htk=config.filters == "htk"
    )[1:-1]
    numbers = np.arange(len(centres), dtype=np.float64)
    place = np.interp(centres / factor, centres, numbers)
    lower = np.minimum(place.astype(int), len(centres) - 2)
    share = place - lower
    matrix = np.zeros((len(centres), len(centres)))
    rows = np.arange(len(centres))
    matrix[rows, lower] = 1 - share
    matrix[rows, lower + 1] += share
    return matrix.astype(np.float32)


def _between(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=rng))
