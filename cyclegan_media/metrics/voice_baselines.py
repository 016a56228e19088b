"""The methods that a trained voice model has to beat.

Each maps the features of a recording, whose waveform is then synthesised. Aperiodicity and
energy stay, and log F0 is matched in mean and deviation, as in a conversion by a model, so the
methods differ in the mel-cepstrum alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import multivariate_normal

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.alignment import align
from cyclegan_media.speech import (
    Features,
    SpeakerStatistics,
    active_frames,
    transform_f0,
)
from cyclegan_media.speech.postfilter import expected_deviation, stretch_variance

Double = NDArray[np.float64]


def match_moments(
    features: Features, source: SpeakerStatistics, target: SpeakerStatistics
) -> Features:
    """Mean and deviation of each coefficient and of log F0 become the target's.

    Needs no sentence said by both: the trivial method for unpaired recordings.
    """
    standardised = source.standardise(features.mel_cepstrum)
    return replace(
        features,
        f0=transform_f0(features.f0, source, target),
        mel_cepstrum=target.destandardise(standardised).astype(np.float32),
    )


class JointDensityGMM:
    """Conversion learned from *parallel* recordings, which an unpaired method does without.

    Kain, Macon: "Spectral voice conversion for text-to-speech synthesis", 1998: a Gaussian mixture
    of full covariance over frames of A joined to the frames of B that they are aligned with;
    converted by the expectation of one given the other (eq. 11 and 12 of Toda, Black, Tokuda 2007):

        E[y | x] = Σₘ P(m | x) (μₘ_y + Σₘ_yx Σₘ_xx⁻¹ (x − μₘ_x))

    Frames are converted one by one. The expectation averages over what could have been said,
    whence the small global variance that this method is known for.

    Args:
        recordings_a, recordings_b: recording ``k`` of both says the same sentence.
        mixtures: number of Gaussians.
        seed: of the initialisation; equal seeds give equal models.

    Raises:
        UserError: not as many recordings of A as of B, or less speech than mixtures need.
    """

    def __init__(
        self,
        recordings_a: Sequence[Features],
        recordings_b: Sequence[Features],
        mixtures: int = 32,
        seed: int = 0,
    ) -> None:
        from sklearn.mixture import GaussianMixture

        if len(recordings_a) != len(recordings_b) or not recordings_a:
            raise UserError(
                f"joint-density GMM: {len(recordings_a)} recordings of A and {len(recordings_b)} of"
                " B; it needs the same sentences of both"
            )
        joint = np.concatenate(
            [_joined(a, b) for a, b in zip(recordings_a, recordings_b, strict=True)]
        )
        if len(joint) < mixtures * joint.shape[1]:
            raise UserError(
                f"joint-density GMM: {len(joint)} pairs of frames are too few for {mixtures}"
                f" Gaussians of {joint.shape[1]} dimensions; give more recordings"
            )
        model = GaussianMixture(mixtures, reg_covar=1e-4, random_state=seed).fit(joint)
        self.weights: Double = model.weights_
        self.means: Double = model.means_
        self.covariances: Double = model.covariances_
        self.speakers = {
            "a": SpeakerStatistics.from_features(recordings_a),
            "b": SpeakerStatistics.from_features(recordings_b),
        }

    def convert(
        self, features: Features, direction: str = "a2b", variance: float = 0.0
    ) -> Features:
        """Features of one speaker as the other's; ``direction`` is ``a2b`` or ``b2a``.

        Args:
            variance: 0…1, how far that of each coefficient is brought to what the target's would
                be (:mod:`cyclegan_media.speech.postfilter`; Toda, Black, Tokuda 2007, section III).
        """
        source, target = self.speakers[direction[0]], self.speakers[direction[-1]]
        half = self.means.shape[1] // 2
        sides = {"a": slice(0, half), "b": slice(half, None)}
        spectrum = self._expectation(
            features.mel_cepstrum.T.astype(np.float64), sides[direction[0]], sides[direction[-1]]
        )
        mel_cepstrum = np.ascontiguousarray(spectrum.T, dtype=np.float32)
        active = active_frames(features)
        wanted = expected_deviation(features.mel_cepstrum, active, source.std, target.std)
        return replace(
            features,
            f0=transform_f0(features.f0, source, target),
            mel_cepstrum=stretch_variance(mel_cepstrum, active, wanted, variance),
        )

    def _expectation(self, x: Double, here: slice, there: slice) -> Double:
        """``E[y | x]`` of frames ``(n, coefficients)``."""
        log_weights = np.empty((len(x), len(self.weights)))
        expected = np.empty((len(self.weights), *x.shape))
        for m, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            within = covariance[here, here]
            density = multivariate_normal(mean[here], within)
            log_weights[:, m] = np.log(self.weights[m]) + density.logpdf(x)
            slope = np.linalg.solve(within, covariance[here, there])
            expected[m] = mean[there] + (x - mean[here]) @ slope
        return np.einsum("nm,mnc->nc", softmax(log_weights, axis=1), expected)


def _joined(a: Features, b: Features) -> NDArray[np.floating[Any]]:
    """``(steps, 2 coefficients)``: aligned frames of speech of both."""
    speech = [item.mel_cepstrum[:, active_frames(item)] for item in (a, b)]
    here, there = align(*speech)
    return np.concatenate([speech[0][:, here], speech[1][:, there]]).T.astype(np.float64)
