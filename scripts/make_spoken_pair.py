"""Make two speakers out of two voices of a speech synthesiser, who say the same sentences.

    python scripts/make_spoken_pair.py --out spoken
    python scripts/make_spoken_pair.py --program flite --out spoken

Writes 35 sentences each, named as those of the Voice Conversion Challenge 2016: 100001 to 100030 to
train on, 200001 to 200005 to measure on. Needs the program `espeak-ng` or `flite`, neither of which
is part of this project. The voices of eSpeak NG are of one pitch and one accent, but of two
synthesisers: eSpeak's own, which adds formants up, and Klatt's, which filters a source. Those of
Flite are statistical models of two American speakers of CMU ARCTIC, a woman (slt) and a man (rms).
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
from pathlib import Path

import soundfile

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media.audio import read_audio

VOICES = {
    "espeak-ng": {"one": "en-us+m3", "other": "en-us+klatt2"},
    "flite": {"one": "slt", "other": "rms"},
}
"""By program and folder."""
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="for the folders one and other")
    parser.add_argument(
        "--program", choices=VOICES, default="espeak-ng", help="that speaks (default: espeak-ng)"
    )
    args = parser.parse_args(arguments)
    try:
        make(args.out, args.program)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def make(out: Path, program: str) -> None:
    """Let both voices say all sentences.

    Raises:
        UserError: the program or one of its voices is missing, or a folder is there already.
    """
    _check(out, program)
    names = [*range(100001, 100031), *range(200001, 200006)]
    for folder, voice in VOICES[program].items():
        (out / folder).mkdir(parents=True)
        for name, text in zip(names, sentences(len(names)), strict=True):
            path = out / folder / f"{name}.wav"
            subprocess.run(_command(program, voice, path, text), check=True)
            soundfile.write(path, read_audio(path, sample_rate=RATE, mono=True).samples[0], RATE)


def _check(out: Path, program: str) -> None:
    if shutil.which(program) is None:
        raise UserError(
            f"{program}: no such program on this machine; install it (on Debian by apt install"
            f" {program}) or choose another by --program"
        )
    for folder in VOICES[program]:
        if (out / folder).exists():
            raise UserError(f"{out / folder}: exists already; choose another --out, or remove it")
    if program == "flite":
        # Without the voice it would speak in another one, and report no error.
        listed = subprocess.run([program, "-lv"], check=True, capture_output=True, text=True)
        for voice in VOICES[program].values():
            if voice not in listed.stdout.split():
                raise UserError(f"{program}: lacks the voice {voice}; install one that has it")


def _command(program: str, voice: str, path: Path, text: str) -> list[str]:
    if program == "flite":
        return [program, "-voice", voice, "-t", text, "-o", str(path)]
    return [program, "-v", voice, "-w", str(path), text]


if __name__ == "__main__":
    sys.exit(main())
