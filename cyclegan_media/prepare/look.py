"""What single files of a data set are, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan_media.errors import CycleganMediaError
from cyclegan_media.media import VideoReader, kind_of
from cyclegan_media.media.audio import read_audio
from cyclegan_media.prepare.scan import FLAT, scan
from cyclegan_media.prepare.similar import Fingerprint, sound_fingerprint
from cyclegan_media.prepare.voices import clipped_share, loudness
from cyclegan_media.speech.activity import find_speech

TINY = 64
"""Pixels of the shorter side below which a picture has little to learn from."""
SHORT = 0.5
"""Seconds below which a recording gives no segment to most recipes."""
LONG = 30.0
"""Seconds above which a recording is no utterance; `prepare voices` cuts it."""
CLIPPED = 0.001
"""Share of samples at full scale."""
QUIET = -45.0
"""LUFS below which background noise is a large part of a recording."""


@dataclass(frozen=True, eq=False)
class Look:
    """One file."""

    path: Path
    kind: str
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, by a short name: a sentence."""
    facts: dict[str, Any] = field(default_factory=dict)
    """``width``, ``height``, ``seconds``, ``rate``, ``channels``, ``speech``, ``loudness``."""
    fingerprints: Sequence[Fingerprint] = ()
    """Of a video, one a second."""


def look_at(path: Path) -> Look:
    """Read a file as training would, and judge it; one that cannot be read is a problem, too."""
    kind = kind_of(path) or "other"
    try:
        return _sound(path) if kind == "audio" else _picture(path, kind)
    except CycleganMediaError as error:
        return Look(path, kind, {"unreadable": str(error)})


def _picture(path: Path, kind: str) -> Look:
    seen = scan(path, 1.0)
    first, problems = seen.candidates[0], {}
    facts: dict[str, Any] = {"width": first.width, "height": first.height, "frames": seen.frames}
    if kind == "video":
        with VideoReader(path) as video:
            facts["seconds"] = float(video.duration) if video.duration is not None else None
        facts["shots"] = seen.shots
    if min(first.width, first.height) < TINY:
        problems["tiny"] = f"has {first.width} × {first.height} pixels"
    if all(item.contrast < FLAT for item in seen.candidates):
        problems["flat"] = "shows nothing: one lightness all over"
    return Look(path, kind, problems, facts, [item.fingerprint for item in seen.candidates])


def _sound(path: Path) -> Look:
    audio = read_audio(path)
    samples, rate = audio.samples.mean(axis=0), audio.sample_rate
    seconds = len(samples) / rate
    level, problems = loudness(samples, rate), {}
    speech = sum(stop - start for start, stop in find_speech(samples, rate)) if rate >= 4000 else 0
    clipped = max(clipped_share(channel) for channel in audio.samples)
    if seconds < SHORT:
        problems["short"] = f"lasts {seconds:.2f} s"
    if seconds > LONG:
        problems["long"] = f"lasts {seconds:.0f} s; `prepare voices` cuts it into utterances"
    if speech == 0:
        problems["silent"] = "has no speech in it"
    elif np.isfinite(level) and level < QUIET:
        problems["quiet"] = f"has a loudness of {level:.0f} LUFS"
    if clipped > CLIPPED:
        problems["clipped"] = f"is clipped: {clipped:.1%} of it lies at full scale"
    if rate < 16000:
        problems["low rate"] = f"has {rate} samples a second; the recipes work at 16000 and more"
    facts = {
        "seconds": seconds,
        "rate": rate,
        "channels": len(audio.samples),
        "speech": speech,
        "loudness": level if np.isfinite(level) else None,
    }
    return Look(path, "audio", problems, facts, [sound_fingerprint(samples, rate)])
