"""Long recordings, or the sound of videos → a folder of utterances to train on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.files import atomic_directory, check_output_folder
from cyclegan_media.media.audio import read_audio, resample
from cyclegan_media.media.audio_writer import write_audio
from cyclegan_media.prepare.folder import each, find_sources, stems, write_list
from cyclegan_media.prepare.pictures import Prepared, first_failure, note_failure
from cyclegan_media.prepare.similar import BITS, SAME_SOUND, Fingerprint, Seen, sound_fingerprint
from cyclegan_media.prepare.split import held_out_groups
from cyclegan_media.prepare.utterances import find_utterances

BLOCK_SECONDS = 60.0
"""Utterances are held out by whole blocks of a recording: neighbours share room and mood."""
_PEAK = 0.95
_LEAST_LUFS = -70.0
"""The gate of BS.1770: below it there is nothing to measure."""


@dataclass(frozen=True)
class VoiceOptions:
    """What is taken of recordings."""

    rate: int | None = None
    """Hz; ``None`` keeps that of each source."""
    shortest: float = 1.0
    longest: float = 12.0
    """Seconds of an utterance."""
    pause: float = 0.5
    """Seconds; a shorter one does not end an utterance."""
    around: float = 0.1
    """Seconds of background kept before and after."""
    loudness: float | None = -23.0
    """LUFS of each utterance by ITU-R BS.1770-4; ``None`` keeps the level."""
    clipped: float = 0.001
    """Utterances with a larger share of samples at full scale are left out."""
    duplicates: float = SAME_SOUND
    """Share of a fingerprint's bits by which near duplicates may differ; below 0 keeps all."""
    test: float = 0.1
    """Share to hold out."""
    suffix: str = "wav"
    workers: int = 1


@dataclass
class _Utterance:
    source: Path
    start: float
    stop: float
    loudness: float
    """LUFS, before it was changed."""
    gain: float
    """By which the samples are multiplied."""
    clipped: float
    fingerprint: Fingerprint
    reason: str = ""
    target: str = ""


def prepare_voices(
    inputs: Sequence[str],
    out: str | os.PathLike[str],
    options: VoiceOptions | None = None,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Callable[[str, Path], None] = lambda stage, path: None,
) -> Prepared:
    """Fill the folder ``out`` with ``train/`` and ``test/``; it is complete or absent.

    Recordings are read twice, to choose and to write; one is in memory at a time, for each worker.

    Args:
        inputs: recordings, videos with sound, and folders of them.
        dry_run: only look, and write nothing.
        progress: is told of each source that was ``scanned`` or ``written``.

    Raises:
        UserError: see :func:`find_sources`; ``out`` exists; or nobody speaks in the sources.
        RunError: no source can be read.
    """
    options = options or VoiceOptions()
    sources = find_sources(inputs, ("audio", "video"))
    out = Path(out)
    if not dry_run:
        check_output_folder(out, overwrite=overwrite)
    result = Prepared(str(out), len(sources))
    found: list[_Utterance] = []
    jobs: dict[Path, tuple[Any, ...]] = {source: (source, options) for source in sources}
    for source, seen in each(_scan, jobs, options.workers, lambda p: progress("scanned", p)):
        if isinstance(seen, CycleganMediaError):
            note_failure(result, source, seen)
        else:
            found += seen
    if len(result.failed) == len(sources):
        raise RunError(
            f"{out}: none of the sources could be read; the first: {first_failure(result)}"
        )
    _choose(found, stems(sources), options)
    result.left_out.update(item.reason for item in found if item.reason)
    kept = [item for item in found if not item.reason]
    if not kept:
        left = f"; left out: {dict(result.left_out)}" if found else ""
        raise UserError(f"{out}: no utterance of {options.shortest:g} s or more was found{left}")
    if not dry_run:
        _write(out, found, options, result, overwrite, progress)
        kept = [item for item in found if not item.reason]
    result.test = sum(item.target.startswith("test/") for item in kept)
    result.train = len(kept) - result.test
    return result


def loudness(samples: NDArray[np.floating[Any]], sample_rate: int) -> float:
    """Integrated loudness of ``(n,)`` in LUFS, ITU-R BS.1770-4; −∞ below its gate."""
    import torch
    import torchaudio.functional

    if len(samples) < 0.4 * sample_rate:  # one block of the measurement
        return -np.inf
    sound = torch.from_numpy(np.array(samples, dtype=np.float32))[None]
    value = float(torchaudio.functional.loudness(sound, sample_rate))
    return value if np.isfinite(value) and value > _LEAST_LUFS else -np.inf


