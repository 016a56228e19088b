"""How long an utterance takes to convert, beside the same steps written plainly.

    python scripts/bench_utterance.py [--recording FILE] [--threads 1] [--rounds 5] [--json FILE]

Plainly: pyworld's F0, envelope and aperiodicity of the whole recording, its own coding of the
envelope, the network in one pass in fp32, and synthesis, in memory. The toolkit's is all that
``cyclegan-media translate`` does after start-up: a file is read, converted, and written with what
is said of its making; in fp32, by ``--precision auto``, and with retrieval from as many frames as
a model keeps. Networks have random weights, since time does not depend on them, and statistics are
the recording's own. The real-time factor is the processor's seconds, of all threads, for a second
of sound.

Also the analysis of copies of the recording by one process and by two, without a cache.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench_table as bench
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import nn

from cyclegan_media.backbones.registry import Backbone, spec_of
from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.media.audio import read_audio, resample
from cyclegan_media.pretrained import ModelConfig, PretrainedModel
from cyclegan_media.recipe import VoiceData, build_networks, build_objective, load_recipe
from cyclegan_media.speech import AnalysisConfig, LogMelConfig, SpeakerStatistics, analyse_corpus
from cyclegan_media.speech.analysis import world
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.translate import Translator

KEPT = VoiceData.model_fields["keep_frames"].default
RECIPES = ("cyclegan_vc", "cyclegan_vc2", "maskcyclegan_vc_small")
Samples = NDArray[np.float32]
Run = Callable[[], object]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recording", metavar="FILE", help="default: a made voice")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="of the made voice")
    parser.add_argument("--recipes", nargs="+", default=RECIPES, metavar="NAME")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for a conversion")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--files", type=int, default=24, metavar="N", help="of the corpus")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    about = bench.machine()
    print(bench.describe(about), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.recording:
            audio = read_audio(args.recording, mono=True)
            samples, rate = audio.samples.reshape(-1), audio.sample_rate
        else:
            samples, rate = made_voice(args.seconds), 16000
        source = folder / "source.wav"
        soundfile.write(source, samples, rate)
        length = len(samples) / rate
        contenders: dict[str, Run] = {}
        for recipe in args.recipes:
            contenders |= contenders_of(recipe, samples, rate, source)
        factors = in_turns(contenders, args.rounds, length)
        rows = [
            [n, f"{bench.median(t):.3f}", f"± {bench.spread(t):.0%}"] for n, t in factors.items()
        ]
        print(f"\nA recording of {length:.1f} s at {rate} Hz\n")
        print(bench.table(["conversion", "real-time factor", "spread"], rows), flush=True)
        corpus = corpus_seconds(folder, samples, rate, args.files)
    print(f"\nAnalysis of a further {2 * args.files} copies after {args.files}, each\n")
    rows = [[str(n), *(f"{figure:.3f}" for figure in each.values())] for n, each in corpus.items()]
    print(bench.table(["processes", "s", "processor s"], rows))
    bench.write_json(args.json, {"machine": about, "factors": factors, "corpus": corpus})
    return 0


def in_turns(contenders: dict[str, Run], rounds: int, length: float) -> dict[str, list[float]]:
    """Processor seconds for each of ``length`` seconds, ``rounds`` times after one that is free."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):  # in turns, so that a busy while is so for all
        for name, run in contenders.items():
            start = time.process_time()
            run()
            taken[name].append((time.process_time() - start) / length)
    return taken


def contenders_of(name: str, samples: Samples, rate: int, source: Path) -> dict[str, Run]:
    """The toolkit's conversions by a recipe's network, and the plain one where there is one."""
    recipe = load_recipe(name)
    assert isinstance(recipe.data, VoiceData), f"{name}: is for pictures"
    network = build_networks(recipe, build_objective(recipe).roster).generator_a2b.eval()
    assert isinstance(network, Backbone)
    analysis = recipe.data.analysis
    if isinstance(analysis, LogMelConfig):
        return toolkit(f"{name}, Griffin-Lim", network, analysis, samples, rate, source)
    runs: dict[str, Run] = {}
    for f0 in ("harvest", "dio"):
        config = AnalysisConfig.model_validate({**analysis.model_dump(), "f0": f0})
        runs[f"{name}, {f0}, plainly"] = plain(network, config, samples, rate)
        runs |= toolkit(f"{name}, {f0}", network, config, samples, rate, source)
    return runs


