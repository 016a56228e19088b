"""Waveform → log-mel spectrum, as MelGAN, HiFi-GAN and Vocos take it.

The magnitudes of a short-time Fourier transform (Hann window) are summed in triangular bands on
the mel scale, and the natural logarithm is taken:

    X = log max(M |STFT(x)|, floor)

The default is the convention of MelGAN (Kumar 2019, arXiv 1910.06711) and HiFi-GAN (Kong 2020,
arXiv 2010.05646), which MaskCycleGAN-VC (Kaneko 2021, arXiv 2102.12841) trains on: 80 bands of
Slaney's scale, each of area 1, at 22.05 kHz, with the signal continued by its mirror image so that
``n`` samples have ``n / hop`` frames. Bands end at 8 kHz as in HiFi-GAN; MelGAN's go on to half the
sample rate (``f_max: null``), and its logarithm is the decimal one, a mere factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cyclegan_media.speech.analysis import world
from cyclegan_media.speech.interface import Floats, checked_signal
from cyclegan_media.speech.threads import one_blas_thread

_BLOCK_FRAMES = 2048
"""Frames whose complex spectra are in memory at a time."""


class LogMelConfig(BaseModel):
    """How waveforms become log-mel spectra. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["log_mel"] = "log_mel"
    sample_rate: Annotated[int, Field(ge=8000, le=96000)] = 22050
    """Hz; recordings are resampled to it."""
    n_fft: Annotated[int, Field(ge=64, le=16384)] = 1024
    """Samples of the window and of the Fourier transform."""
    hop: Annotated[int, Field(ge=16, le=4096)] = 256
    """Samples from one frame to the next."""
    bands: Annotated[int, Field(ge=4, le=512)] = 80
    """Mel bands."""
    f_min: Annotated[float, Field(ge=0)] = 0.0
    """Hz, where the first band begins."""
    f_max: float | None = 8000.0
    """Hz, where the last band ends; null: half the sample rate."""
    filters: Literal["slaney", "htk"] = "slaney"
    """``slaney``: bands of Slaney's scale with area 1, as MelGAN and HiFi-GAN have them;
    ``htk``: bands of O'Shaughnessy's scale with height 1, as Vocos has them."""
    floor: Annotated[float, Field(gt=0, le=1e-2)] = 1e-5
    """Smaller magnitudes count as this."""
    centred: bool = False
    """Whether frame ``k`` is centred at ``k · hop``, as in Vocos, so that there is one more, and
    not at ``(k + ½) · hop``."""

    size_key: ClassVar[str] = "bands"

    @model_validator(mode="after")
    def _fits(self) -> LogMelConfig:
        nyquist = self.sample_rate / 2
        if not self.f_min < self.highest <= nyquist:
            raise ValueError(
                f"f_max ({self.highest:g}) must be above f_min ({self.f_min:g}) and at most half"
                f" the sample rate ({nyquist:g})"
            )
        if self.hop > self.n_fft // 2 or (self.n_fft - self.hop) % 2:
            raise ValueError(
                f"hop ({self.hop}) must be at most half of n_fft ({self.n_fft}), and differ from"
                " it by an even number"
            )
        return self

    @property
    def coefficients(self) -> int:
        """Rows of the spectrum."""
        return self.bands

    @property
    def highest(self) -> float:
        """Hz, where the last band ends."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    @property
    def frame_samples(self) -> float:
        """Samples from one frame to the next."""
        return float(self.hop)

    @property
    def cache_key(self) -> str:
        """All that the spectrum depends on."""
        return self.model_copy(update={"f_max": self.highest}).model_dump_json()

    def frames(self, samples: int) -> int:
        """The number of frames of a recording of ``samples`` samples, so that none is left out."""
        return -(-samples // self.hop) + self.centred

    def samples(self, frames: int) -> int:
        """The number of samples of so many frames, at least: the inverse of :meth:`frames`."""
        return (frames - self.centred) * self.hop

    def analyse(self, samples: Floats) -> LogMel:
        """See :func:`analyse_log_mel`."""
        return analyse_log_mel(samples, self)


@dataclass(frozen=True)
class LogMel:
    """The log-mel spectrum of one recording."""

    log_mel: NDArray[np.float32]
    """``(bands, frames)``, natural logarithm of amplitude."""
    voiced: NDArray[np.bool_]
    """``(frames,)``: where WORLD's DIO finds a pitch. It tells speech from noises; what a
    generator converts is ``log_mel`` alone, which holds the pitch, too."""
    samples: int
    """Length of the recording at the config's sample rate."""

    @property
    def frames(self) -> int:
        return self.log_mel.shape[1]

    @property
    def spectrum(self) -> NDArray[np.float32]:
        return self.log_mel

    @property
    def f0(self) -> None:
        return None

    def level(self) -> NDArray[np.float32]:
        """``(frames,)``: the level of each frame in dB, the mean over the bands."""
        return (20 / np.log(10) * self.log_mel.mean(axis=0)).astype(np.float32)

    def with_spectrum(self, spectrum: NDArray[np.float32]) -> LogMel:
        return replace(self, log_mel=spectrum)


