"""What prepared data sets have in common: sources, names, and the list of what came from where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.media import kind_of, list_media

LIST = "prepared.jsonl"
"""A line for each example that was found: where it came from, and where it went or why not."""
SETTINGS = "prepare.json"

Result = TypeVar("Result")


def find_sources(inputs: Sequence[str], kinds: tuple[str, ...]) -> list[Path]:
    """The files that are named, and those of the folders that are named.

    Raises:
        UserError: one does not exist, is of another kind, or a folder holds none.
    """
    found: dict[Path, Path] = {}
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            inside = [item for kind in kinds for item in list_media(path, kind)]
            if not inside:
                raise UserError(f"{path}: holds nothing to prepare (no {' or '.join(kinds)} files)")
        elif not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
        elif kind_of(path) not in kinds:
            raise UserError(f"{path}: is not of a kind to prepare here ({' or '.join(kinds)})")
        else:
            inside = [path]
        for item in inside:
            found.setdefault(item.resolve(), item)
    return list(found.values())


def stems(sources: Iterable[Path]) -> dict[Path, str]:
    """A name for each source, by which its examples are called; no two have the same."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for source in sources:
        name, number = source.stem, 2
        while name.casefold() in taken:
            name, number = f"{source.stem}-{number}", number + 1
        taken.add(name.casefold())
        names[source] = name
    return names


def each(
    work: Callable[..., Result],
    jobs: Mapping[Path, tuple[Any, ...]],
    workers: int,
    show: Callable[[Path], None],
) -> Iterator[tuple[Path, Result | CycleganMediaError]]:
    """``work(*job)`` for each source, in order; a source that fails does not stop the others.

    Args:
        workers: processes; 1 works in this one.
        show: is told of each source that is done.
    """
    if workers <= 1 or len(jobs) <= 1:
        for source, job in jobs.items():
            yield source, _outcome(lambda job=job: work(*job))  # type: ignore[misc]
            show(source)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn")) as pool:
        futures = {source: pool.submit(work, *job) for source, job in jobs.items()}
        try:
            for source, future in futures.items():
                yield source, _outcome(future.result)
                show(source)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _outcome(work: Callable[[], Result]) -> Result | CycleganMediaError:
    try:
        return work()
    except CycleganMediaError as error:
        return error
    except BrokenProcessPool as error:
        raise RunError("a process ended early (out of memory?); use fewer --workers") from error


def write_list(
    folder: Path, rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """``prepared.jsonl`` and ``prepare.json``."""
    with open(folder / LIST, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")
