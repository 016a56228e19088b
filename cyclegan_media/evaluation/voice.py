"""Voice models beside what they have to beat, on sentences that both speakers said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

import numpy as np
from tqdm import tqdm

from cyclegan_media.datasets.discover import Files
from cyclegan_media.evaluation.charts import f0_chart
from cyclegan_media.evaluation.report import Part
from cyclegan_media.evaluation.tables import Measure, Table, plain, spread
from cyclegan_media.metrics import voice_table
from cyclegan_media.metrics.speaker import Embed, SpeakerVerifier
from cyclegan_media.metrics.voice import METRIC_ANALYSIS, log_f0_rmse, mel_cepstral_distortion
from cyclegan_media.metrics.voice_table import Direction, Method, MethodScores, Recording, Voices
from cyclegan_media.page.fragments import figure, number, row, sound
from cyclegan_media.translate import Translator
from cyclegan_media.translate.options import Options

MEASURES = (
    Measure("mcd", "MCD", "lower", "dB"),
    Measure("log_f0_rmse", "log-F0 RMSE", "lower"),
    Measure("gv_distance", "GV distance", "lower"),
    Measure("ms_distance", "MS distance", "lower", "dB"),
    Measure("probability", "P(target)", "higher"),
    Measure("similarity", "similarity", "higher"),
)
DIRECTIONS: tuple[Direction, Direction] = ("a2b", "b2a")
RESERVED = (
    voice_table.UNCONVERTED,
    voice_table.MOMENTS,
    voice_table.PARALLEL_GMM,
    voice_table.PARALLEL_GMM_GV,
    voice_table.COPY,
)
_NOTE = (
    "MCD: mel-cepstral distortion along the alignment with the target's own sentence. log-F0 RMSE:"
    " 0.69 is an octave. GV: mean |ln| of the ratio of global variances; smoothed speech has too"
    " little variance. MS: modulation spectra, of how fast spectra move. P(target) and similarity"
    " are by a verifier of the two speakers; similarity is 0 like real recordings of the source and"
    " 1 like those of the target. The joint-density GMM, where it is there, learned from parallel"
    " sentences, which the models do without; copy synthesis is the floor of what goes through the"
    " vocoder."
)
_BUILT_IN = "MFCCs and Gaussian mixtures, trained on the recordings learned from"


@dataclass(frozen=True)
class Result:
    """What one method makes of the held-out sentences of a direction."""

    converted: list[Recording]
    scores: MethodScores

    def row(self) -> dict[str, float]:
        flat = asdict(self.scores)
        return {**flat.pop("distances"), **flat}


class VoiceEvaluation:
    """Two speakers, and what methods reach on their held-out sentences.

    Args:
        files: those to learn from and those to measure on; of the latter count such as have the
            same name in both domains, which must say the same.
        names: of the two speakers, by side.
        embed: a user's embedding model for the verifier; ``None`` for the built-in one.
        options: how models convert.
        examples: sentences of each direction that are shown.
        progress: draw progress bars.

    Raises:
        UserError: no shared names, fewer than 5 recordings of a speaker to learn from, a file
            that cannot be read, or a recording without speech.
    """

    measures: Sequence[Measure] = MEASURES

    def __init__(
        self,
        files: Files,
        names: Mapping[str, str],
        *,
        embed: Embed | None = None,
        options: Options | None = None,
        examples: int = 3,
        progress: bool = False,
    ) -> None:
        self.names, self.options, self.progress = dict(names), options or Options(), progress
        self.examples = examples
        self.verified_by = _BUILT_IN if embed is None else "the user's embedding of speakers"
        self.voices = _read(files, progress)
        self.verifier: SpeakerVerifier = voice_table.train_verifier(self.voices, embed)
        self._baselines = voice_table.baselines(self.voices)
        self.results: dict[Direction, dict[str, Result]] = {}

    def compare(self, models: Mapping[str, Translator]) -> None:
        """Fill :attr:`results`: baselines, models, and copy synthesis, the floor."""
        for direction in DIRECTIONS:
            methods: dict[str, Method] = dict(self._baselines[direction])
            for name, model in models.items():
                if direction in model.directions:
                    methods[name] = self._method(model, direction)
            found = {}
            for name, method in self._bar(methods.items(), direction):
                converted = voice_table.convert_all(method, self.voices, direction)
                found[name] = self._result(converted, direction)
            copied = voice_table.copies(self.voices, direction)
            found[voice_table.COPY] = self._result(copied, direction)
            self.results[direction] = found

    def score(self, model: Translator) -> dict[str, dict[str, float]]:
        """What one model reaches, by direction and measure."""
        return {
            direction: self._result(
                voice_table.convert_all(self._method(model, direction), self.voices, direction),
                direction,
            ).row()
            for direction in DIRECTIONS
            if direction in model.directions
        }

    def tables(self) -> dict[str, Table]:
        """A table for each direction."""
        return {
            direction: Table(
                self.title(direction),
                MEASURES,
                {name: result.row() for name, result in found.items()},
                [name for name in found if name not in RESERVED],
            )
            for direction, found in self.results.items()
        }

    def title(self, direction: str) -> str:
        return f"{self.names[direction[0]]} → {self.names[direction[2]]}"

    def data(self) -> dict[str, Any]:
        """The numbers, and how they were made."""
        return {
            "a": self.names["a"],
            "b": self.names["b"],
            "sentences": [item.name for item in self.voices.held_out["a"]],
            "trained_on": {side: len(self.voices.train[side]) for side in "ab"},
            "analysis": METRIC_ANALYSIS.model_dump(),
            "verifier": self.verified_by,
            "verifier_equal_error": self.verifier.equal_error,
            "directions": {
                direction: {name: plain(result.row()) for name, result in found.items()}
                for direction, found in self.results.items()
            },
            "per_sentence": {
                direction: {
                    name: {item.name: self._single(item, direction) for item in result.converted}
                    for name, result in found.items()
                }
                for direction, found in self.results.items()
            },
        }

    def facts(self) -> dict[str, object]:
        return {
            "Sentences measured on": len(self.voices.held_out["a"]),
            "Recordings learned from by what is compared with": " and ".join(
                f"{len(self.voices.train[side])} of {self.names[side]}" for side in "ab"
            ),
            "Verifier": self.verified_by,
            "Its equal error rate": f"{self.verifier.equal_error:.1%}",
            "Analysis": f"WORLD at {METRIC_ANALYSIS.sample_rate} Hz, mel-cepstra of order"
            f" {METRIC_ANALYSIS.coefficients}, frames within 30 dB of the loudest, c₀ left out",
        }

    def parts(self) -> list[Part]:
        """For each direction the table, and sentences to see and hear."""
        parts: list[Part] = []
        count = len(self.voices.held_out["a"])
        for direction, table in self.tables().items():
            html = [table.html(f"{count} held-out sentences")]
            if not parts:
                html.append(f'<p class="note">{escape(_NOTE)}</p>')
            for place in spread(count, self.examples):
                html += self._example(direction, place)
            parts.append(Part(direction, table.title, html))
        return parts

    def _example(self, direction: str, place: int) -> list[str]:
        source, target = (self.voices.held_out[direction[k]][place] for k in (0, 2))
        way: Direction = "a2b" if direction == "a2b" else "b2a"
        shown = {
            name: result.converted[place]
            for name, result in self.results[way].items()
            if name not in RESERVED or name == voice_table.MOMENTS
        }
        heard = [figure(_sound(source, "source"), "Source", self.names[direction[0]])]
        for name, item in shown.items():
            found = self._single(item, way)["mcd"]
            heard.append(figure(_sound(item, name), name, f"MCD {number(found)} dB"))
        heard.append(figure(_sound(target, "target"), "Target", "said by the speaker"))
        contours = {"source": source.features.f0, "target": target.features.f0}
        contours |= {name: item.features.f0 for name, item in shown.items()}
        chart = f0_chart(
            contours, METRIC_ANALYSIS.frame_period / 1000, f"F0 contours of {source.name}"
        )
        return [
            f"<h3>Sentence {escape(source.name)}</h3>",
            row("audio", heard),
            row("chart", [figure(chart, "F0", "each in its own time; gaps are unvoiced")]),
        ]

    def _method(self, model: Translator, direction: Direction) -> Method:
        options = replace(options_for(model, self.options), direction=direction)

        def method(item: Recording) -> Any:
            samples = np.asarray(item.samples, dtype=np.float32)
            return model.convert_samples(samples, METRIC_ANALYSIS.sample_rate, options)

        return method

    def _result(self, converted: list[Recording], direction: Direction) -> Result:
        return Result(
            converted, voice_table.score(converted, self.voices, direction, self.verifier)
        )

    def _single(self, item: Recording, direction: Direction) -> dict[str, float | None]:
        """Distances of one converted sentence."""
        target = next(t for t in self.voices.held_out[direction[2]] if t.name == item.name)
        return plain(
            {
                "mcd": mel_cepstral_distortion(item.features, target.features),
                "log_f0_rmse": log_f0_rmse(item.features, target.features),
            }
        )

    def _bar(self, items: Any, direction: str) -> Any:
        return tqdm(items, desc=direction, unit="method", leave=False, disable=not self.progress)


def options_for(model: Translator, options: Options) -> Options:
    """``options`` without the vocoder for a model that makes waveforms itself."""
    on_log_mel = (model.config.analysis or {}).get("kind") == "log_mel"
    return options if on_log_mel else replace(options, vocoder=None)


def check_vocoder(models: Iterable[Translator], options: Options) -> None:
    """Check, before minutes of analysis, that the vocoder fits the models on log-mel spectra.

    Raises:
        UserError: it does not, or cannot be read; or there is no such model.
    """
    models = list(models)
    some = [model for model in models if options_for(model, options).vocoder is not None]
    for model in some or models:
        model.check(replace(options, direction=model.directions[0]))


def _read(files: Files, progress: bool) -> Voices:
    with tqdm(desc="analysing", unit="recording", leave=False, disable=not progress) as bar:

        def show(done: int, total: int) -> None:
            if total != bar.total:  # first those that train, then those held out
                bar.reset(total)
            bar.update(done - bar.n)

        return voice_table.read_voices(
            files.train_a, files.train_b, files.held_out_a, files.held_out_b, progress=show
        )


def _sound(item: Recording, name: str) -> str:
    return sound(item.samples, METRIC_ANALYSIS.sample_rate, f"{item.name}, {name}")
