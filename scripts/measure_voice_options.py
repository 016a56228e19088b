"""Measure what the ways of synthesis do to converted recordings.

    python scripts/measure_voice_options.py --model runs/vc/model --data-a SF1 --data-b TM1

Converts the held-out sentences of A to B and prints, per way: mel-cepstral distortion to the same
sentences spoken by B, and, against the input, the error of log F0, the share of frames whose
voicing differs, how well the level follows (deviation of the difference in dB, over speech), the
level of pauses against the input's, and the largest step from one sample to the next as a multiple
of the input's largest. "input" is the recording left as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.media.audio import read_audio
from cyclegan_media.metrics.voice import mel_cepstral_distortion
from cyclegan_media.pretrained import load_model
from cyclegan_media.speech import AnalysisConfig, active_frames, analyse
from cyclegan_media.speech.conversion import SYNTHESES, Conversion
from cyclegan_media.translate.voice import convert_voice

Samples = NDArray[np.float32]
COLUMNS = ("MCD dB", "log F0 error", "voicing %", "level dB", "pauses dB", "steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-a", type=Path, required=True)
    parser.add_argument("--data-b", type=Path, required=True)
    parser.add_argument("--held-out", default="2*.wav", metavar="GLOB")
    args = parser.parse_args()
    model = load_model(args.model)
    rows: dict[str, list[list[float]]] = {}
    for path in sorted(args.data_a.glob(args.held_out)):
        source, target = read_audio(path), read_audio(args.data_b / path.name)
        rate = source.sample_rate
        signal = source.samples.mean(axis=0)
        spoken = target.samples.mean(axis=0)
        outputs = {"input": signal}
        for way in SYNTHESES:
            outputs[way] = convert_voice(
                model, signal, rate, "a2b", conversion=Conversion(synthesis=way)
            )[0]
        for name, output in outputs.items():
            rows.setdefault(name, []).append(_measure(output, signal, spoken, rate))
    print(" | ".join(["way", *COLUMNS]))
    for name, found in rows.items():
        print(" | ".join([name, *(f"{x:.3f}" for x in np.nanmean(found, axis=0))]))


def _measure(output: Samples, signal: Samples, spoken: Samples, rate: int) -> list[float]:
    config = AnalysisConfig(sample_rate=rate)
    after, before, wanted = (analyse(x, config) for x in (output, signal, spoken))
    speech, both = active_frames(before), after.voiced & before.voiced
    level = after.level() - before.level()
    return [
        mel_cepstral_distortion(after, wanted),
        float(np.sqrt(np.mean(np.log(after.f0[both] / before.f0[both]) ** 2))),
        100 * float(np.mean(after.voiced != before.voiced)),
        float(level[speech].std()),
        float(level[~speech].mean()) if (~speech).any() else float("nan"),
        float(np.abs(np.diff(output)).max() / np.abs(np.diff(signal)).max()),
    ]


if __name__ == "__main__":
    main()
