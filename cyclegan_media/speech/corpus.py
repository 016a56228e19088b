"""Many recordings analysed at once, over all cores, with a cache on disk."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cyclegan_media.errors import CycleganMediaError, RunError, UserError, from_os_error
from cyclegan_media.files import atomic_file, cache_folder
from cyclegan_media.speech.analysis import AnalysisConfig, Features, analyse
from cyclegan_media.speech.interface import AnyFeatures
from cyclegan_media.speech.kinds import VoiceAnalysis
from cyclegan_media.speech.log_mel import LogMel, LogMelConfig

FORMAT_VERSION = 1
"""Of cache entries: raised whenever the same settings would give other values."""

Read = Callable[[Path, int], NDArray[np.floating[Any]]]
"""Reads a file as samples ``(n,)`` in −1…1 at a sample rate in Hz; a module's function, since it
is sent to other processes."""

_FILES_PER_PROCESS = 8
"""Starting a process takes about as long as analysing this many sentences."""

Progress = Callable[[int, int], None]
"""Told how many recordings are done, and of how many."""


@overload
def analyse_corpus(
    paths: Sequence[str | os.PathLike[str]],
    config: AnalysisConfig | None = None,
    *,
    read: Read,
    aperiodicity: bool = False,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Features]: ...


@overload
def analyse_corpus(
    paths: Sequence[str | os.PathLike[str]],
    config: LogMelConfig,
    *,
    read: Read,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[LogMel]: ...


def analyse_corpus(
    paths: Sequence[str | os.PathLike[str]],
    config: VoiceAnalysis | None = None,
    *,
    read: Read,
    aperiodicity: bool = False,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Features] | list[LogMel]:
    """Analyse recordings; equal content and settings are analysed only once, ever.

    Args:
        paths: files that ``read`` can read.
        read: how; see :data:`Read`.
        config: WORLD's by default.
        aperiodicity: find WORLD's too (needed for synthesis; large).
        cache: a folder; ``None`` or ``True`` for :func:`cache_folder`, ``False`` for no cache.
        workers: processes; ``None`` for all cores. With one, no process is started.
        progress: called in this process after each recording.

    Returns:
        The features, in the order of ``paths``.

    Raises:
        UserError: a file is missing or cannot be read; names it.
        RunError: a process was killed (for want of memory, most often).
    """
    config = config or AnalysisConfig()
    folder = cache_folder() if cache is None or cache is True else cache
    results: dict[int, Any] = {}
    jobs: dict[int, _Job] = {}
    for index, path in enumerate(map(Path, paths)):
        entry = None
        if folder:
            entry = folder / "speech" / f"{_key(path, config, aperiodicity)}.npz"
        kind: type[Any] = LogMel if isinstance(config, LogMelConfig) else Features
        cached = _load(entry, kind)
        if cached is None:
            jobs[index] = _Job(path, config, read, aperiodicity, entry)
            continue
        results[index] = cached
        if progress is not None:
            progress(len(results), len(paths))
    workers = min(workers or _cores(), -(-len(jobs) // _FILES_PER_PROCESS))
    for index, features in _in_turn(jobs) if workers <= 1 else _in_processes(jobs, workers):
        results[index] = features
        if progress is not None:
            progress(len(results), len(paths))
    return [results[index] for index in range(len(paths))]


class _Job(NamedTuple):
    path: Path
    config: VoiceAnalysis
    read: Read
    aperiodicity: bool
    entry: Path | None

    def run(self) -> Features | LogMel:
        samples = self.read(self.path, self.config.sample_rate)
        try:
            if isinstance(self.config, LogMelConfig):
                features: Features | LogMel = self.config.analyse(samples)
            else:
                features = analyse(samples, self.config, aperiodicity=self.aperiodicity)
        except CycleganMediaError as error:
            raise type(error)(f"{self.path}: {error}") from error
        if self.entry is not None:
            _store(self.entry, features)
        return features


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_turn(jobs: dict[int, _Job]) -> Iterator[tuple[int, Features | LogMel]]:
    for index, job in jobs.items():
        yield index, job.run()


def _use_one_core() -> None:
    # There is a process for each core. Linear algebra and resampling would start a thread for each
    # core in each of them, and these spin while they wait for one another: minutes instead of
    # seconds. By the environment, for libraries that are loaded later; torch is one.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    threadpool_limits(1)
    if "torch" in sys.modules:  # the calling script, which every process imports, brought it along
        sys.modules["torch"].set_num_threads(1)


def _in_processes(jobs: dict[int, _Job], workers: int) -> Iterator[tuple[int, Features | LogMel]]:
    # Started afresh rather than forked: a fork of a process with threads may deadlock.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_use_one_core)
    try:
        futures = {pool.submit(job.run): index for index, job in jobs.items()}
        for future in as_completed(futures):
            index = futures[future]
            try:
                yield index, future.result()
            except BrokenProcessPool as error:
                raise RunError(
                    f"{jobs[index].path}: an analysing process ended early (out of memory, or the"
                    " calling script lacks its __main__ guard); use fewer workers"
                ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _key(path: Path, config: VoiceAnalysis, aperiodicity: bool) -> str:
    digest = hashlib.blake2b(digest_size=20)
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    digest.update(f"\0{FORMAT_VERSION}\0{config.cache_key}\0{aperiodicity}".encode())
    return digest.hexdigest()


def _store(entry: Path, features: Features | LogMel) -> None:
    arrays = {name: value for name, value in vars(features).items() if value is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        with atomic_file(entry, overwrite=True) as partial:
            partial.write_bytes(buffer.getvalue())
    except CycleganMediaError:
        return  # a cache that cannot be written only costs time


def _load(entry: Path | None, kind: type[AnyFeatures]) -> AnyFeatures | None:
    """The entry, or ``None`` where it is absent or damaged."""
    if entry is None:
        return None
    try:
        with np.load(entry, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _sound(kind(**{**arrays, "samples": int(arrays["samples"])}))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _sound(features: AnyFeatures) -> AnyFeatures:
    for name, value in vars(features).items():
        if isinstance(value, np.ndarray) and (
            value.dtype not in (np.float32, np.bool_) or not np.isfinite(value).all()
        ):
            raise ValueError(name)
    if not features.spectrum.shape[1:] == features.voiced.shape == features.level().shape:
        raise ValueError("frames")
    return features
