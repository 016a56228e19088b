"""Training on recordings of two voices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.gaps import with_gaps
from cyclegan_media.datasets.recordings import check_rates, read_samples
from cyclegan_media.datasets.varied_voices import varied
from cyclegan_media.datasets.voices import VoiceSegments
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import VoiceData
from cyclegan_media.speech import (
    AnalysisConfig,
    SpeakerStatistics,
    VoiceFeatures,
    active_frames,
    analyse_corpus,
    convert_features,
    limit,
    synthesise_converted,
)
from cyclegan_media.speech.interface import AnyFeatures
from cyclegan_media.speech.matching import (
    TRACT_COEFFICIENTS,
    gaussian_distance,
    match_tracts,
    retract,
    weigh,
)
from cyclegan_media.speech.retrieval import choose_frames
from cyclegan_media.training.tasks import Generators, Preview

VALIDATION_RECORDINGS = 8
"""Per speaker, at most."""
PREVIEW_SECONDS = 6.0
_LAG_SECONDS = 0.02
"""Between the two frames that validation looks at together; within it sounds change."""
_MOST_PAIRS = 50_000

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
        frames = _LAG_SECONDS * data.analysis.sample_rate / data.analysis.frame_samples
        self._lag = max(1, round(frames))
        train: dict[Side, list[Path]] = {"a": files.train_a, "b": files.train_b}
        held_out: dict[Side, list[Path]] = {
            "a": _some(files.held_out_a or files.train_a),
            "b": _some(files.held_out_b or files.train_b),
        }
        paths = list(dict.fromkeys([*train["a"], *train["b"], *held_out["a"], *held_out["b"]]))
        check_rates(paths, self._config, say)
        say(f"analysing {len(paths)} recordings (those analysed before are remembered)")
        found = self._analyse(paths, data.match_tracts)
        features = {side: [found[path] for path in train[side]] for side in train}
        others = {side: [found[path] for path in held_out[side]] for side in held_out}
        alphas: dict[Side, float] = {}
        if data.match_tracts and isinstance(self._config, AnalysisConfig):
            alphas = _match_tracts(features, others, self._config)
            say(f"all-pass constants {alphas['a']:.3f} and {alphas['b']:.3f} match the tracts")
        speakers = weigh(
            SpeakerStatistics.from_features(features["a"]),
            SpeakerStatistics.from_features(features["b"]),
            data.whitening,
        )
        self._speakers = {
            side: replace(
                speaker, alpha=alphas.get(side), frames=self._frames(features[side], data)
            )
            for side, speaker in zip(train, speakers, strict=True)
        }
        self.domain_a, self.domain_b = (
            with_gaps(
                varied(
                    VoiceSegments(
                        features[side],
                        self._speakers[side],
                        data.frames,
                        where=f"{train[side][0].parent}: domain {side.upper()}",
                    ),
                    self._speakers[side],
                    self._config,
                    **data.augment.model_dump(),
                ),
                data.longest_gap,
            )
            for side in train
        )
        self._real = {side: self._pairs(items, side) for side, items in features.items()}
        self._held_out = {
            # Recordings of nothing cannot be compared.
            side: [item for item in items if self._pairs([item], side).shape[1] > 1]
            or features[side][:VALIDATION_RECORDINGS]
            for side, items in others.items()
        }
        self._preview = {side: some[0] for side, some in held_out.items()}

    def _frames(
        self, features: Sequence[VoiceFeatures], data: VoiceData
    ) -> NDArray[np.float32] | None:
        """What the model keeps of a speaker's spectra; those of log-mel bands are not retrieved."""
        if not data.keep_frames or not isinstance(self._config, AnalysisConfig):
            return None
        frames = choose_frames(features, data.keep_frames)
        return frames if len(frames) else None  # recordings of nothing have none

    def _analyse(self, paths: Sequence[Path], wide: bool) -> dict[Path, Any]:
        config = self._config
        if wide:
            coefficients = max(config.coefficients, TRACT_COEFFICIENTS)
            config = config.model_copy(update={"coefficients": coefficients})
        return dict(zip(paths, analyse_corpus(paths, config, read=read_samples), strict=True))

    def validate(self, generators: Generators) -> dict[str, float]:
        """How far converted held-out speech is from the other speaker's, and from its cycle.

        ``distance`` is the Fréchet distance between pairs of frames about 20 ms apart, of converted
        held-out speech and of the target's training recordings, all standardised: it sees means,
        (global) variances, their correlations and how fast they change. It needs no sentence in
        both voices, but cannot tell whether the right sounds are said. ``cycle`` can, somewhat:
        the mean distance of what was converted and back from what it was. ``score`` is the mean
        of both distances plus the mean of both cycle errors.
        """
        distances: dict[str, float] = {}
        cycles: dict[str, float] = {}
        for there, source, target, back in _DIRECTIONS:
            if there in generators:
                real = self._held_out[source]
                fake = [self._convert(generators[there], item, source, target) for item in real]
                distances[f"distance_{there}"] = gaussian_distance(
                    self._pairs(fake, target), self._real[target]
                )
                if back in generators:
                    again = [self._convert(generators[back], item, target, source) for item in fake]
                    cycles[f"cycle_{source}"] = self._cycle_error(real, again, source)
        score = sum(sum(part.values()) / len(part) for part in (distances, cycles) if part)
        return {"score": score, **distances, **cycles}

    def preview(self, generators: Generators) -> Preview:
        """Per direction a held-out recording, converted, and converted back: seen and heard."""
        preview, rate = Preview(), self._config.sample_rate
        for there, source, target, back in _DIRECTIONS:
            if there not in generators:
                continue
            signal = read_samples(self._preview[source], rate)[: int(PREVIEW_SECONDS * rate)]
            speakers = self._speakers[source], self._speakers[target]
            here, other = (speaker.analysis(self._config) for speaker in speakers)
            real = here.analyse(signal)
            fake = self._convert(generators[there], real, source, target)
            made = [("converted", fake, other)]
            if back in generators:
                again = self._convert(generators[back], fake, target, source)
                made.append(("cycle", again, here))
            rows = {"real": np.asarray(signal, dtype=np.float32)}
            for name, features, config in made:
                samples = synthesise_converted(features, real, signal, config)
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
        self, generator: nn.Module, features: AnyFeatures, source: Side, target: Side
    ) -> AnyFeatures:
        return convert_features(features, generator, self._speakers[source], self._speakers[target])

    def _pairs(self, features: Sequence[VoiceFeatures], side: Side) -> NDArray[np.float32]:
        """``(2 · coefficients, n)``: standardised frames of speech above those 20 ms later."""
        pairs, lag = [], self._lag
        for item in features:
            spectrum = self._speakers[side].standardise(item.spectrum)
            active = active_frames(item)
            both = active[:-lag] & active[lag:]
            pairs.append(np.concatenate([spectrum[:, :-lag][:, both], spectrum[:, lag:][:, both]]))
        joined = np.concatenate(pairs, axis=1)
        # A copy, since a view would keep all of it in memory for as long as the training takes.
        return joined[:, :: max(1, joined.shape[1] // _MOST_PAIRS)].copy()

    def _cycle_error(
        self, real: Sequence[VoiceFeatures], again: Sequence[VoiceFeatures], side: Side
    ) -> float:
        standardise = self._speakers[side].standardise
        errors = [
            np.abs(standardise(after.spectrum) - standardise(before.spectrum))[
                :, active_frames(before)
            ]
            for before, after in zip(real, again, strict=True)
        ]
        return float(np.concatenate(errors, axis=1).mean())


def _match_tracts(
    train: dict[Side, list[Any]], others: dict[Side, list[Any]], config: AnalysisConfig
) -> dict[Side, float]:
    """Give each side its all-pass constant; the features become those of an analysis with it."""
    alphas = dict(zip(train, match_tracts(train["a"], train["b"], config), strict=True))
    for sets in (train, others):
        for side, items in sets.items():
            sets[side] = [retract(item, alphas[side], config) for item in items]
    return alphas


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
