"""Where somebody speaks in a recording, and where there is nothing but background.

A frame counts as speech by three measures that fail at different sounds:

- its level above a noise floor that follows the background (the idea of Martin 2001, "Noise Power
  Spectral Density Estimation Based on Optimal Smoothing and Minimum Statistics");
- its voicing, the highest peak of the autocorrelation within the range of F0, that of the window
  being divided out (Boersma 1993, "Accurate short-term analysis of the fundamental frequency …"),
  which hiss, wind and slamming doors lack;
- how much its spectrum varies over 0.3 s, by the long-term spectral flatness of Ma & Nishihara
  2013, "Efficient voice activity detection algorithm using long-term spectral flatness measure",
  equation 4, which is 0 for what goes on as it is: hum, engines, sustained tones.

Voiced frames are the seeds; the unvoiced sounds of speech are found around them by their level.
Singing and music with a melody pass for speech: no measure here knows words.

Of the speech of ten sentences by two speakers (frames within 30 dB of the loudest) it finds all
where it is quiet, 99 % at 10 dB above white noise or mains hum, 77 and 63 % at 5 and 3 dB; of
seconds with nothing but such noises, clicks or slamming doors it takes 0.2 % for speech at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

FRAME_SECONDS = 0.01
_WINDOW_SECONDS = 0.04
_F0_RANGE = (70.0, 400.0)
_BAND_HERTZ = (100.0, 4000.0)
_BANDS = 24
_LEAST_RATE = 4000

_FLOOR_SECONDS = 4.0
"""Nobody speaks so long without a pause, so the quietest tenth of it is background."""
_SEED_DB = 6.0
_SPEECH_DB = 3.0
"""Above the floor: of what is voiced, and of other sounds of speech."""
_RANGE_DB = 40.0
"""Below the loudest speech, which is quieter only in whispers far away."""
_LEAST_DB = -75.0
"""Of full scale; quieter sounds are silence to a listener."""
_LEAST_VOICING = 0.5
_MOST_FLATNESS = -0.03
_LEAST_SEEDS = 3
"""Frames of a vowel; a single one of noise can look voiced."""
_LONG_TERM, _SMOOTHED = 30, 10
"""Frames that the flatness is taken over, and that each of its spectra is averaged over."""
_AROUND_SECONDS = 0.2
"""From a voiced sound to the end of the unvoiced ones that belong to it, at most."""
_PAUSE_SECONDS = 0.3
_LEAST_SECONDS = 0.1
_BEFORE_SECONDS, _AFTER_SECONDS = 0.06, 0.16
"""Added to each stretch: the soft onset of a sound, and the room in which it dies away."""


@dataclass(frozen=True)
class ActivityFeatures:
    """What is measured of a recording; frame ``k`` begins at ``k · frame_seconds``."""

    level: NDArray[np.float32]
    """``(frames,)``: between 100 Hz and 4 kHz, in dB of full scale."""
    voicing: NDArray[np.float32]
    """``(frames,)``, 0…1."""
    bands: NDArray[np.float32]
    """``(frames, 24)``: power in bands of equal width, for the flatness."""
    frame_seconds: float
    """From one frame to the next: 10 ms, to the nearest sample."""


def find_speech(samples: NDArray[np.floating[Any]], sample_rate: int) -> list[tuple[float, float]]:
    """The stretches of speech in a recording ``(n,)``, as their starts and ends in seconds.

    Raises:
        UserError: not one channel, or a sample rate below 4 kHz.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise UserError(f"samples: need one channel, shape (n,), not {samples.shape}; mix to mono")
    return speech_of(measure_activity([samples], sample_rate), len(samples) / sample_rate)


def speech_of(features: ActivityFeatures, seconds: float) -> list[tuple[float, float]]:
    """The stretches of speech, as for :func:`find_speech`, in a recording of ``seconds``."""
    joined: list[tuple[float, float]] = []
    for first, last in _stretches(_decide(features)):
        start = max(0.0, first * features.frame_seconds - _BEFORE_SECONDS)
        stop = min(seconds, last * features.frame_seconds + _AFTER_SECONDS)
        if joined and start <= joined[-1][1]:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


