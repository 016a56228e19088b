"""How long an utterance takes to convert, beside the same steps written plainly.

    python scripts/bench_utterance.py [--recording FILE] [--threads 1] [--rounds 5] [--json FILE]

Plainly: pyworld's F0, envelope and aperiodicity of the whole recording, its own coding of the
envelope, the network in one pass, and synthesis. The toolkit's is what ``cyclegan-media translate``
does after start-up with a file that was read: resampling, analysis, network, synthesis, level and
limiter. Networks have random weights, since time does not depend on them, and statistics are the
recording's own. The real-time factor is the seconds taken for a second of sound.

Also the analysis of copies of the recording by one process and by two, without a cache.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_table as bench
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.media.audio import read_audio, resample
from cyclegan_media.recipe import build_networks, build_objective, load_recipe
from cyclegan_media.speech import (
    AnalysisConfig,
    GriffinLim,
    LogMelConfig,
    SpeakerStatistics,
    analyse_corpus,
    convert_signal,
    limit,
)
from cyclegan_media.speech.analysis import world

RECIPES = ("cyclegan_vc", "cyclegan_vc2", "maskcyclegan_vc_small")
Samples = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recording", metavar="FILE", help="default: a made voice of 5 seconds")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="cores for a conversion"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--files", type=int, default=16, metavar="N", help="of the corpus")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = bench.machine()
    print(bench.describe(about), flush=True)
    if args.recording:
        audio = read_audio(args.recording, mono=True)
        samples, rate = np.asarray(audio.samples, dtype=np.float32).reshape(-1), audio.sample_rate
    else:
        samples, rate = made_voice(), 16000
    length = len(samples) / rate
    contenders: dict[str, Callable[[], object]] = {}
    for name in RECIPES:
        contenders |= contenders_of(name, samples, rate)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores is not None:  # numpy's threads keep to them, too
        os.sched_setaffinity(0, sorted(cores)[: args.threads])
    for run in contenders.values():
        run()
    for _ in range(args.rounds):  # in turns, so that a busy while is so for all
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            taken[name].append((time.perf_counter() - start) / length)
    if cores is not None:
        os.sched_setaffinity(0, cores)
    rows = [[n, f"{bench.median(t):.3f}", f"± {bench.spread(t):.0%}"] for n, t in taken.items()]
    print(f"\nA recording of {length:.1f} s at {rate} Hz\n")
    print(bench.table(["conversion", "real-time factor", "spread"], rows), flush=True)
    corpus = corpus_seconds(samples, rate, args.files)
    print(f"\nAnalysis of {args.files} copies, and of three times as many")
    for workers, (few, many) in corpus.items():
        each = (many - few) / (2 * args.files)
        print(
            f"  {workers} process(es): {few:.1f} and {many:.1f} s, {each:.3f} s for a further one"
        )
    bench.write_json(args.json, {"machine": about, "factors": taken, "corpus": corpus})
    return 0


def contenders_of(name: str, samples: Samples, rate: int) -> dict[str, Callable[[], object]]:
    """The toolkit's conversion by a recipe's network, and the plain one where there is one."""
    recipe = load_recipe(name)
    network = build_networks(recipe, build_objective(recipe).roster).generator_a2b.eval()
    analysis = recipe.data.analysis
    if isinstance(analysis, LogMelConfig):
        return {f"{name}, Griffin-Lim": toolkit(network, analysis, samples, rate)}
    runs: dict[str, Callable[[], object]] = {}
    for f0 in ("harvest", "dio"):
        config = AnalysisConfig.model_validate({**analysis.model_dump(), "f0": f0})
        runs[f"{name}, {f0}, plainly"] = plain(network, config, samples, rate)
        runs[f"{name}, {f0}, this toolkit"] = toolkit(network, config, samples, rate)
    return runs


def toolkit(
    network: nn.Module, config: AnalysisConfig | LogMelConfig, samples: Samples, rate: int
) -> Callable[[], object]:
    at_rate = resample(samples[None], rate, config.sample_rate)[0]
    speaker = SpeakerStatistics.from_features([config.analyse(at_rate)])
    vocoder = GriffinLim(config) if isinstance(config, LogMelConfig) else None

    def run() -> Samples:
        signal = resample(samples[None], rate, config.sample_rate)[0]
        out = convert_signal(signal, network, speaker, speaker, config, vocoder)
        return limit(resample(out[None], config.sample_rate, rate)[0], rate)

    return run


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


def corpus_seconds(samples: Samples, rate: int, files: int) -> dict[int, tuple[float, float]]:
    """Seconds for so many files and for three times as many, by one process and by two.

    The difference is free of the start of the processes, each of which imports this script.
    """
    import soundfile

    def analysed(paths: list[Path], workers: int) -> float:
        start = time.perf_counter()
        analyse_corpus(paths, read=read_samples, cache=False, workers=workers)
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.wav" for number in range(3 * files)]
        for path in paths:
            soundfile.write(path, samples, rate)
        return {n: (analysed(paths[:files], n), analysed(paths, n)) for n in (1, 2)}


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
    sys.exit(main())