def clipped_share(samples: NDArray[np.floating[Any]]) -> float:
    """Share of samples that lie, three or more in a row, at the highest level of a recording that
    reaches full scale (0.98 and more); a recording that stays below is not clipped."""
    top = float(np.abs(samples).max()) if samples.size else 0.0
    if top < 0.98:
        return 0.0
    at = (np.abs(samples) >= top - 1e-4).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], at, [0]]))).reshape(-1, 2)
    runs = edges[:, 1] - edges[:, 0]
    return float(runs[runs >= 3].sum() / len(samples))


def _scan(source: Path, options: VoiceOptions) -> list[_Utterance]:
    audio = read_audio(source, mono=True)
    samples, rate = audio.samples[0], audio.sample_rate
    found = []
    for start, stop in find_utterances(
        samples,
        rate,
        shortest=options.shortest,
        longest=options.longest,
        pause=options.pause,
        around=options.around,
    ):
        part = samples[round(start * rate) : round(stop * rate)]
        level, gain = loudness(part, rate), 1.0
        if options.loudness is not None and np.isfinite(level):
            peak = float(np.abs(part).max())
            gain = min(10 ** ((options.loudness - level) / 20), _PEAK / peak)
        item = _Utterance(
            source, start, stop, level, gain, clipped_share(part), sound_fingerprint(part, rate)
        )
        found.append(item)
    return found


def _choose(found: list[_Utterance], names: dict[Path, str], options: VoiceOptions) -> None:
    seen = Seen(round(options.duplicates * BITS))
    for item in found:
        if item.clipped > options.clipped:
            item.reason = "clipped"
        elif options.duplicates >= 0 and seen.like(item.fingerprint) is not None:
            item.reason = "duplicate"
        else:
            seen.add(item.fingerprint)
    kept = [item for item in found if not item.reason]
    blocks = [(names[item.source], int(item.start // BLOCK_SECONDS)) for item in kept]
    out = held_out_groups(Counter(blocks), options.test) if options.test else set()
    for item, block in zip(kept, blocks, strict=True):
        part = "test" if block in out else "train"
        item.target = f"{part}/{block[0]}_{round(item.start * 1000):08d}.{options.suffix}"


def _write(
    out: Path,
    found: list[_Utterance],
    options: VoiceOptions,
    result: Prepared,
    overwrite: bool,
    progress: Callable[[str, Path], None],
) -> None:
    wanted: dict[Path, list[_Utterance]] = {}
    for item in found:
        if not item.reason:
            wanted.setdefault(item.source, []).append(item)
    with atomic_directory(out, overwrite=overwrite) as folder:
        for part in {Path(item.target).parent for item in found if not item.reason}:
            (folder / part).mkdir(parents=True)
        jobs: dict[Path, tuple[Any, ...]] = {
            source: (source, folder, items, options) for source, items in wanted.items()
        }
        for source, done in each(
            _write_source, jobs, options.workers, lambda p: progress("written", p)
        ):
            if isinstance(done, CycleganMediaError):
                note_failure(result, source, done)
                for item in wanted[source]:
                    (folder / item.target).unlink(missing_ok=True)
                    item.reason = "unreadable"
        if all(item.reason for item in found):
            raise RunError(
                f"{out}: no source could be read again; the first: {first_failure(result)}"
            )
        write_list(folder, map(_row, found), {**asdict(options), "failed": result.failed})


def _write_source(
    source: Path, folder: Path, items: list[_Utterance], options: VoiceOptions
) -> None:
    audio = read_audio(source, mono=True)
    rate = options.rate or audio.sample_rate
    for item in items:
        first, last = (round(t * audio.sample_rate) for t in (item.start, item.stop))
        part = resample(audio.samples[:, first:last] * item.gain, audio.sample_rate, rate)
        write_audio(folder / item.target, part, rate)


def _row(item: _Utterance) -> dict[str, Any]:
    return {
        "file": None if item.reason else item.target,
        "left_out": item.reason or None,
        "source": str(item.source),
        "start": round(item.start, 6),
        "stop": round(item.stop, 6),
        "loudness": round(item.loudness, 2) if np.isfinite(item.loudness) else None,
        "gain": round(item.gain, 5),
        "clipped": round(item.clipped, 6),
    }
