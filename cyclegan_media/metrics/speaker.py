"""Whose voice is it: a small verifier trained on real recordings of two speakers.

The classical one by default, with nothing to download: frames of MFCCs, a Gaussian mixture for
each speaker, and the mean log-likelihood ratio as evidence (Reynolds, Rose: "Robust
text-independent speaker identification using Gaussian mixture speaker models", 1995). With a user's
embedding model: the difference of the cosines with the two speakers' mean embeddings. Either is
calibrated on real recordings that were held out (Platt: "Probabilistic outputs for support vector
machines", 1999).

It answers "rather A or rather B": an answer of B says that little of A is left, not that the speech
is good, nor that it is speech. Pitch counts too, since it shows in the lowest bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

Samples = NDArray[np.floating[Any]]
Double = NDArray[np.float64]
Flags = NDArray[np.bool_]
Side = Literal["a", "b"]

Embed = Callable[[Samples, int], NDArray[Any]]
"""A user's model: samples ``(n,)`` in −1…1 and their rate in Hz → embedding ``(dimensions,)``."""

FOLDS = 5
"""Each fifth of the recordings is scored by a verifier trained on the rest."""
MIXTURES = 32
"""Gaussians of diagonal covariance per speaker."""

_COEFFICIENTS = 19
_HOP_SECONDS = 0.01
_WINDOW_SECONDS = 0.025
_RANGE_DB = 30.0
_SILENCE = 1e-12


@dataclass(frozen=True)
class SpeakerScore:
    """How much a recording sounds like the speaker it should."""

    probability: float
    """0…1 that it is the target speaker's, given that it is one of the two's; calibrated."""
    similarity: float
    """Where its evidence lies on the way from real recordings of the other speaker (mean: 0) to
    real ones of the target (mean: 1). Unlike the probability it does not saturate, so it tells
    good conversions from better ones; it may leave 0…1, and is
    ``nan`` where the two speakers' real recordings are not told apart at all."""


class SpeakerVerifier:
    """Tells two speakers apart; trains in seconds, and equal recordings give equal verifiers.

    Args:
        recordings_a, recordings_b: samples ``(n,)`` of real recordings, at least 5 of each.
        sample_rate: of all recordings, in Hz.
        embed: a user's embedding model; ``None`` for MFCCs and Gaussian mixtures.

    Raises:
        UserError: fewer than 5 recordings of a speaker, a recording that is not one channel or
            silent, or embeddings that are not finite or not of one size.
    """

    equal_error: float
    """0…1: share of held-out real recordings that are mistaken, where as large a share of A's is
    taken for B's as the other way round. What a score is worth depends on it."""

    def __init__(
        self,
        recordings_a: Sequence[Samples],
        recordings_b: Sequence[Samples],
        sample_rate: int = 16000,
        embed: Embed | None = None,
    ) -> None:
        from sklearn.linear_model import LogisticRegression

        for side, recordings in (("A", recordings_a), ("B", recordings_b)):
            if len(recordings) < FOLDS:
                raise UserError(
                    f"speaker verifier: {len(recordings)} recordings of {side}; needs at least"
                    f" {FOLDS}, since some are held out"
                )
        self._sample_rate, self._embed = sample_rate, embed
        described = [self._describe(item) for part in (recordings_a, recordings_b) for item in part]
        if len({item.shape[1] for item in described}) != 1:
            raise UserError("speaker embedding: its size differs between recordings")
        is_b = np.arange(len(described)) >= len(recordings_a)
        held_out = self._held_out(described, is_b)
        self._evidence = self._train(described, is_b)
        self._calibration = LogisticRegression().fit(held_out[:, None], is_b)
        self._mean = {"a": held_out[~is_b].mean(), "b": held_out[is_b].mean()}
        self.equal_error = equal_error(held_out[is_b], held_out[~is_b])

    def score(self, samples: Samples, target: Side = "b") -> SpeakerScore:
        """How much a recording ``(n,)`` sounds like speaker ``target``.

        Raises:
            UserError: see the class.
        """
        evidence = self._evidence(self._describe(samples))
        probability_b = float(self._calibration.predict_proba([[evidence]])[0, 1])
        here, there = self._mean["a" if target == "b" else "b"], self._mean[target]
        similarity = (evidence - here) / (there - here) if there != here else np.nan
        return SpeakerScore(
            probability=probability_b if target == "b" else 1 - probability_b,
            similarity=float(similarity),
        )

    def _describe(self, samples: Samples) -> Double:
        """What the evidence is found in, one row a frame or embedding."""
        signal = np.asarray(samples)
        if signal.ndim != 1 or not len(signal):
            raise UserError(f"samples: need one channel, shape (n,), not {signal.shape}")
        if not np.isfinite(signal).all():
            raise UserError("samples: the recording holds values that are not finite")
        if self._embed is None:
            return _mfcc(signal, self._sample_rate)
        embedding = np.asarray(self._embed(signal, self._sample_rate), dtype=np.float64)
        if embedding.ndim != 1 or not embedding.any() or not np.isfinite(embedding).all():
            raise UserError(
                "speaker embedding: need finite values of shape (dimensions,), not all 0; got"
                f" shape {embedding.shape}"
            )
        return embedding[None]

    def _train(self, described: Sequence[Double], is_b: Flags) -> _Evidence:
        a, b = (
            np.concatenate(
                [item for item, is_b_ in zip(described, is_b, strict=True) if is_b_ == b]
            )
            for b in (False, True)
        )
        return _Mixtures(a, b) if self._embed is None else _Cosines(a, b)

    def _held_out(self, described: Sequence[Double], is_b: Flags) -> Double:
        """``(recordings,)``: evidence in each by a verifier that was trained without it."""
        number = np.concatenate([np.arange((~is_b).sum()), np.arange(is_b.sum())])
        result = np.empty(len(described))
        for fold in range(FOLDS):
            out = number % FOLDS == fold
            kept = [item for item, left_out in zip(described, out, strict=True) if not left_out]
            evidence = self._train(kept, is_b[~out])
            for k in map(int, np.flatnonzero(out)):
                result[k] = evidence(described[k])
        return result


