"""The voice half of the demonstration: synthesise two voices, train, convert, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import cyclegan_media
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.demo.apart import say
from cyclegan_media.demo.page import Exhibit, Measure, VoiceSection
from cyclegan_media.demo.voices import SAMPLE_RATE, write_voices
from cyclegan_media.errors import RunError
from cyclegan_media.media import read_audio, write_audio
from cyclegan_media.metrics.voice import METRIC_ANALYSIS, compare_voices
from cyclegan_media.metrics.voice_baselines import match_moments
from cyclegan_media.pretrained import Direction, PretrainedModel
from cyclegan_media.recipe import load_recipe
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    SpeakerStatistics,
    analyse,
    synthesise,
)
from cyclegan_media.training import train


@dataclass(frozen=True)
class VoicePlan:
    """How much is made; the defaults are what the demonstration does."""

    sentences: int = 45
    """Recordings of each voice that train; no sentence is said by both."""
    held_out: int = 4
    """Recordings of each voice that are converted and measured."""
    overrides: tuple[str, ...] = ()
    """Of the recipe ``demo_voice``, as :func:`cyclegan_media.recipe.load_recipe` takes them."""


MARGINS = {"Mel-cepstral distortion": 1.0, "Log-F0 error": 0.2}
"""Gains that are called clear."""


def voice_section(folder: Path, plan: VoicePlan) -> VoiceSection:
    """Do everything in the new ``folder``: ``data/``, ``run/`` and ``recordings/``.

    Raises:
        UserError, RunError: see :func:`cyclegan_media.training.train`.
    """
    recipe = load_recipe("demo_voice", plan.overrides)
    say("synthesising two voices that babble, each its own sentences")
    data = write_voices(folder / "data", plan.sentences, plan.held_out)

    say("training on sentences of which no two are the same")
    files = find_files(data, data, ("audio",))
    trained = train(recipe, files, folder / "run", device="cpu")
    if trained.model is None:
        raise RunError(f"{folder}: the training was interrupted before it had a model")

    say("converting sentences that it has never heard")
    translator = cyclegan_media.load(trained.model, device="cpu")
    exhibits: list[Exhibit] = []
    measures: list[Measure] = []
    recordings = folder / "recordings"
    recordings.mkdir()
    for way in get_args(Direction):
        back: Direction = "b2a" if way == "a2b" else "a2b"
        done, matched = [], []
        sources = sorted((data / f"test{way[0].upper()}").iterdir())
        for before in tqdm(sources, desc=way, unit="recording", dynamic_ncols=True):
            after, cycle, trivial = (
                recordings / f"{way}-{before.stem}-{name}.wav"
                for name in ("after", "cycle", "trivial")
            )
            translator.translate(before, after, direction=way)
            translator.translate(after, cycle, direction=back)
            write_audio(trivial, _match(before, translator.model, way), SAMPLE_RATE)
            truth = data / f"truth{way.upper()}" / before.name
            done.append(Exhibit(_WORDS[way], before, after, cycle, truth))
            matched.append(trivial)
        say("comparing them with the truth")
        measures += _measures(way, done, matched)
        exhibits.append(done[0])
    return VoiceSection(
        heading="Voices",
        introduction=(
            "Two made-up voices with formants, pitch and timing of their own. They babble; each "
            "was learned from sentences that the other never says, and these took no part in it. "
            "The truth is the same sentence in the other voice, with the timing of the input."
        ),
        exhibits=exhibits,
        measures=measures,
        settings={
            "Recipe": recipe.name,
            "Generators": ", ".join(f"{k} {v}" for k, v in recipe.model.generator.items()),
            "Steps": trained.steps,
            "Batch": recipe.trainer.batch_size,
            "Training recordings": f"{plan.sentences} of each voice, no sentence in both",
            "Trivial method": "mean and deviation of each mel-cepstral coefficient and of log F0 "
            "matched to the other voice's",
        },
        curves=folder / "run" / "metrics.csv",
    )


_WORDS: dict[Direction, str] = {"a2b": "High voice to low", "b2a": "Low voice to high"}


def _match(recording: Path, model: PretrainedModel, way: Direction) -> NDArray[np.float32]:
    """The waveform of the trivial method, through the same analysis and synthesis."""
    config = AnalysisConfig.model_validate(model.config.analysis)
    source, target = (SpeakerStatistics.from_tensors(model.statistics, side) for side in way[::2])
    features = analyse(read_audio(recording).samples[0], config, aperiodicity=True)
    return synthesise(match_moments(features, source, target), config)


def _measures(
    way: Direction, done: Sequence[Exhibit], matched: Sequence[Path]
) -> Iterator[Measure]:
    truth = [_features(Path(item.truth)) for item in done if item.truth is not None]
    unconverted, converted, trivial = (
        compare_voices([_features(Path(file)) for file in files], truth)
        for files in ([item.before for item in done], [item.after for item in done], matched)
    )
    for name, unit, key, what in (
        ("Mel-cepstral distortion", "dB", "mcd", ""),
        ("Log-F0 error", "", "log_f0_rmse", "root mean square of natural logarithms, "),
    ):
        yield Measure(
            f"{name}, {_WORDS[way].lower()}",
            unconverted=getattr(unconverted, key),
            converted=getattr(converted, key),
            trivial=getattr(trivial, key),
            margin=MARGINS[name],
            unit=unit,
            higher_is_better=False,
            note=f"{what}{len(truth)} held-out sentences",
        )


def _features(recording: Path) -> Features:
    return analyse(read_audio(recording).samples[0], METRIC_ANALYSIS)
