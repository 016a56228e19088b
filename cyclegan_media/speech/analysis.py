"""Waveform ↔ F0, mel-cepstrum and aperiodicity, with the WORLD vocoder.

Morise, Yokomori, Ozawa: "WORLD: A Vocoder-Based High-Quality Speech Synthesis System for
Real-Time Applications", 2016; the spectral envelope is CheapTrick's (Morise 2015), the
aperiodicity D4C's (Morise 2016), F0 Harvest's (Morise 2017) or DIO's refined by StoneMask.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cyclegan_media.errors import UserError
from cyclegan_media.speech.interface import Floats, checked_signal
from cyclegan_media.speech.mel_cepstrum import (
    default_alpha,
    envelope_to_mel_cepstrum,
    mel_cepstrum_to_envelope,
)
from cyclegan_media.speech.octaves import repair_octaves

_BLOCK_SECONDS = 15.0
_CONTEXT_SECONDS = 0.5
"""Long recordings are analysed in blocks, each with this much of its neighbours on both sides:
several periods of the lowest F0, so that a block's values are those of the whole (all but the
aperiodicity's, to which D4C adds a little noise that depends on all frames before).

With their context they last 16 s, which at the 8 kHz that Harvest works at just fit a Fourier
transform of 2¹⁷: 20 s would be padded to twice that, and take a fifth longer a second."""


class AnalysisConfig(BaseModel):
    """How waveforms are analysed and synthesised by WORLD. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["world"] = "world"
    sample_rate: Annotated[int, Field(ge=8000, le=96000)] = 16000
    """Hz; recordings are resampled to it."""
    frame_period: Annotated[float, Field(ge=1, le=20)] = 5.0
    """Milliseconds from one frame to the next."""
    coefficients: Annotated[int, Field(ge=1, le=512)] = 24
    """Mel-cepstral coefficients c₁ … ; c₀, the energy, is kept apart."""
    alpha: Annotated[float, Field(ge=0, lt=1)] | None = None
    """All-pass constant of the frequency warping; null: 0.42 at 16 kHz, by the rate elsewhere."""
    f0: Literal["harvest", "dio"] = "harvest"
    """How F0 is found: ``dio`` is many times faster, ``harvest`` misses fewer voiced frames."""
    f0_floor: Annotated[float, Field(ge=40, le=500)] = 71.0
    """Hz, the lowest F0 looked for."""
    f0_ceil: Annotated[float, Field(ge=100, le=1600)] = 800.0
    """Hz, the highest."""
    f0_repair: bool = False
    """Undo isolated octave jumps of F0; see :mod:`cyclegan_media.speech.octaves`."""

    size_key: ClassVar[str] = "coefficients"

    @model_validator(mode="after")
    def _range_holds_an_octave(self) -> AnalysisConfig:
        if self.f0_ceil < 2 * self.f0_floor:
            raise ValueError(
                f"f0_ceil ({self.f0_ceil:g}) must be at least twice f0_floor ({self.f0_floor:g})"
            )
        return self

    @property
    def warping(self) -> float:
        """The all-pass constant in effect."""
        return default_alpha(self.sample_rate) if self.alpha is None else self.alpha

    @property
    def fft_size(self) -> int:
        """CheapTrick's: the power of two above three periods of the lowest F0."""
        return int(2 ** (1 + int(np.log2(3 * self.sample_rate / self.f0_floor + 1))))

    @property
    def frame_samples(self) -> float:
        """Samples from one frame to the next."""
        return self.sample_rate * self.frame_period / 1000

    @property
    def cache_key(self) -> str:
        """All that the features depend on."""
        # The constant in effect, not null, since the rule that null stands for may change.
        settings = self.model_copy(update={"alpha": self.warping})
        return settings.model_dump_json(exclude={"kind"})

    def analyse(self, samples: Floats) -> Features:
        """See :func:`analyse`."""
        return analyse(samples, self)

    def frames(self, samples: int) -> int:
        """The number of frames of a recording of ``samples`` samples (at least 1)."""
        return int(1000 * samples / self.sample_rate / self.frame_period) + 1


@dataclass(frozen=True)
class Features:
    """What WORLD finds in one recording; frame ``k`` is centred at ``k · frame_period``."""

    f0: NDArray[np.float32]
    """``(frames,)`` in Hz; 0 where unvoiced."""
    mel_cepstrum: NDArray[np.float32]
    """``(coefficients, frames)``: c₁ …, natural logarithm of amplitude."""
    energy: NDArray[np.float32]
    """``(frames,)``: c₀."""
    samples: int
    """Length of the recording at the config's sample rate."""
    aperiodicity: NDArray[np.float32] | None = None
    """``(frames, fft_size / 2 + 1)``, 0…1; only when asked for."""

    @property
    def frames(self) -> int:
        return len(self.f0)

    @property
    def spectrum(self) -> NDArray[np.float32]:
        return self.mel_cepstrum

    @property
    def voiced(self) -> NDArray[np.bool_]:
        return self.f0 > 0

    def with_spectrum(self, spectrum: NDArray[np.float32]) -> Features:
        return replace(self, mel_cepstrum=spectrum)

    def level(self) -> NDArray[np.float32]:
        """``(frames,)``: the level of each frame in dB, ``20 log₁₀`` of c₀'s amplitude."""
        return (20 / np.log(10) * self.energy).astype(np.float32)


