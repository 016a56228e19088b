"""What a data set holds, and what is wrong with it: file by file, and between its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media import list_media
from cyclegan_media.prepare.folder import each
from cyclegan_media.prepare.look import Look, look_at
from cyclegan_media.prepare.similar import BITS, SAME_PICTURE, SAME_SOUND, Seen

PARTS = ("trainA", "trainB", "testA", "testB", "train", "test")
FEW = {"image": 100, "audio": 20}
"""Files of a domain below which training sees too little; a video counts as its seconds."""
_KINDS = ("image", "video", "audio")

Problem = dict[str, str]
"""``file``, ``kind`` and ``what``."""


def check_data(
    folders: Sequence[str],
    *,
    workers: int = 1,
    progress: Callable[[Path], None] = lambda path: None,
) -> dict[str, Any]:
    """Look at every file of the folders, and of their parts ``trainA``, ``test`` and so on.

    Returns:
        Plain data. ``parts``: of each folder with files in it, what it holds. ``problems``: a list
        of ``file`` (or part), ``kind`` of the problem and ``what`` is wrong, in a sentence.

    Raises:
        UserError: a folder does not exist, or there is nothing in any.
    """
    parts: dict[str, list[Path]] = {}
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; name folders of media")
        for part in (folder, *(folder / inner for inner in PARTS)):
            files = (
                [path for kind in _KINDS for path in list_media(part, kind)]
                if part.is_dir()
                else []
            )
            if files:
                parts[str(part)] = files
    if not parts:
        raise UserError(f"{', '.join(folders)}: hold no pictures, videos or recordings")
    paths = list(dict.fromkeys(path for files in parts.values() for path in files))
    looks: dict[Path, Look] = {}
    for path, found in each(look_at, {path: (path,) for path in paths}, workers, progress):
        looks[path] = (
            Look(path, "other", {"unreadable": str(found)})
            if isinstance(found, CycleganMediaError)
            else found
        )
    by_part = {name: [looks[path] for path in files] for name, files in parts.items()}
    problems: list[Problem] = []
    for seen in looks.values():
        for kind, what in seen.problems.items():
            problems.append(_problem(seen.path, kind, what))
    problems += _same(by_part)
    for name, seen_here in by_part.items():
        problems += _of_part(name, seen_here)
    return {
        "parts": {name: _summary(seen_here) for name, seen_here in by_part.items()},
        "problems": problems,
    }


def _problem(file: object, kind: str, what: str) -> Problem:
    name = str(file)
    return {"file": name, "kind": kind, "what": what.removeprefix(f"{name}: ")}


def _same(parts: Mapping[str, Sequence[Look]]) -> list[Problem]:
    """Duplicates within a part; what is in two parts is worse: leakage, or no domains."""
    problems = []
    for sound, most in ((False, SAME_PICTURE), (True, SAME_SOUND)):
        seen, owners = Seen(round(most * BITS)), list[tuple[str, Look]]()
        for part, looks in parts.items():
            for look in looks:
                if (look.kind == "audio") != sound or {"flat", "silent"} & set(look.problems):
                    continue
                met: dict[str, Look] = {}
                for fingerprint in look.fingerprints:
                    like = seen.like(fingerprint)
                    if like is not None and owners[like][1] is not look:
                        met.setdefault(*owners[like])
                for fingerprint in look.fingerprints:
                    seen.add(fingerprint)
                    owners.append((part, look))
                for other_part, other in met.items():
                    kind, what = _relation(other_part, part)
                    problems.append(
                        _problem(look.path, kind, f"is nearly the same as {other.path}{what}")
                    )
    return problems


def _relation(one: str, other: str) -> tuple[str, str]:
    first, second = Path(one).name, Path(other).name
    test = first.startswith("test"), second.startswith("test")
    if one == other:
        return "duplicate", ""
    if test[0] != test[1]:
        return "leakage", ", so that what is trained on is tested on"
    return "in both", ", in another part of the data"


def _of_part(name: str, looks: Sequence[Look]) -> list[Problem]:
    problems = []
    rates = Counter(look.facts["rate"] for look in looks if "rate" in look.facts)
    if len(rates) > 1:
        shown = ", ".join(f"{count} of {rate} Hz" for rate, count in rates.most_common())
        problems.append(
            _problem(name, "mixed rates", f"holds recordings of several rates: {shown}")
        )
    if not Path(name).name.startswith("test"):
        seconds = sum(look.facts.get("seconds") or 0 for look in looks if look.kind == "video")
        counts = {
            "image": sum(look.kind == "image" for look in looks) + round(seconds),
            "audio": sum(look.kind == "audio" for look in looks),
        }
        for kind, least in FEW.items():
            if 0 < counts[kind] < least:
                things = "pictures (or seconds of video)" if kind == "image" else "recordings"
                problems.append(
                    _problem(name, "few", f"holds {counts[kind]} {things}; {least} are a start")
                )
    return problems


def _summary(looks: Sequence[Look]) -> dict[str, Any]:
    known = [look for look in looks if look.facts]
    kinds = Counter(look.kind for look in looks)
    sides = [
        min(look.facts["width"], look.facts["height"]) for look in known if "width" in look.facts
    ]
    sounds = [look.facts for look in known if look.kind == "audio"]
    levels = [facts["loudness"] for facts in sounds if facts["loudness"] is not None]
    videos = [look.facts for look in known if look.kind == "video"]
    return {
        "files": dict(kinds),
        "shorter_side": _range(sides),
        "video_seconds": sum(facts.get("seconds") or 0 for facts in videos),
        "shots": sum(facts["shots"] for facts in videos),
        "sound_seconds": sum(facts["seconds"] for facts in sounds),
        "speech_seconds": sum(facts["speech"] for facts in sounds),
        "rates": sorted({facts["rate"] for facts in sounds}),
        "loudness": _range(levels),
    }


def _range(values: Sequence[float]) -> dict[str, float] | None:
    """Least, middle and most."""
    if not values:
        return None
    return {
        "least": float(min(values)),
        "median": float(np.median(values)),
        "most": float(max(values)),
    }
