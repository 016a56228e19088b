"""Ways of converting a voice, side by side on sentences that both speakers said."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.errors import UserError
from cyclegan_media.metrics.speaker import Embed, SpeakerVerifier
from cyclegan_media.metrics.voice import METRIC_ANALYSIS, VoiceScores, compare_voices
from cyclegan_media.metrics.voice_baselines import JointDensityGMM, match_moments
from cyclegan_media.speech import Features, SpeakerStatistics, analyse, analyse_corpus, synthesise
from cyclegan_media.speech.corpus import Progress

logger = logging.getLogger("cyclegan_media")

Direction = Literal["a2b", "b2a"]
Files = Sequence[str | os.PathLike[str]]

UNCONVERTED = "unconverted"
MOMENTS = "mean-variance matching"
PARALLEL_GMM = "joint-density GMM (parallel)"
PARALLEL_GMM_GV = "parallel GMM, variance restored"
COPY = "copy synthesis of the target"


class Recording(NamedTuple):
    """A recording at the rate of :data:`METRIC_ANALYSIS`."""

    name: str
    """Of its file, without the suffix: which sentence it is."""
    samples: NDArray[np.floating[Any]]
    features: Features


Method = Callable[[Recording], NDArray[np.floating[Any]]]
"""A recording of the source speaker → samples in the target's voice, at the same rate."""


@dataclass(frozen=True)
class Voices:
    """Recordings of two speakers, ``a`` and ``b``."""

    train: Mapping[str, list[Recording]]
    """What methods and the verifier may learn from."""
    held_out: Mapping[str, list[Recording]]
    """Recording ``k`` of both says the same sentence; with aperiodicity."""


@dataclass(frozen=True)
class MethodScores:
    """What one method reaches in one direction."""

    distances: VoiceScores
    probability: float
    """0…1, mean: that the outputs are the target's (``SpeakerScore.probability``)."""
    similarity: float
    """Mean: 0 like the source's real recordings, 1 like the target's."""


def read_voices(
    train_a: Files,
    train_b: Files,
    held_out_a: Files,
    held_out_b: Files,
    *,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Voices:
    """Read and analyse; of the held-out files those count that have the same name in both.

    Args:
        cache, workers, progress: see :func:`cyclegan_media.speech.analyse_corpus`.

    Raises:
        UserError: no two held-out files have the same name, or a file cannot be read.
    """
    shared = {Path(f).stem for f in held_out_a} & {Path(f).stem for f in held_out_b}
    if not shared:
        raise UserError(
            "no held-out recordings of the two speakers have the same name; name files that say"
            " the same sentence alike"
        )

    def read(files_a: Files, files_b: Files, aperiodicity: bool) -> dict[str, list[Recording]]:
        paths = [Path(file) for file in (*files_a, *files_b)]
        features = analyse_corpus(
            paths,
            METRIC_ANALYSIS,
            read=read_samples,
            aperiodicity=aperiodicity,
            cache=cache,
            workers=workers,
            progress=progress,
        )
        rate = METRIC_ANALYSIS.sample_rate
        recordings = [
            Recording(path.stem, read_samples(path, rate), item)
            for path, item in zip(paths, features, strict=True)
        ]
        return {"a": recordings[: len(files_a)], "b": recordings[len(files_a) :]}

    def parallel(files: Files) -> Files:
        kept = [file for file in files if Path(file).stem in shared]
        return sorted(kept, key=lambda file: Path(file).stem)

    return Voices(
        train=read(train_a, train_b, False),
        held_out=read(parallel(held_out_a), parallel(held_out_b), True),
    )


def train_verifier(voices: Voices, embed: Embed | None = None) -> SpeakerVerifier:
    """A verifier of the two speakers, from their training recordings."""
    a, b = ([item.samples for item in voices.train[side]] for side in "ab")
    return SpeakerVerifier(a, b, METRIC_ANALYSIS.sample_rate, embed)


def baselines(voices: Voices) -> dict[Direction, dict[str, Method]]:
    """By direction and name: what a model has to beat.

    Matching of moments learns from recordings of which the two speakers share no sentence: where
    they have any in common, the source's odd and the target's even ones. The joint-density GMM
    learns from all that they have in common, and is left out where that is nothing or too little.
    It is there twice, as it is, which smooths, and with the variance that a model may restore, too.
    """
    of_name = {side: {item.name: item.features for item in voices.train[side]} for side in "ab"}
    shared = sorted(of_name["a"].keys() & of_name["b"].keys())
    gmm = None
    if shared:
        try:
            a, b = ([part[name] for name in shared] for part in of_name.values())
            gmm = JointDensityGMM(a, b)
        except UserError as error:
            logger.warning("left out: %s", error)
    result: dict[Direction, dict[str, Method]] = {}
    for direction in ("a2b", "b2a"):
        source, target = voices.train[direction[0]], voices.train[direction[2]]
        if shared:
            source, target = source[0::2], target[1::2]
        methods: dict[str, Method] = {
            UNCONVERTED: lambda item: item.samples,
            MOMENTS: _moments(source, target),
        }
        if gmm is not None:
            methods[PARALLEL_GMM] = _parallel(gmm, direction, 0.0)
            methods[PARALLEL_GMM_GV] = _parallel(gmm, direction, 1.0)
        result[direction] = methods
    return result


def convert_all(method: Method, voices: Voices, direction: Direction) -> list[Recording]:
    """The held-out sentences of the source, converted.

    Outputs are analysed as the recordings were, as a listener would get them: a method that works
    on features has gone through the vocoder.
    """
    source = voices.held_out[direction[0]]
    return [_analysed(item.name, method(item)) for item in source]


def copies(voices: Voices, direction: Direction) -> list[Recording]:
    """Copy synthesis of the target: the floor of all that goes through the vocoder."""
    return [
        _analysed(item.name, synthesise(item.features, METRIC_ANALYSIS))
        for item in voices.held_out[direction[2]]
    ]


def score(
    converted: Sequence[Recording], voices: Voices, direction: Direction, verifier: SpeakerVerifier
) -> MethodScores:
    """Compare converted held-out sentences, in their order, with the target's own."""
    side: Literal["a", "b"] = "b" if direction == "a2b" else "a"
    target = [item.features for item in voices.held_out[side]]
    speakers = [verifier.score(item.samples, side) for item in converted]
    return MethodScores(
        distances=compare_voices([item.features for item in converted], target),
        probability=float(np.mean([each.probability for each in speakers])),
        similarity=float(np.mean([each.similarity for each in speakers])),
    )


def score_method(
    method: Method, voices: Voices, direction: Direction, verifier: SpeakerVerifier
) -> MethodScores:
    """Convert the held-out sentences of the source and compare them with the target's."""
    return score(convert_all(method, voices, direction), voices, direction, verifier)


def score_copies(voices: Voices, direction: Direction, verifier: SpeakerVerifier) -> MethodScores:
    """What :func:`copies` of the target reach."""
    return score(copies(voices, direction), voices, direction, verifier)


def _analysed(name: str, samples: NDArray[np.floating[Any]]) -> Recording:
    return Recording(name, samples, analyse(samples, METRIC_ANALYSIS))


def _moments(source: Sequence[Recording], target: Sequence[Recording]) -> Method:
    here, there = (
        SpeakerStatistics.from_features([item.features for item in part])
        for part in (source, target)
    )
    return lambda item: synthesise(match_moments(item.features, here, there), METRIC_ANALYSIS)


def _parallel(gmm: JointDensityGMM, direction: Direction, variance: float) -> Method:
    return lambda item: synthesise(gmm.convert(item.features, direction, variance), METRIC_ANALYSIS)
