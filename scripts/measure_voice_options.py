"""Measure what the ways of synthesis do to converted recordings.

    python scripts/measure_voice_options.py --model runs/vc/model --data-a SF1 --data-b TM1

Converts the held-out sentences of A to B and prints, per way: mel-cepstral distortion to the same
sentences spoken by B and the distance of global variances, and, against the input, the error of
log F0, the share of frames whose voicing differs, how well the level follows (deviation of the
difference in dB, over speech), the level of all frames that are no speech and that (root mean
square, above 50 Hz) of the background inside pauses of 0.1 s or more, and the largest step from
one sample to the next as a multiple of the input's largest. "input" is the recording left as it
is; "all converted" converts pauses, too, which stay as they are otherwise.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, binary_opening
from scipy.signal import butter, sosfiltfilt

from cyclegan_media.media.audio import read_audio
from cyclegan_media.metrics.voice import global_variance_distance, mel_cepstral_distortion
from cyclegan_media.pretrained import load_model
from cyclegan_media.speech import AnalysisConfig, Features, active_frames, analyse
from cyclegan_media.speech.conversion import SYNTHESES, Conversion
from cyclegan_media.translate.voice import convert_voice

Samples = NDArray[np.float32]
COLUMNS = (
    *("MCD dB", "log F0 error", "voicing %", "level dB", "no speech dB", "in pauses dB", "steps"),
    "GV",
)
_BACKGROUND_DB = 10.0
"""Above the quietest twentieth of a recording: what a pause is, beside quiet sounds of speech."""
_LONG_PAUSE = 20
"""Frames of 5 ms."""
_MARGIN = 4
"""Frames left out at both ends of a pause, into which the analysis's windows carry speech."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-a", type=Path, required=True)
    parser.add_argument("--data-b", type=Path, required=True)
    parser.add_argument("--held-out", default="2*.wav", metavar="GLOB")
    args = parser.parse_args()
    model = load_model(args.model)
    rows: dict[str, list[list[float]]] = {}
    analysed: dict[str, list[Features]] = {}
    for path in sorted(args.data_a.glob(args.held_out)):
        source, target = read_audio(path), read_audio(args.data_b / path.name)
        rate = source.sample_rate
        signal = source.samples.mean(axis=0)
        spoken = target.samples.mean(axis=0)
        outputs = {"input": signal}
        for way, keep in product(SYNTHESES, (False, True)):
            conversion = Conversion(synthesis=way, keep_pauses=keep)
            name = way if keep else f"{way}, all converted"
            outputs[name] = convert_voice(model, signal, rate, "a2b", conversion=conversion)[0]
        config = AnalysisConfig(sample_rate=rate)
        wanted = analyse(spoken, config)
        analysed.setdefault("wanted", []).append(wanted)
        for name, output in outputs.items():
            analysed.setdefault(name, []).append(analyse(output, config))
            rows.setdefault(name, []).append(
                _measure(output, signal, analysed[name][-1], analysed["input"][-1], wanted, rate)
            )
    print(" | ".join(["way", *COLUMNS]))
    for name, found in rows.items():
        variance = global_variance_distance(analysed[name], analysed["wanted"])
        means = [*np.nanmean(found, axis=0), variance]
        print(" | ".join([name, *(f"{x:.3f}" for x in means)]))


def _measure(
    output: Samples,
    signal: Samples,
    after: Features,
    before: Features,
    wanted: Features,
    rate: int,
) -> list[float]:
    audible = butter(4, 50, "highpass", fs=rate, output="sos")
    heard, original = (sosfiltfilt(audible, x) for x in (output, signal))
    speech, both = active_frames(before), after.voiced & before.voiced
    background = np.percentile(before.level(), 5) + _BACKGROUND_DB
    inside = _inside_pauses(before.level() < background, len(signal))
    level = after.level() - before.level()
    return [
        mel_cepstral_distortion(after, wanted),
        float(np.sqrt(np.mean(np.log(after.f0[both] / before.f0[both]) ** 2))),
        100 * float(np.mean(after.voiced != before.voiced)),
        float(level[speech].std()),
        float(level[~speech].mean()) if (~speech).any() else float("nan"),
        _decibels(heard[inside]) - _decibels(original[inside]) if inside.any() else float("nan"),
        float(np.abs(np.diff(output)).max() / np.abs(np.diff(signal)).max()),
    ]


def _inside_pauses(quiet: NDArray[np.bool_], samples: int) -> NDArray[np.bool_]:
    """``(samples,)``"""
    long = binary_opening(np.pad(quiet, 1, constant_values=True), np.ones(_LONG_PAUSE))
    inside = binary_erosion(long, np.ones(2 * _MARGIN + 1), border_value=1)[1:-1]
    place = np.arange(samples) * len(quiet) // samples
    return np.asarray(inside[place])


def _decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


if __name__ == "__main__":
    main()
