"""Which files a translation reads and writes, and many of them in a row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.media.audio_writer import check_audio_output
from cyclegan_media.media.image_writer import image_format
from cyclegan_media.media.kinds import Kind, kind_of, list_media

if TYPE_CHECKING:  # a batch plans without loading torch
    from cyclegan_media.backbones.registry import Modality

TRANSLATED: dict[Modality, tuple[Kind, ...]] = {"image": ("image", "video"), "voice": ("audio",)}
"""What is translated of a folder."""

_WORDS: dict[Kind, str] = {"image": "a picture", "video": "a video", "audio": "a recording"}


@dataclass(frozen=True)
class Job:
    """One file to translate."""

    source: Path
    target: Path
    sample: int = 1
    """Which of several translations of the source, counted from 1."""


def plan(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    modality: Modality,
    *,
    overwrite: bool = False,
    samples: int | None = None,
) -> list[Job]:
    """What :meth:`Translator.translate` would read and write; nothing is touched.

    One file goes to ``target`` itself, or into it where it is a folder. Several files, and the
    media of a folder (not of its subfolders), go into the folder ``target`` under their own
    names; a format that is read but not written becomes ``.png`` or ``.wav``.

    Args:
        samples: translations of each file; the target ``out.jpg`` then stands for ``out-1.jpg``,
            ``out-2.jpg`` and so on.

    Raises:
        UserError: a source is missing, of a kind that a model of this modality does not
            translate, or the only one of its name twice; a folder holds nothing to translate; or
            a target exists and ``overwrite`` is false, or is itself a source.
    """
    # A path object would drop the slash that says "this is to be a folder".
    ends_as_folder = os.fspath(target).endswith(("/", os.sep))
    target = Path(target)
    into_folder = (
        ends_as_folder
        or len(sources) > 1
        or any(Path(source).is_dir() for source in sources)
        or target.is_dir()
    )
    paths = [path for source in sources for path in _files(Path(source), modality)]
    jobs = [
        job
        for path in paths
        for job in _samples(
            path, target / output_name(path, modality) if into_folder else target, samples
        )
    ]
    _check(jobs, modality, overwrite)
    return jobs


def run(
    jobs: Iterable[Job],
    translate: Callable[[Job], object],
    failed: Callable[[Job, CycleganMediaError], None],
) -> None:
    """Translate every job; one that fails does not stop the rest.

    Args:
        failed: told of each failure as it happens.

    Raises:
        UserError: the only job failed by an error of the user's, or several jobs failed and all
            of them by such.
        RunError: the same with failures of another sort among them.
    """
    jobs = list(jobs)
    if len(jobs) == 1:
        translate(jobs[0])
        return
    errors: list[CycleganMediaError] = []
    for job in jobs:
        try:
            translate(job)
        except CycleganMediaError as error:
            errors.append(error)
            failed(job, error)
    if errors:
        kind = UserError if all(isinstance(error, UserError) for error in errors) else RunError
        raise kind(f"{len(errors)} of {len(jobs)} files could not be translated")


def _samples(source: Path, target: Path, samples: int | None) -> list[Job]:
    if samples is None:
        return [Job(source, target)]
    names = [f"{target.stem}-{k}{target.suffix}" for k in range(1, samples + 1)]
    return [Job(source, target.with_name(name), k) for k, name in enumerate(names, start=1)]


def _files(source: Path, modality: Modality) -> list[Path]:
    if source.is_dir():
        files = [path for kind in TRANSLATED[modality] for path in list_media(source, kind)]
        if not files:
            wanted = " or ".join(_WORDS[kind].split()[1] + "s" for kind in TRANSLATED[modality])
            raise UserError(f"{source}: holds no {wanted} to translate")
        return files
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder")
    check_kind(source, modality)
    return [source]


def output_name(source: Path, modality: Modality) -> str:
    """What the translation of ``source`` is called in a folder of outputs."""
    try:
        if modality == "voice":
            check_audio_output(source)
        elif kind_of(source) == "image":
            image_format(source)
    except UserError:
        return f"{source.stem}{'.wav' if modality == 'voice' else '.png'}"
    return source.name


def check_kind(source: Path, modality: Modality) -> Kind:
    """The kind of ``source``, which a model of ``modality`` must be able to translate.

    Raises:
        UserError: it is of another kind, or its suffix names none.
    """
    kind = kind_of(source)
    if kind is None:
        raise UserError(
            f"{source}: the suffix {source.suffix!r} is of no picture, video or recording"
        )
    if modality == "image" and kind == "audio":
        raise UserError(f"{source}: is a recording, but this model translates pictures and videos")
    # The sound of a video is a recording, too.
    if modality == "voice" and kind == "image":
        raise UserError(f"{source}: is a picture, but this model converts voices")
    return kind


def _check(jobs: list[Job], modality: Modality, overwrite: bool) -> None:
    sources: dict[Path, Path] = {}
    read = {job.source.resolve() for job in jobs}
    for job in jobs:
        check_target_kind(job, modality)
        if job.target in sources:
            raise UserError(
                f"{job.target}: both {sources[job.target]} and {job.source} would be written"
                " there; translate them one by one"
            )
        sources[job.target] = job.source
        if job.target.exists():
            if job.target.samefile(job.source):
                raise UserError(f"{job.target}: would replace its own source; choose another name")
            if job.target.resolve() in read:
                raise UserError(
                    f"{job.target}: would replace another source; choose another folder"
                )
            if not overwrite:
                raise UserError(f"{job.target}: exists already; pass --overwrite to replace it")


def check_target_kind(job: Job, modality: Modality) -> None:
    """Check that the target is named like what the source becomes.

    Raises:
        UserError: its suffix is of another kind.
    """
    wanted = kind_of(job.source) if modality == "image" else "audio"
    assert wanted is not None
    if kind_of(job.target) != wanted:
        suffix = repr(job.target.suffix) if job.target.suffix else "no suffix"
        raise UserError(
            f"{job.target}: has {suffix}, but the translation of {job.source.name} is"
            f" {_WORDS[wanted]}; name it like one"
        )
