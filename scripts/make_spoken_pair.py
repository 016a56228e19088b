"""Make two speakers out of two voices of eSpeak NG, who say the same sentences.

    python scripts/make_spoken_pair.py --out spoken

Writes 35 sentences each, named as those of the Voice Conversion Challenge 2016: 100001 to 100030 to
train on, 200001 to 200005 to measure on. Needs the program `espeak-ng`, which is not part of this
project. The voices are of one pitch and one accent, but of two synthesisers: eSpeak's own, which
adds formants up, and Klatt's, which filters a source.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from pathlib import Path

import soundfile

from cyclegan_media.media.audio import read_audio

VOICES = {"one": "en-us+m3", "other": "en-us+klatt2"}
RATE = 16000
_WHO = (
    "the old sailor|my younger sister|a tired nurse|our neighbour's dog|the village judge|her boss"
)
_DOES = "carried|forgot|noticed|painted|bought|could not find|threw away|measured|asked for|hid"
_WHAT = (
    "a yellow umbrella|the huge cheese|three thin books|a pair of shoes|the broken vase|his watch"
)
_WHERE = (
    "behind the church|on Thursday evening|near the frozen lake|without a word|before the storm"
)
_WHY = "because it was cheap|although nobody asked|while the choir sang|and then left|as usual"


def sentences(count: int) -> list[str]:
    """Different ones, the same on every machine."""
    draw = random.Random(0)
    found: dict[str, None] = {}
    while len(found) < count:
        parts = (draw.choice(part.split("|")) for part in (_WHO, _DOES, _WHAT, _WHERE, _WHY))
        found[" ".join(parts).capitalize() + "."] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="for the folders one and other")
    args = parser.parse_args()
    names = [*range(100001, 100031), *range(200001, 200006)]
    for folder, voice in VOICES.items():
        (args.out / folder).mkdir(parents=True)
        for name, text in zip(names, sentences(len(names)), strict=True):
            path = args.out / folder / f"{name}.wav"
            subprocess.run(["espeak-ng", "-v", voice, "-w", path, text], check=True)
            soundfile.write(path, read_audio(path, sample_rate=RATE, mono=True).samples[0], RATE)


if __name__ == "__main__":
    main()