def toolkit(
    name: str,
    network: Backbone,
    config: AnalysisConfig | LogMelConfig,
    samples: Samples,
    rate: int,
    source: Path,
) -> dict[str, Run]:
    """From the file to another, by each precision that is a difference here."""
    at_rate = resample(samples[None], rate, config.sample_rate)[0]
    speaker = SpeakerStatistics.from_features([config.analyse(at_rate)])
    if isinstance(config, AnalysisConfig):  # as many frames as a model keeps at most
        noise = np.random.default_rng(0).standard_normal((KEPT, config.coefficients))
        speaker = replace(speaker, frames=(speaker.mean + speaker.std * noise).astype(np.float32))
    model = PretrainedModel(
        ModelConfig(
            modality="voice",
            generators={"a2b": spec_of(network)},
            analysis=config.model_dump(mode="json"),
        ),
        {"a2b": network},
        {**speaker.to_tensors("a"), **speaker.to_tensors("b")},
    )
    target = source.with_name("target.wav")

    def run_of(translator: Translator) -> Run:
        return lambda: translator.translate(source, target, overwrite=True)

    exact, auto = (Translator(model, device="cpu", precision=p) for p in ("fp32", "auto"))
    runs = {f"{name}, this toolkit, fp32": run_of(exact)}
    if auto.precision != "fp32":
        runs[f"{name}, this toolkit, {auto.precision}"] = run_of(auto)
    if isinstance(config, AnalysisConfig):
        retrieving = Conversion(retrieval=0.5)
        runs[f"{name}, this toolkit, {auto.precision}, retrieval"] = lambda: auto.translate(
            source, target, overwrite=True, conversion=retrieving
        )
    return runs


def plain(
    network: nn.Module, config: AnalysisConfig, samples: Samples, rate: int
) -> Callable[[], object]:
    pyworld, hz, period = world(), config.sample_rate, config.frame_period
    limits: dict[str, Any] = {"f0_floor": config.f0_floor, "f0_ceil": config.f0_ceil}
    multiple = getattr(network, "multiple", 1)

    def run() -> Any:
        signal = resample(samples[None], rate, hz)[0].astype(np.float64)
        find = pyworld.harvest if config.f0 == "harvest" else pyworld.dio
        f0, times = find(signal, hz, frame_period=period, **limits)
        if config.f0 == "dio":
            f0 = pyworld.stonemask(signal, f0, times, hz)
        envelope = pyworld.cheaptrick(signal, f0, times, hz)
        aperiodicity = pyworld.d4c(signal, f0, times, hz)
        coded = pyworld.code_spectral_envelope(envelope, hz, config.coefficients)
        mean, std = coded.mean(axis=0), coded.std(axis=0)
        frames = len(coded)
        padded = np.pad((coded - mean) / std, ((0, -frames % multiple), (0, 0)), mode="edge")
        with torch.inference_mode():
            made = network(torch.from_numpy(padded.T.copy()).float()[None])[0, :, :frames]
        coded = np.ascontiguousarray(made.numpy().T * std + mean, dtype=np.float64)
        envelope = pyworld.decode_spectral_envelope(coded, hz, 2 * (envelope.shape[1] - 1))
        return pyworld.synthesize(f0, envelope, aperiodicity, hz, period)

    return run


def corpus_seconds(
    folder: Path, samples: Samples, rate: int, files: int
) -> dict[int, dict[str, float]]:
    """Seconds for a further file, by the clock and of all processors, by one process and by two.

    What three times as many files take more than ``files``; that is free of the start of the
    processes, each of which imports this script.
    """

    def analysed(count: int, workers: int) -> tuple[float, float]:
        clock, own = time.perf_counter(), processor_seconds()
        analyse_corpus(paths[:count], read=read_samples, cache=False, workers=workers)
        return time.perf_counter() - clock, processor_seconds() - own

    paths = [folder / f"{number}.wav" for number in range(3 * files)]
    for path in paths:
        soundfile.write(path, samples, rate)
    each: dict[int, dict[str, float]] = {}
    for workers in (1, 2):
        few, many = analysed(files, workers), analysed(3 * files, workers)
        clock, own = ((more - less) / (2 * files) for less, more in zip(few, many, strict=True))
        each[workers] = {"seconds": clock, "processor": own}
    return each


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def made_voice(seconds: float = 5.0, rate: int = 16000) -> Samples:
    """A buzz of changing pitch through two resonances, with pauses: it is analysed like speech."""
    from scipy.signal import lfilter

    times = np.arange(int(seconds * rate)) / rate
    phase = np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * times)) / rate
    buzz = np.diff(np.floor(phase), prepend=0.0) + np.random.default_rng(0).normal(
        0, 0.01, len(times)
    )
    for centre in (600, 1500):
        angle, radius = 2 * np.pi * centre / rate, 0.97
        buzz = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], buzz)
    voice = buzz * (np.sin(2 * np.pi * 0.5 * times) > -0.7)
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


if __name__ == "__main__":
    logging.getLogger("cyclegan_media").setLevel(logging.ERROR)  # random weights may be loud
    sys.exit(main())