def analyse_log_mel(samples: Floats, config: LogMelConfig | None = None) -> LogMel:
    """The log-mel spectrum of one recording of any length, silence included.

    What is shorter than a window, or no multiple of the hop, is continued by its mirror image.

    Args:
        samples: ``(n,)`` in −1…1 at ``config.sample_rate``.

    Raises:
        UserError: not one channel, no samples, or values that are not finite.
    """
    config = config or LogMelConfig()
    signal = checked_signal(samples)
    parts = list(_blocks(signal, config))
    return LogMel(
        log_mel=np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32),
        voiced=_voiced(signal, config),
        samples=len(signal),
    )


def mel_filters(config: LogMelConfig) -> NDArray[np.float32]:
    """``(bands, n_fft / 2 + 1)``: the share of each frequency in each band."""
    return _filters(
        config.sample_rate,
        config.n_fft,
        config.bands,
        config.f_min,
        config.highest,
        config.filters == "htk",
    )


@cache
def _filters(
    sample_rate: int, n_fft: int, bands: int, f_min: float, f_max: float, htk: bool
) -> NDArray[np.float32]:
    from librosa.filters import mel

    made: NDArray[np.float32] = mel(
        sr=sample_rate,
        n_fft=n_fft,
        n_mels=bands,
        fmin=f_min,
        fmax=f_max,
        htk=htk,
        norm=None if htk else "slaney",
    )
    made.setflags(write=False)
    return made


def _blocks(signal: NDArray[np.float64], config: LogMelConfig) -> Iterator[NDArray[np.floating]]:
    from scipy.signal import get_window

    total = config.frames(len(signal))
    covered = max(-(-len(signal) // config.hop) * config.hop, config.n_fft)
    margin = config.n_fft // 2 if config.centred else (config.n_fft - config.hop) // 2
    # "symmetric" repeats the last sample, so that a single one can be continued, too.
    continued = np.pad(signal, (0, covered - len(signal)), mode="symmetric")
    padded = np.pad(continued, margin, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[:: config.hop][:total]
    window, filters = get_window("hann", config.n_fft), mel_filters(config)
    for start in range(0, total, _BLOCK_FRAMES):
        magnitude = np.abs(np.fft.rfft(frames[start : start + _BLOCK_FRAMES] * window, axis=1))
        with one_blas_thread():
            bands = filters @ magnitude.T
        yield np.log(np.maximum(bands, config.floor))


def _voiced(signal: NDArray[np.float64], config: LogMelConfig) -> NDArray[np.bool_]:
    total, period = config.frames(len(signal)), 1000 * config.hop / config.sample_rate
    found = []
    for start in range(0, total, _BLOCK_FRAMES):
        count = min(_BLOCK_FRAMES, total - start)
        part = signal[start * config.hop : (start + count) * config.hop]
        # Continued by silence to a window and to as many frames, which rounding may take away.
        part = np.pad(part, (0, max(0, (count + 2) * config.hop, config.n_fft) - len(part)))
        f0, _ = world().dio(part, config.sample_rate, frame_period=period)
        found.append(f0[:count] > 0)
    return np.concatenate(found)
