"""Training on recordings of two voices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.datasets.voices import voice_domain
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import VoiceData
from cyclegan_media.speech import (
    Features,
    active_frames,
    analyse,
    analyse_corpus,
    convert_features,
    limit,
    synthesise_converted,
)
from cyclegan_media.training.tasks import Generators, Preview

VALIDATION_RECORDINGS = 8
"""Per speaker, at most."""
PREVIEW_SECONDS = 6.0
_LAG = 4
"""Frames between the two that validation looks at together: 20 ms, where sounds change."""

Side = Literal["a", "b"]
_DIRECTIONS: tuple[tuple[Direction, Side, Side, Direction], ...] = (
    # there, from, to, back
    ("a2b", "a", "b", "b2a"),
    ("b2a", "b", "a", "a2b"),
)


class VoiceTask:
    """Random segments for training; whole held-out recordings for the rest.

    Without held-out recordings the first training recordings stand in, so the score then says
    less.
    """

    def __init__(self, data: VoiceData, files: Files, say: Callable[[str], None]) -> None:
        self._config = data.analysis
        held_out: dict[Side, list[Path]] = {
            "a": _some(files.held_out_a or files.train_a),
            "b": _some(files.held_out_b or files.train_b),
        }
        paths = [*files.train_a, *files.train_b, *held_out["a"], *held_out["b"]]
        paths = list(dict.fromkeys(paths))
        say(f"analysing {len(paths)} recordings (those analysed before are remembered)")
        found = dict(
            zip(paths, analyse_corpus(paths, data.analysis, read=read_samples), strict=True)
        )
        features: dict[Side, list[Features]] = {
            "a": [found[path] for path in files.train_a],
            "b": [found[path] for path in files.train_b],
        }
        self.domain_a, statistics_a = voice_domain(
            features["a"], data.frames, where=f"{files.train_a[0].parent}: domain A"
        )
        self.domain_b, statistics_b = voice_domain(
            features["b"], data.frames, where=f"{files.train_b[0].parent}: domain B"
        )
        self._speakers = {"a": statistics_a, "b": statistics_b}
        self._real = {side: self._moments(items, side) for side, items in features.items()}
        self._held_out: dict[Side, list[Features]] = {}
        for side, some in held_out.items():
            # Recordings of nothing cannot be compared.
            spoken = [found[path] for path in some if self._pairs(found[path], side).shape[1] > 1]
            self._held_out[side] = spoken or features[side][:VALIDATION_RECORDINGS]
        self._preview = {side: some[0] for side, some in held_out.items()}

    def validate(self, generators: Generators) -> dict[str, float]:
        """How far converted held-out speech is from the other speaker's, and from its cycle.

        ``distance`` is the Fréchet distance between pairs of frames 20 ms apart, of converted
        held-out speech and of the target's training recordings, all standardised: it sees means,
        (global) variances, their correlations and how fast they change. It needs no sentence in
        both voices, but cannot tell whether the right sounds are said. ``cycle`` can: the mean
        distance of converted and converted back from the original, in standard deviations.
        ``score`` is the mean of both distances plus the mean of both cycle errors.
        """
        figures: dict[str, float] = {}
        for there, source, target, back in _DIRECTIONS:
            real = self._held_out[source]
            fake = [self._convert(generators[there], item, source, target) for item in real]
            again = [self._convert(generators[back], item, target, source) for item in fake]
            figures[f"distance_{there}"] = _frechet(self._moments(fake, target), self._real[target])
            figures[f"cycle_{source}"] = self._cycle_error(real, again, source)
        distance = (figures["distance_a2b"] + figures["distance_b2a"]) / 2
        cycle = (figures["cycle_a"] + figures["cycle_b"]) / 2
        return {"score": distance + cycle, **figures}

    def preview(self, generators: Generators) -> Preview:
        """Per direction a held-out recording, converted, and converted back: seen and heard."""
        preview, rate = Preview(), self._config.sample_rate
        for there, source, target, back in _DIRECTIONS:
            signal = read_samples(self._preview[source], rate)[: int(PREVIEW_SECONDS * rate)]
            real = analyse(signal, self._config)
            fake = self._convert(generators[there], real, source, target)
            again = self._convert(generators[back], fake, target, source)
            rows = {"real": np.asarray(signal, dtype=np.float32)}
            for name, features in (("converted", fake), ("cycle", again)):
                samples = synthesise_converted(features, real, signal, self._config)
                rows[name] = limit(samples, rate)
            preview.pictures[there] = np.concatenate(
                [_spectrogram(samples, rate) for samples in rows.values()]
            )
            preview.sounds |= {f"{there}_{name}": (rows[name], rate) for name in rows}
        return preview

    def analysis(self) -> dict[str, Any]:
        return self._config.model_dump(mode="json")

    def statistics(self) -> dict[str, Tensor]:
        return {
            name: tensor
            for side, speaker in self._speakers.items()
            for name, tensor in speaker.to_tensors(side).items()
        }

    def _convert(
        self, generator: nn.Module, features: Features, source: Side, target: Side
    ) -> Features:
        return convert_features(features, generator, self._speakers[source], self._speakers[target])

    def _pairs(self, features: Features, side: Side) -> NDArray[np.float32]:
        """``(2 · coefficients, pairs)``: standardised frames of speech above those 20 ms later."""
        spectrum = self._speakers[side].standardise(features.mel_cepstrum)
        active = active_frames(features)
        both = active[:-_LAG] & active[_LAG:]
        return np.concatenate([spectrum[:, :-_LAG][:, both], spectrum[:, _LAG:][:, both]])

    def _moments(self, features: Sequence[Features], side: Side) -> _Moments:
        pairs = np.concatenate([self._pairs(item, side) for item in features], axis=1)
        return pairs.mean(axis=1, dtype=np.float64), np.cov(pairs)

    def _cycle_error(
        self, real: Sequence[Features], again: Sequence[Features], side: Side
    ) -> float:
        errors = [
            np.abs(after.mel_cepstrum - before.mel_cepstrum)[:, active_frames(before)]
            for before, after in zip(real, again, strict=True)
        ]
        deviations = self._speakers[side].std[:, None]
        return float((np.concatenate(errors, axis=1) / deviations).mean())


_Moments = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and covariance."""


def _frechet(x: _Moments, y: _Moments) -> float:
    """Fréchet distance of two Gaussians, per dimension (Dowson & Landau 1982, eq. 4, rooted).

    ``d² = |μₓ − μ_y|² + tr(Σₓ + Σ_y − 2 (Σₓ Σ_y)^½)``
    """
    (mean_x, cov_x), (mean_y, cov_y) = x, y
    if not all(np.isfinite(part).all() for part in (*x, *y)):
        return math.inf
    # The eigenvalues of a product of two covariances are real and not negative.
    root = np.sqrt(np.maximum(np.linalg.eigvals(cov_x @ cov_y).real, 0)).sum()
    square = np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * root
    return float(np.sqrt(max(square, 0.0) / len(mean_x)))


def _some(paths: Sequence[Path]) -> list[Path]:
    """A few of many, evenly spread."""
    count = min(len(paths), VALIDATION_RECORDINGS)
    return [paths[k * len(paths) // count] for k in range(count)]


def _spectrogram(samples: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """``(129, frames, 3)``: 70 dB below the loudest point, 0 Hz at the bottom."""
    from matplotlib import colormaps

    window, hop = 256, rate // 100
    padded = np.pad(samples, (0, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T[::-1] ** 2
    level = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 1e-7))
    return colormaps["magma"](1 + level / 70, bytes=True)[..., :3]