def analyse(
    samples: Floats, config: AnalysisConfig | None = None, *, aperiodicity: bool = False
) -> Features:
    """Analyse one recording of any length, silence included.

    Args:
        samples: ``(n,)`` in −1…1 at ``config.sample_rate``.
        aperiodicity: find it too (needed for synthesis; large).

    Raises:
        UserError: not one channel, no samples, or values that are not finite.
    """
    config = config or AnalysisConfig()
    signal = checked_signal(samples)
    parts = [_block(part, config, aperiodicity, *keep) for part, keep in _blocks(signal, config)]
    f0, cepstra, aperiodicities = zip(*parts, strict=True)
    cepstrum = np.concatenate(cepstra, axis=1).astype(np.float32)
    return Features(
        f0=np.concatenate(f0).astype(np.float32),
        mel_cepstrum=np.ascontiguousarray(cepstrum[1:]),
        energy=cepstrum[0].copy(),
        samples=len(signal),
        aperiodicity=np.concatenate(aperiodicities) if aperiodicity else None,
    )


def find_aperiodicity(
    samples: Floats, f0: Floats, config: AnalysisConfig | None = None
) -> NDArray[np.float32]:
    """The aperiodicity ``(frames, fft_size / 2 + 1)`` of samples whose F0 is known.

    For parts of a long recording: the aperiodicity of all of it would fill the memory.

    Args:
        samples: ``(n,)`` in −1…1 at ``config.sample_rate``.
        f0: ``(frames,)`` in Hz, 0 where unvoiced; frame ``k`` is centred at ``k · frame_period``.

    Raises:
        UserError: not one channel, no samples, or values that are not finite.
    """
    config = config or AnalysisConfig()
    signal = checked_signal(samples)
    signal = np.pad(signal, (0, max(0, 2 * config.fft_size - len(signal))))
    f0 = np.ascontiguousarray(f0, dtype=np.float64)
    times = np.arange(len(f0)) * (config.frame_period / 1000)
    found = world().d4c(signal, f0, times, config.sample_rate, fft_size=config.fft_size)
    return np.asarray(found, dtype=np.float32)


def synthesise(features: Features, config: AnalysisConfig | None = None) -> NDArray[np.float32]:
    """The waveform ``(features.samples,)`` of features analysed with their aperiodicity.

    Raises:
        UserError: the aperiodicity is missing, or shapes do not fit each other or ``config``.
    """
    config = config or AnalysisConfig()
    _check_synthesis(features, config)
    cepstrum = np.concatenate([features.energy[None], features.mel_cepstrum])
    bins = config.fft_size // 2 + 1
    signal = world().synthesize(
        np.ascontiguousarray(features.f0, dtype=np.float64),
        np.ascontiguousarray(mel_cepstrum_to_envelope(cepstrum, bins, config.warping)),
        np.ascontiguousarray(features.aperiodicity, dtype=np.float64),
        config.sample_rate,
        config.frame_period,
    )
    out = np.zeros(features.samples, dtype=np.float32)
    count = min(len(signal), features.samples)
    out[:count] = signal[:count]
    return out


@cache
def world() -> ModuleType:
    """The module pyworld, imported on first use without its warning about its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld
    return pyworld


def _blocks(
    signal: NDArray[np.float64], config: AnalysisConfig
) -> Iterator[tuple[NDArray[np.float64], tuple[int, int]]]:
    """Parts of ``signal`` with context, and which of their frames count (first, number)."""
    total = config.frames(len(signal))
    period = config.frame_samples
    # 1000 frames are a whole number of samples if the period has at most three decimals.
    unit = next((k for k in (1, 10, 100, 1000) if (k * period).is_integer()), total)
    length = max(unit, int(_BLOCK_SECONDS * 1000 / config.frame_period) // unit * unit)
    context = -(-int(_CONTEXT_SECONDS * 1000 / config.frame_period) // unit) * unit
    if total <= length + context:
        yield signal, (0, total)
        return
    for start in range(0, total, length):
        first = max(0, start - context)
        count = min(length, total - start)
        stop = min(len(signal), int((start + count + context) * period))
        yield np.ascontiguousarray(signal[int(first * period) : stop]), (start - first, count)


def _block(
    signal: NDArray[np.float64],
    config: AnalysisConfig,
    aperiodicity: bool,
    first: int,
    count: int,
) -> tuple[Floats, Floats, Floats | None]:
    rate, period = config.sample_rate, config.frame_period
    # Recordings shorter than a window are continued by silence, which adds frames to be dropped;
    # so are those whose last frame falls prey to rounding.
    wanted = 2 * config.fft_size
    if config.frames(len(signal)) < first + count:
        wanted = max(wanted, int((first + count) * rate * period / 1000) + 1)
    signal = np.pad(signal, (0, max(0, wanted - len(signal))))
    finder = world().harvest if config.f0 == "harvest" else world().dio
    f0, times = finder(
        signal, rate, f0_floor=config.f0_floor, f0_ceil=config.f0_ceil, frame_period=period
    )
    if config.f0 == "dio":
        f0 = world().stonemask(signal, f0, times, rate)
    if config.f0_repair:
        f0 = repair_octaves(f0, period)
    envelope = world().cheaptrick(signal, f0, times, rate, fft_size=config.fft_size)
    keep = slice(first, first + count)
    cepstrum = envelope_to_mel_cepstrum(envelope[keep], config.coefficients, config.warping)
    found = find_aperiodicity(signal, f0, config)[keep] if aperiodicity else None
    return f0[keep], cepstrum, found


def _check_synthesis(features: Features, config: AnalysisConfig) -> None:
    if features.aperiodicity is None:
        raise UserError("synthesis: needs features that were analysed with aperiodicity=True")
    frames, bins = features.frames, config.fft_size // 2 + 1
    for name, got, want in (
        ("mel_cepstrum", features.mel_cepstrum.shape, (config.coefficients, frames)),
        ("energy", features.energy.shape, (frames,)),
        ("aperiodicity", features.aperiodicity.shape, (frames, bins)),
    ):
        if got != want:
            raise UserError(f"synthesis: {name} has the shape {got}, but {want} is needed")
