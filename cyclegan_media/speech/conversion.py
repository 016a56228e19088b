"""Features of one speaker → features of another, by a generator of spectra.

Of WORLD's features as in CycleGAN-VC (Kaneko & Kameoka 2017, arXiv 1711.11293, section 4.1): the
generator maps the standardised mel-cepstrum, log F0 is matched in mean and deviation, aperiodicity
and energy stay. Of log-mel spectra as in MaskCycleGAN-VC (Kaneko 2021, arXiv 2102.12841): the
generator maps the standardised bands, and the pitch with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import Features
from cyclegan_media.speech.f0 import PITCH_MATCHES, PitchMatch, transform_f0
from cyclegan_media.speech.interface import AnyFeatures
from cyclegan_media.speech.postfilter import expected_deviation, stretch_variance
from cyclegan_media.speech.retrieval import draw_to_frames
from cyclegan_media.speech.statistics import ACTIVE_RANGE_DB, SpeakerStatistics, active_frames

if TYPE_CHECKING:
    from torch import nn

Synthesis = Literal["vocoder", "differential"]
SYNTHESES: tuple[Synthesis, ...] = get_args(Synthesis)
WINDOW = 1024
"""Frames that the generator sees at once, at most: longer speech goes through it in windows."""
OVERLAP = 128
"""Frames over which one window fades into the next: as long as a segment of training."""
_MARGIN = 12
"""Frames of quiet kept before and after each stretch of speech, soft onsets among them."""
_PAUSE = 64
"""Frames: shorter pauses belong to the speech around them, as they do in training."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion does beside applying the network.

    Raises:
        UserError: a value that no conversion can have.
    """

    variance: float = 0.0
    """0…1: how far the variance of each coefficient is brought to what the target would have; see
    :mod:`cyclegan_media.speech.postfilter`."""
    retrieval: float = 0.0
    """0…1: how far each spectrum is drawn to such as the source's voice has made in training, and
    once converted to the target's; see :mod:`cyclegan_media.speech.retrieval`. For models on
    mel-cepstra that keep frames."""
    pitch: PitchMatch = "gaussian"
    """Match the ``gaussian`` mean and deviation of log F0, or its whole distribution, by
    ``quantile``; see :mod:`cyclegan_media.speech.f0`."""
    synthesis: Synthesis = "vocoder"
    """Make the waveform anew by a ``vocoder``, or filter the recording's by the ``differential``
    spectrum, which keeps its pitch; see :mod:`cyclegan_media.speech.differential`."""
    keep_pauses: bool = True
    """Leave pauses as they were recorded; see :mod:`cyclegan_media.speech.pauses`."""

    def __post_init__(self) -> None:
        for name, share in (("variance", self.variance), ("retrieval", self.retrieval)):
            if not 0 <= share <= 1:
                raise UserError(f"{name}: must be in 0…1, not {share:g}")
        if self.pitch not in PITCH_MATCHES:
            raise UserError(f"pitch: must be one of {', '.join(PITCH_MATCHES)}")
        if self.synthesis not in SYNTHESES:
            raise UserError(f"synthesis: must be one of {', '.join(SYNTHESES)}")
        if self.synthesis == "differential" and self.pitch != "gaussian":
            raise UserError(
                "pitch: differential synthesis keeps the recording's; leave out one of the two"
            )


PLAIN = Conversion()
"""Nothing beside."""


def convert_features(
    features: AnyFeatures,
    generator: nn.Module,
    source: SpeakerStatistics,
    target: SpeakerStatistics,
    conversion: Conversion = PLAIN,
    range_db: float = ACTIVE_RANGE_DB,
) -> AnyFeatures:
    """Convert the features of a recording of any length.

    Only stretches of speech go through the generator, since it was trained on them. In long
    pauses the mean and deviation of each mel-cepstral coefficient are matched, while log-mel bands
    stay as they are, since they hold the level. Stretches fade into pauses.

    Args:
        generator: maps ``(1, coefficients, frames)`` to the same shape; its ``multiple`` and
            ``minimum``, where it has them, say which numbers of frames it takes.
        source, target: what its input and its output are standardised by.
        conversion: what is done beside.
        range_db: see :func:`~cyclegan_media.speech.statistics.active_frames`.

    Returns:
        Features of the same number of frames, with the aperiodicity of ``features``.
    """
    standardised = source.standardise(features.spectrum)
    if isinstance(features, Features):
        moved = features
        if conversion.synthesis == "vocoder":
            f0 = transform_f0(features.f0, source, target, conversion.pitch)
            moved = replace(features, f0=f0)
        features = cast(AnyFeatures, moved)
        converted = standardised.copy()
    else:
        converted = target.standardise(features.spectrum)
    active = active_frames(features, range_db)
    for start, stop in speech_stretches(active):
        part = _drawn(standardised[:, start:stop], source, conversion.retrieval)
        part = apply_to_frames(generator, part)
        part = _drawn(part, target, conversion.retrieval)
        share = _fades(stop - start, start > 0, stop < features.frames)
        converted[:, start:stop] += share * (part - converted[:, start:stop])
    spectrum = target.destandardise(converted)
    deviation = expected_deviation(features.spectrum, active, source.std, target.std)
    return features.with_spectrum(
        stretch_variance(spectrum, active, deviation, conversion.variance)
    )


def _drawn(
    standardised: NDArray[np.float32], speaker: SpeakerStatistics, share: float
) -> NDArray[np.float32]:
    if not share or speaker.frames is None:
        return standardised
    return draw_to_frames(standardised, speaker.standardise(speaker.frames.T).T, share)


def speech_stretches(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where speech starts and stops (exclusive), in frames, with a margin; pauses lie between.

    Args:
        active: ``(frames,)``, which frames are speech.
    """
    places = np.flatnonzero(active)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > _PAUSE)
    firsts = places[np.concatenate([[0], breaks + 1])]
    lasts = places[np.concatenate([breaks, [len(places) - 1]])]
    return [
        (max(0, int(first) - _MARGIN), min(len(active), int(last) + 1 + _MARGIN))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def apply_to_frames(
    generator: nn.Module,
    spectrum: NDArray[np.float32],
    *,
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> NDArray[np.float32]:
    """Apply a generator to a standardised spectrum ``(coefficients, frames)`` of any length.

    What is too short, or no multiple of what the generator takes, is continued by its mirror
    image and cut again. What is longer than ``window`` goes through in windows that overlap by
    ``overlap`` frames, where one fades linearly into the next, so memory does not grow with it.

    Runs where the generator is, in its precision.
    """
    import torch

    multiple, minimum = getattr(generator, "multiple", 1), getattr(generator, "minimum", 1)
    parameter = next(generator.parameters())

    def apply(part: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = part.shape[1]
        wanted = -(-max(frames, minimum) // multiple) * multiple
        # "symmetric" repeats the edge frame, so that a single frame can be continued, too.
        padded = np.pad(part, ((0, 0), (0, wanted - frames)), mode="symmetric")
        batch = torch.from_numpy(np.ascontiguousarray(padded)).to(parameter)[None]
        with torch.inference_mode():
            return generator(batch)[0, :, :frames].float().cpu().numpy()

    return _in_windows(apply, spectrum, window, overlap)


def _in_windows(
    apply: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    spectrum: NDArray[np.float32],
    window: int,
    overlap: int,
) -> NDArray[np.float32]:
    frames = spectrum.shape[1]
    if frames <= window:
        return apply(spectrum)
    out = np.zeros_like(spectrum)
    # Windows of one length, evenly spread, so that the last one is not a mere remnant.
    count = -(-(frames - overlap) // (window - overlap))
    starts = np.rint(np.linspace(0, frames - window, count)).astype(int)
    for number, start in enumerate(starts):
        part = apply(spectrum[:, start : start + window])
        if number:
            shared = starts[number - 1] + window - start
            fade = (np.arange(shared, dtype=np.float32) + 0.5) / shared
            part[:, :shared] = fade * part[:, :shared] + (1 - fade) * out[:, start : start + shared]
        out[:, start : start + window] = part
    return out


def _fades(frames: int, fade_in: bool, fade_out: bool) -> NDArray[np.float32]:
    """1, rising from and falling to 0 over the margins where there is something beyond."""
    share = np.ones(frames, dtype=np.float32)
    length = min(_MARGIN, frames)
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / length
    if fade_in:
        share[:length] = ramp
    if fade_out:
        share[-length:] = np.minimum(share[-length:], ramp[::-1])
    return share