def equal_error(positive: Double, negative: Double) -> float:
    """0…1: the rate at which misses equal false alarms, for scores that should be high and low.

    Where no threshold makes them equal, the mean of both where they are nearest.
    """
    thresholds = np.unique(np.concatenate([positive, negative, [np.inf]]))
    misses = np.array([(positive < threshold).mean() for threshold in thresholds])
    alarms = np.array([(negative >= threshold).mean() for threshold in thresholds])
    nearest = int(np.abs(misses - alarms).argmin())
    return float((misses[nearest] + alarms[nearest]) / 2)


class _Evidence(Protocol):
    def __call__(self, described: Double, /) -> float:
        """How much rather B than A."""


class _Mixtures:
    """Mean over frames of ``log p(frame | B) − log p(frame | A)``."""

    def __init__(self, frames_a: Double, frames_b: Double) -> None:
        from sklearn.mixture import GaussianMixture

        self._a, self._b = (
            GaussianMixture(
                min(MIXTURES, len(frames)), covariance_type="diag", reg_covar=1e-2, random_state=0
            ).fit(frames)
            for frames in (frames_a, frames_b)
        )

    def __call__(self, described: Double) -> float:
        return float(self._b.score(described) - self._a.score(described))


class _Cosines:
    """``cos(embedding, mean of B) − cos(embedding, mean of A)``."""

    def __init__(self, embeddings_a: Double, embeddings_b: Double) -> None:
        self._a, self._b = (
            _units(_units(rows).mean(axis=0)) for rows in (embeddings_a, embeddings_b)
        )

    def __call__(self, described: Double) -> float:
        return float((_units(described) @ (self._b - self._a)).mean())


def _units(rows: Double) -> Double:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _mfcc(samples: Samples, sample_rate: int) -> Double:
    """MFCC 1 … 19 of the frames of speech (within 30 dB of the loudest), ``(frames, 19)``."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=np.asarray(samples, dtype=np.float32),
        sr=sample_rate,
        n_fft=1 << (int(_WINDOW_SECONDS * sample_rate) - 1).bit_length(),
        hop_length=max(1, round(_HOP_SECONDS * sample_rate)),
        n_mels=40,
        fmax=min(8000, sample_rate / 2),
    )
    level = power.sum(axis=0)
    if level.max() <= _SILENCE:
        raise UserError("samples: the recording is silent")
    spectrum = librosa.power_to_db(power, amin=_SILENCE, top_db=None)
    coefficients = librosa.feature.mfcc(S=spectrum, n_mfcc=_COEFFICIENTS + 1)[1:]
    speech = level > level.max() * 10 ** (-_RANGE_DB / 10)
    return coefficients[:, speech].T.astype(np.float64)
