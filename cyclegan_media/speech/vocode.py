"""A speaker's waveform → another's, part by part, at the level it came in with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import (
    AnalysisConfig,
    Features,
    find_aperiodicity,
    synthesise,
)
from cyclegan_media.speech.conversion import PLAIN, Conversion, convert_features
from cyclegan_media.speech.differential import filter_frames
from cyclegan_media.speech.griffin_lim import GriffinLim
from cyclegan_media.speech.kinds import VoiceAnalysis
from cyclegan_media.speech.log_mel import LogMel, LogMelConfig
from cyclegan_media.speech.mel_cepstrum import mel_cepstrum_to_envelope
from cyclegan_media.speech.pauses import speech_share, without_offset
from cyclegan_media.speech.statistics import (
    ACTIVE_RANGE_DB,
    SILENCE_DB,
    SpeakerStatistics,
    active_frames,
)
from cyclegan_media.speech.vocoder import Vocoder

if TYPE_CHECKING:
    from torch import nn

Samples = NDArray[np.float32]

CEILING = 0.99
"""Largest amplitude that leaves :func:`limit`, a little below what files hold."""
_PART_SECONDS = 30.0
"""Length of what is synthesised at once; the cut is made at the quietest place of its last third,
where the phase of the pulses, which starts anew, is not heard."""
_CONTEXT_SECONDS = 0.5
_FADE_SECONDS = 0.02
_LIMITER_SECONDS = 0.005


def convert_signal(
    signal: Samples,
    generator: nn.Module,
    source: SpeakerStatistics,
    target: SpeakerStatistics,
    config: VoiceAnalysis,
    vocoder: Vocoder | None = None,
    conversion: Conversion = PLAIN,
    range_db: float = ACTIVE_RANGE_DB,
) -> Samples:
    """Convert a recording ``(n,)`` at ``config.sample_rate``; gives as many samples.

    Speech comes out at the level (root mean square) it came in with, and may exceed ±1: see
    :func:`limit`. Pauses sound as they were recorded; see :mod:`cyclegan_media.speech.pauses`.
    Without anything louder than the noise of 16 bits, the output is zero.

    Args:
        vocoder: for log-mel spectra, of the convention of ``config``; by default Griffin-Lim.
        conversion: what is done beside applying the generator.
        range_db: see :func:`~cyclegan_media.speech.statistics.active_frames`; less for a section
            of a recording that is louder elsewhere.

    Raises:
        UserError: not one channel, no samples, or values that are not finite.
    """
    if conversion.synthesis == "differential":
        _check_differential(config)
    features = source.analysis(config).analyse(signal)
    active = active_frames(features, range_db)
    if not active.any():
        # A section may be one long pause of a recording that is loud elsewhere.
        if conversion.keep_pauses and features.level().max() >= SILENCE_DB:
            return _background(signal, config, conversion)
        return np.zeros(len(signal), dtype=np.float32)
    converted = convert_features(features, generator, source, target, conversion, range_db)
    own, other = source.analysis(config), target.analysis(config)
    if conversion.synthesis == "differential":
        samples = filter_converted(converted, features, signal, own, other)
    else:
        samples = synthesise_converted(converted, features, signal, other, vocoder)
    place = np.arange(len(signal)) / config.frame_samples
    speech = active[np.minimum(np.rint(place).astype(int), len(active) - 1)]
    before, after = _level(signal[speech]), _level(samples[speech])
    if after > 0:
        samples = samples * np.float32(before / after)
    if not conversion.keep_pauses:
        return samples
    share = speech_share(features, config.frame_samples / config.sample_rate, range_db)
    voice = np.interp(place, np.arange(len(share)), share).astype(np.float32)
    return voice * samples + (1 - voice) * _background(signal, config, conversion)


def _background(signal: Samples, config: VoiceAnalysis, conversion: Conversion) -> Samples:
    """What is heard in pauses."""
    samples = np.asarray(signal, dtype=np.float32)
    if conversion.synthesis == "differential":
        return samples
    # A vocoder makes no offset, so one that came and went with the pauses would thump.
    return without_offset(samples, config.sample_rate)


def synthesise_converted(
    converted: Features | LogMel,
    original: Features | LogMel,
    signal: Samples,
    config: VoiceAnalysis,
    vocoder: Vocoder | None = None,
) -> Samples:
    """The waveform of converted features, WORLD's with the aperiodicity of the original recording.

    Only one part of a long recording has its envelopes, or its spectra, in memory at a time.

    Args:
        original, signal: the recording that the features were converted from.
        config: the target's, where the two speakers have all-pass constants of their own.
        vocoder: for log-mel spectra; by default Griffin-Lim.
    """
    render: Render
    if isinstance(converted, LogMel) and isinstance(config, LogMelConfig):
        render = partial(_vocode, converted, vocoder or GriffinLim(config))
    else:
        render = partial(_world, converted, original, signal, config)  # type: ignore[arg-type]
    return _in_parts(render, original, signal, config)


def filter_converted(
    converted: Features | LogMel,
    original: Features | LogMel,
    signal: Samples,
    own: VoiceAnalysis,
    other: VoiceAnalysis,
) -> Samples:
    """The recording, filtered by what the converted envelope has more or less than its own.

    Level, pitch and phase stay those of the recording, so a conversion that changes nothing gives
    it back.

    Args:
        original, signal: the recording that the features were converted from.
        own, other: the analyses of the source and of the target, which may have all-pass constants
            of their own.

    Raises:
        UserError: features of log-mel spectra, which hold the pitch.
    """
    _check_differential(own)
    render: Render
    render = partial(_differential, converted, original, signal, own, other)  # type: ignore[arg-type]
    return _in_parts(render, original, signal, own)


def _in_parts(
    render: Render, original: Features | LogMel, signal: Samples, config: VoiceAnalysis
) -> Samples:
    """The waveform, rendered part by part, where one fades into the next."""
    period = config.frame_samples
    context = round(_CONTEXT_SECONDS * config.sample_rate / period)
    out = np.zeros(len(signal), dtype=np.float32)
    for start, stop in pairwise(_cuts(original.level(), config)):
        first, last = max(0, start - context), min(original.frames, stop + context)
        left = round(first * period)
        right = len(signal) if last == original.frames else round(last * period)
        part = render(slice(first, last), slice(left, right))
        clock = np.arange(left, right) / config.sample_rate
        seconds = period / config.sample_rate
        if start > 0:
            part *= _ramp(clock - start * seconds)
        if stop < original.frames:
            part *= _ramp(stop * seconds - clock)
        out[left:right] += part
    return out


Render = Callable[[slice, slice], Samples]
"""Makes the samples of some frames; given which frames, and which samples are theirs."""


def _world(
    converted: Features,
    original: Features,
    signal: Samples,
    config: AnalysisConfig,
    frames: slice,
    samples: slice,
) -> Samples:
    return synthesise(
        Features(
            f0=converted.f0[frames],
            mel_cepstrum=converted.mel_cepstrum[:, frames],
            energy=converted.energy[frames],
            samples=samples.stop - samples.start,
            aperiodicity=find_aperiodicity(signal[samples], original.f0[frames], config),
        ),
        config,
    )


def _check_differential(config: VoiceAnalysis) -> None:
    if isinstance(config, LogMelConfig):
        raise UserError(
            "synthesis: differential needs a model on WORLD's features; this one's spectra hold the"
            " pitch: use the vocoder"
        )


def _differential(
    converted: Features,
    original: Features,
    signal: Samples,
    own: AnalysisConfig,
    other: AnalysisConfig,
    frames: slice,
    samples: slice,
) -> Samples:
    bins = own.fft_size // 2 + 1
    before, after = (
        mel_cepstrum_to_envelope(
            np.concatenate([features.energy[None, frames], features.mel_cepstrum[:, frames]]),
            bins,
            config.warping,
        )
        for features, config in ((original, own), (converted, other))
    )
    # The envelopes are of power.
    return filter_frames(signal[samples], 0.5 * np.log(after / before), own.frame_samples)


def _vocode(converted: LogMel, vocoder: Vocoder, frames: slice, samples: slice) -> Samples:
    made = np.array(vocoder(np.ascontiguousarray(converted.log_mel[:, frames])))
    wanted = samples.stop - samples.start
    # A centred last frame ends where it is centred.
    return np.pad(made, (0, max(0, wanted - len(made))))[:wanted]


def limit(samples: Samples, sample_rate: int) -> Samples:
    """``(n,)`` with every peak beyond ±0.99 turned down to it, and all else left as it is.

    The gain is the least that any sample within 5 ms asks for, averaged over the same 5 ms, so it
    is there before the peak is, and moves too slowly to be heard as distortion.
    """
    peak = np.abs(samples)
    if peak.max(initial=0.0) <= CEILING:
        return samples
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    gain = np.minimum(1, CEILING / np.maximum(peak, CEILING)).astype(np.float64)
    width = 2 * round(_LIMITER_SECONDS * sample_rate / 2) + 1
    # Every gain averaged for a sample is one that looked at that sample.
    gain = uniform_filter1d(minimum_filter1d(gain, width, mode="nearest"), width, mode="nearest")
    return np.clip(samples * gain, -CEILING, CEILING).astype(np.float32)


def _cuts(level: NDArray[np.float32], config: VoiceAnalysis) -> list[int]:
    """Where parts begin and end, in frames."""
    length = round(_PART_SECONDS * config.sample_rate / config.frame_samples)
    cuts = [0]
    while len(level) - cuts[-1] > length:
        search = cuts[-1] + length * 2 // 3
        cuts.append(search + int(level[search : cuts[-1] + length].argmin()))
    return [*cuts, len(level)]


def _ramp(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 1 around 0 s."""
    return np.clip(seconds / _FADE_SECONDS + 0.5, 0, 1)


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
