"""Many recordings analysed at once, over all cores, with a cache on disk."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
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
_AHEAD = 4
"""Recordings that are laid out for each process, so that none waits for the next."""

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
) -> Sequence[Features]: ...


@overload
def analyse_corpus(
    paths: Sequence[str | os.PathLike[str]],
    config: LogMelConfig,
    *,
    read: Read,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Sequence[LogMel]: ...


def analyse_corpus(
    paths: Sequence[str | os.PathLike[str]],
    config: VoiceAnalysis | None = None,
    *,
    read: Read,
    aperiodicity: bool = False,
    cache: Path | bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Sequence[Features] | Sequence[LogMel]:
    """Analyse recordings; equal content and settings are analysed only once, ever.

    With a cache, memory does not hold what is found: each access reads an entry.

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
    corpus = _Corpus(paths, config, read, aperiodicity, folder or None)
    missing = [index for index in range(len(paths)) if not corpus.remembers(index)]
    done = len(paths) - len(missing)
    if progress is not None:
        for number in range(done):
            progress(number + 1, len(paths))
    workers = min(workers or _cores(), -(-len(missing) // _FILES_PER_PROCESS))
    results = _in_turn if workers <= 1 else partial(_in_processes, workers=workers)
    for index, features in results(corpus, missing):
        if features is not None:
            corpus.held[index] = features
        done += 1
        if progress is not None:
            progress(done, len(paths))
    return corpus


class _Corpus(Sequence[Any]):
    """Recordings, analysed; what the cache holds is read from it when asked for."""

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        config: VoiceAnalysis,
        read: Read,
        aperiodicity: bool,
        folder: Path | None,
    ) -> None:
        self._paths, self._config, self._read = paths, config, read
        self._aperiodicity, self._folder = aperiodicity, folder
        self._kind: type[Any] = LogMel if isinstance(config, LogMelConfig) else Features
        self._keys: list[str] = []
        if folder is not None:
            self._keys = [_key(Path(path), config, aperiodicity) for path in paths]
        self.held: dict[int, Any] = {}
        """What no cache holds."""

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if index in self.held:
            return self.held[index]
        job = self.job(index)
        cached = _load(job.entry, self._kind)
        return job.run() if cached is None else cached

    def job(self, index: int) -> _Job:
        """What analyses a recording."""
        entry = None
        if self._folder is not None:
            entry = self._folder / "speech" / f"{self._keys[index]}.npz"
        path = Path(self._paths[index])
        return _Job(path, self._config, self._read, self._aperiodicity, entry)

    def remembers(self, index: int) -> bool:
        """Whether the cache has it, whole."""
        return bool(self._keys) and _load(self.job(index).entry, self._kind) is not None


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
                return self.config.analyse(samples)
            return analyse(samples, self.config, aperiodicity=self.aperiodicity)
        except CycleganMediaError as error:
            raise type(error)(f"{self.path}: {error}") from error

    def store(self) -> Features | LogMel | None:
        """Analyse into the cache; what it cannot take is returned."""
        features = self.run()
        if self.entry is not None and _store(self.entry, features):
            return None
        return features


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_Result = tuple[int, Features | LogMel | None]
"""Which recording is done, and what was found where no cache has it."""


def _in_turn(corpus: _Corpus, missing: Sequence[int]) -> Iterator[_Result]:
    for index in missing:
        yield index, corpus.job(index).store()


def _use_one_core() -> None:
    # There is a process for each core. Linear algebra and resampling would start a thread for each
    # core in each of them, and these spin while they wait for one another: minutes instead of
    # seconds. By the environment, for libraries that are loaded later; torch is one.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    threadpool_limits(1)
    if "torch" in sys.modules:  # the calling script, which every process imports, brought it along
        sys.modules["torch"].set_num_threads(1)


def _in_processes(corpus: _Corpus, missing: Sequence[int], workers: int) -> Iterator[_Result]:
    # Started afresh rather than forked: a fork of a process with threads may deadlock.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_use_one_core)
    waiting = iter(missing)
    futures: dict[Future[Features | LogMel | None], int] = {}
    try:
        while True:
            for index in islice(waiting, _AHEAD * workers - len(futures)):
                futures[pool.submit(corpus.job(index).store)] = index
            if not futures:
                return
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                index = futures.pop(future)
                try:
                    yield index, future.result()
                except BrokenProcessPool as error:
                    raise RunError(
                        f"{corpus.job(index).path}: an analysing process ended early (out of"
                        " memory, or the calling script lacks its __main__ guard); use fewer"
                        " workers"
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


def _store(entry: Path, features: Features | LogMel) -> bool:
    """Whether it could be written; a cache that cannot only costs time."""
    arrays = {name: value for name, value in vars(features).items() if value is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        with atomic_file(entry, overwrite=True) as partial:
            partial.write_bytes(buffer.getvalue())
    except CycleganMediaError:
        return False
    return True


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
