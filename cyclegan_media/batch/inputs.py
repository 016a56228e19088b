"""Which files a batch reads: folders, globs, files, or the rows of a manifest."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan_media.batch import remote
from cyclegan_media.batch.manifest import MANIFESTS, read_manifest
from cyclegan_media.batch.outputs import is_text
from cyclegan_media.batch.settings import BatchOptions, FileSettings
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.media.kinds import kind_of, natural_order


@dataclass(frozen=True)
class Entry:
    """One file to translate, as it was asked for."""

    source: str
    """A path or a URL."""
    output: str | None
    """Relative to the folder of outputs; ``None`` to take ``name``, in a suffix that is written."""
    name: str
    model: str
    settings: FileSettings
    where: str
    """Begins messages about it: the file and the line, or the source itself."""
    found: bool
    """Whether it was found in a folder, where files of other kinds lie, too."""


def find_entries(jobs: Sequence[str], out: Path | None, options: BatchOptions) -> list[Entry]:
    """What ``jobs`` stand for, in natural order, a manifest's rows in theirs.

    A folder gives all media in it and its subfolders, hidden ones and ``out`` aside. A glob
    (``*``, ``?``, ``[…]``, ``**`` for folders of any depth) gives what it matches; outputs keep
    the path from where the pattern begins. A file ending in ``.csv`` or ``.jsonl`` is a manifest.

    Raises:
        UserError: nothing is there, there are more files than ``options.max_rows``, or a manifest
            is wrong.
    """
    entries: list[Entry] = []
    for job in jobs:
        for entry in _expand(job, out, options):
            entries.append(entry)
            if len(entries) > options.max_rows:
                raise UserError(
                    f"{job}: the batch would have more than {options.max_rows} files; split it, or"
                    " raise the limit with --max-rows"
                )
    return entries


def _expand(job: str, out: Path | None, options: BatchOptions) -> Iterator[Entry]:
    if Path(job).suffix.lower() in MANIFESTS and not remote.is_url(job):
        for row in read_manifest(Path(job), options):
            yield Entry(
                row.source,
                row.output,
                remote.name_of(row.source).name,
                row.model,
                row.settings,
                row.where,
                False,
            )
        return
    if options.model is None:
        raise UserError(f"{job}: name the model that translates it with -m")
    for source, name, found in _sources(job, out):
        if not is_text(source):
            raise UserError(f"{source!r}: has a name that is no UTF-8 text; rename it")
        yield Entry(source, None, name, options.model, options.settings, source, found)


def _sources(job: str, out: Path | None) -> Iterator[tuple[str, str, bool]]:
    """Source, name in the folder of outputs, and whether it was found rather than named."""
    if remote.is_url(job):
        yield from remote.find(job)
        return
    path = Path(job)
    if os.path.isdir(path):  # noqa: PTH112  (answers for whatever text)
        files = list(_walk(path, out))
        if not files:
            raise UserError(f"{job}: holds no picture, video or recording")
        yield from ((str(file), file.relative_to(path).as_posix(), True) for file in files)
    elif glob.has_magic(job) and not os.path.exists(path):  # noqa: PTH110
        base = _fixed_part(job)
        matches = [Path(match) for match in glob.glob(job, recursive=True)]  # noqa: PTH207
        files = sorted((file for file in matches if _is_input(file, out)), key=_order)
        if not files:
            raise UserError(f"{job}: matches no picture, video or recording")
        yield from ((str(file), file.relative_to(base).as_posix(), True) for file in files)
    elif os.path.exists(path):  # noqa: PTH110
        yield str(path), path.name, False
    else:
        raise UserError(f"{job}: there is no such file or folder")


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Media in ``folder`` and below it; links to folders are not followed."""

    def failed(error: OSError) -> None:
        raise from_os_error(error, error.filename or folder, "listing it") from error

    for where, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (out and _same(Path(where, name), out))
        )
        files = [Path(where, name) for name in names]
        yield from sorted((file for file in files if _is_input(file, None)), key=natural_order)


def _is_input(file: Path, out: Path | None) -> bool:
    """Whether it is a medium that may be an input: no output of this batch, nothing hidden."""
    if file.name.startswith(".") or kind_of(file) is None or not file.is_file():
        return False
    return out is None or not file.resolve().is_relative_to(out.resolve())


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _order(path: Path) -> tuple[str, object]:
    return str(path.parent), natural_order(path)


def _fixed_part(pattern: str) -> Path:
    """The folder that a pattern begins with, before its first part with a wildcard."""
    parts = Path(pattern).parts
    first = next(k for k, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