def measure_activity(blocks: Iterable[NDArray[np.float32]], sample_rate: int) -> ActivityFeatures:
    """Measure a recording that comes in blocks ``(n,)`` of any length, −1…1.

    Raises:
        UserError: a sample rate below 4 kHz, at which speech has no place.
    """
    if sample_rate < _LEAST_RATE:
        raise UserError(f"sample rate {sample_rate} Hz: speech is looked for from {_LEAST_RATE} Hz")
    hop = round(FRAME_SECONDS * sample_rate)
    window = np.hanning(round(_WINDOW_SECONDS * sample_rate) + 2)[1:-1].astype(np.float32)
    size = 1 << (2 * len(window) - 1).bit_length()
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    edges = np.searchsorted(hertz, np.linspace(*_BAND_HERTZ, _BANDS + 1))
    edges = np.minimum(edges, len(hertz) - 1)
    lags = slice(int(sample_rate / _F0_RANGE[1]), int(sample_rate / _F0_RANGE[0]) + 1)
    heard = (hertz >= _F0_RANGE[0] / 2) & (hertz <= 1500)  # what carries the pitch
    parts: list[tuple[NDArray, NDArray, NDArray]] = []
    for frames in _frames(blocks, hop, len(window)):
        power = np.abs(np.fft.rfft(frames * window, size)) ** 2
        bands = np.add.reduceat(power, edges[:-1], axis=1) / (size * np.square(window).sum())
        correlation = np.fft.irfft(np.where(heard, power, 0), axis=1)
        highest = (correlation[:, lags] / own[lags]).max(axis=1)
        lag_0 = np.maximum(correlation[:, 0] / own[0], 1e-20)
        parts.append((bands.sum(axis=1), np.clip(highest / lag_0, 0, 1), bands))
    energy, voicing, bands = (
        np.concatenate(each).astype(np.float32) for each in zip(*parts, strict=True)
    )
    level = 10 * np.log10(energy + 1e-12)
    return ActivityFeatures(level, voicing, bands, hop / sample_rate)


def _frames(
    blocks: Iterable[NDArray[np.float32]], hop: int, length: int
) -> Iterator[NDArray[np.float32]]:
    """Frames ``(count, length)`` around the middles of hops; silence lies before and after."""
    before = (length - hop) // 2
    rest = np.zeros(before, dtype=np.float32)
    for block in blocks:
        for start in range(0, len(block), 1 << 18):  # memory does not grow with the block
            rest = np.concatenate([rest, block[start : start + (1 << 18)]])
            count = (len(rest) - length) // hop + 1
            if count > 0:
                yield np.lib.stride_tricks.sliding_window_view(rest, length)[: count * hop : hop]
                rest = rest[count * hop :]
    count = max(1, -(-(len(rest) - before) // hop))
    rest = np.pad(rest, (0, max(0, (count - 1) * hop + length - len(rest))))
    yield np.lib.stride_tricks.sliding_window_view(rest, length)[: count * hop : hop]


def _decide(features: ActivityFeatures) -> NDArray[np.bool_]:
    """``(frames,)``: which are speech."""
    from scipy.ndimage import binary_dilation, binary_opening, percentile_filter

    level = features.level
    size = round(_FLOOR_SECONDS / FRAME_SECONDS)
    floor = percentile_filter(level, 10, size=min(size, len(level)), mode="nearest")
    varied = long_term_flatness(features.bands) < _MOST_FLATNESS
    seeds = (features.voicing > _LEAST_VOICING) & varied
    seeds &= level > np.maximum(floor + _SEED_DB, _LEAST_DB)
    seeds = binary_opening(seeds, np.ones(_LEAST_SEEDS, dtype=bool))
    if not seeds.any():
        return seeds
    loudest = np.percentile(level[seeds], 90)
    seeds &= level > loudest - _RANGE_DB
    around = round(_AROUND_SECONDS / FRAME_SECONDS)
    near = binary_dilation(seeds, np.ones(2 * around + 1, dtype=bool))
    return near & (level > np.maximum(floor + _SPEECH_DB, loudest - _RANGE_DB))


def long_term_flatness(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(frames,)``: the mean over bands of log₁₀ of geometric over arithmetic mean in time.

    Ma & Nishihara 2013, equation 4; 0 where the spectrum stands still, below where it varies.
    """
    from scipy.ndimage import uniform_filter1d

    power = uniform_filter1d(bands.astype(np.float64) + 1e-12, _SMOOTHED, axis=0, mode="nearest")
    geometric = uniform_filter1d(np.log10(power), _LONG_TERM, axis=0, mode="nearest")
    arithmetic = uniform_filter1d(power, _LONG_TERM, axis=0, mode="nearest")
    return (geometric - np.log10(arithmetic)).mean(axis=1).astype(np.float32)


def _stretches(speech: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and stops in frames; short pauses are closed, and what is short then is dropped."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(np.int8), [0]])))
    joined: list[list[int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if joined and start - joined[-1][1] < _PAUSE_SECONDS / FRAME_SECONDS:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    least = _LEAST_SECONDS / FRAME_SECONDS
    return [(start, stop) for start, stop in joined if stop - start >= least]
