"""Random segments of recordings, as standardised mel-cepstra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    SpeakerStatistics,
    active_frames,
    analyse_corpus,
)
from cyclegan_media.speech.corpus import Progress

_LEAST_SPEECH = 0.5
"""Share of a segment's frames that must be speech, where the utterance has such a place."""


def read_samples(path: Path, sample_rate: int) -> NDArray[np.floating[Any]]:
    """The best audio stream of a file, mixed to mono, ``(n,)`` in −1…1 at ``sample_rate``."""
    from cyclegan_media.media.audio import read_audio

    return np.asarray(read_audio(path, sample_rate=sample_rate, mono=True).samples[0])


class VoiceSegments:
    """One speaker's recordings as a domain to train on.

    Silence before and after the speech is cut off. Utterances without any voiced frame are left
    out (noises, room tone); shorter ones than a segment are continued by their mirror image.

    Args:
        features: one speaker's recordings.
        statistics: what they are standardised by.
        frames: length of a segment.
        multiple: what ``frames`` must be a multiple of.

    Raises:
        UserError: ``frames`` is not such a multiple, or there is less than a segment of speech.
    """

    def __init__(
        self,
        features: Sequence[Features],
        statistics: SpeakerStatistics,
        frames: int = 128,
        multiple: int = 4,
    ) -> None:
        if frames < 1 or frames % multiple:
            raise UserError(f"frames: {frames} is not a positive multiple of {multiple}")
        self.frames = frames
        self._utterances: list[Tensor] = []
        self._starts: list[Tensor] = []
        total = 0
        for item in features:
            active = active_frames(item)
            if not (active & item.voiced).any():
                continue
            first, last = np.flatnonzero(active)[[0, -1]]
            spectrum = statistics.standardise(item.mel_cepstrum[:, first : last + 1])
            total += int(active.sum())
            self._utterances.append(torch.from_numpy(_at_least(spectrum, frames)))
            self._starts.append(torch.from_numpy(_starts(active[first : last + 1], frames)))
        if total < frames:
            raise UserError(
                f"the recordings hold {total} frames of speech, less than one segment of"
                f" {frames}; record more, or train on shorter segments"
            )

    def __len__(self) -> int:
        return len(self._utterances)

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        """A segment ``(coefficients, frames)``, float32; a function of its arguments alone."""
        starts = self._starts[index]
        start = int(starts[torch.randint(len(starts), (), generator=rng)])
        return self._utterances[index][:, start : start + self.frames].clone()


def voice_domains(
    paths_a: Sequence[str | os.PathLike[str]],
    paths_b: Sequence[str | os.PathLike[str]],
    analysis: AnalysisConfig | None = None,
    frames: int = 128,
    cache: Path | bool | None = None,
    progress: Progress | None = None,
    *,
    multiple: int = 4,
    workers: int | None = None,
) -> tuple[VoiceSegments, VoiceSegments, SpeakerStatistics, SpeakerStatistics]:
    """Analyse two speakers' recordings and make each a domain.

    Args:
        cache, progress, workers: see :func:`cyclegan_media.speech.corpus.analyse_corpus`.

    Returns:
        The segments of A and of B, and the statistics of A and of B.

    Raises:
        UserError: a file cannot be read, or a domain holds less than a segment of speech.
    """
    paths = [*paths_a, *paths_b]
    features = analyse_corpus(
        paths, analysis, read=read_samples, cache=cache, workers=workers, progress=progress
    )
    domains = []
    for side, part, files in (
        ("A", features[: len(paths_a)], paths_a),
        ("B", features[len(paths_a) :], paths_b),
    ):
        if not files:
            raise UserError(f"domain {side}: no recordings")
        statistics = SpeakerStatistics.from_features(part)
        try:
            segments = VoiceSegments(part, statistics, frames, multiple)
        except UserError as error:
            raise UserError(f"{Path(files[0]).parent}: domain {side}: {error}") from error
        domains.append((segments, statistics))
    (segments_a, statistics_a), (segments_b, statistics_b) = domains
    return segments_a, segments_b, statistics_a, statistics_b


def _at_least(spectrum: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    short = max(0, frames - spectrum.shape[1])
    # "symmetric" repeats the edge frame, so that a single frame can be continued, too.
    return np.ascontiguousarray(np.pad(spectrum, ((0, 0), (0, short)), mode="symmetric"))


def _starts(active: NDArray[np.bool_], frames: int) -> NDArray[np.int64]:
    """Where segments may start: all places with enough speech, else those with the most."""
    counted = np.concatenate([[0], np.cumsum(active)])
    if len(active) <= frames:
        return np.zeros(1, dtype=np.int64)
    speech = counted[frames:] - counted[:-frames]
    enough = min(_LEAST_SPEECH * frames, speech.max())
    return np.flatnonzero(speech >= enough)
