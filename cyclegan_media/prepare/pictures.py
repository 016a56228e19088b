"""Videos and pictures → a folder of pictures to train on, and where each came from."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.files import atomic_directory, check_output_folder
from cyclegan_media.media import Image, VideoReader, kind_of, read_image, write_image
from cyclegan_media.prepare.folder import each, find_sources, stems, write_list
from cyclegan_media.prepare.scan import FLAT, Candidate, scan
from cyclegan_media.prepare.similar import BITS, SAME_PICTURE, Seen
from cyclegan_media.prepare.split import held_out_groups

logger = logging.getLogger("cyclegan_media")


@dataclass(frozen=True)
class PictureOptions:
    """What is taken of videos and pictures."""

    rate: float = 1.0
    """Frames a second of a video, each the sharpest of its stretch; 0: all."""
    size: int | None = None
    """The shorter side is scaled down to this many pixels; ``None`` keeps what it is."""
    crop: bool = False
    """Whether only the square in the middle is kept."""
    min_size: int = 64
    """Pictures whose shorter side has fewer pixels are left out."""
    duplicates: float = SAME_PICTURE
    """Share of a fingerprint's bits by which near duplicates may differ; below 0 keeps all."""
    blur: float = 0.2
    """Frames with less than this part of the usual sharpness of their source are left out."""
    test: float = 0.1
    """Share to hold out, by whole shots."""
    suffix: str = "png"
    workers: int = 1


@dataclass
class Prepared:
    """What came of it."""

    folder: str
    sources: int
    train: int = 0
    test: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """How many, by reason."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sources that could not be read, and why."""


@dataclass
class _Decision:
    candidate: Candidate
    reason: str = ""
    """Why it is left out."""
    target: str = ""
    """Its place in the folder."""


def prepare_pictures(
    inputs: Sequence[str],
    out: str | os.PathLike[str],
    options: PictureOptions | None = None,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Callable[[str, Path], None] = lambda stage, path: None,
) -> Prepared:
    """Fill the folder ``out`` with ``train/`` and ``test/``; it is complete or absent.

    Videos are read twice: to choose, then to write what was chosen, so that memory does not grow
    with their length. Shots are held out as a whole, since neighbouring frames are nearly the same.

    Args:
        inputs: videos, pictures, and folders of them.
        dry_run: only look, and write nothing.
        progress: is told of each source that was ``scanned`` or ``written``.

    Raises:
        UserError: see :func:`find_sources`; ``out`` exists; or nothing is left to take.
        RunError: no source can be read.
    """
    options = options or PictureOptions()
    sources = find_sources(inputs, ("image", "video"))
    out = Path(out)
    if not dry_run:
        check_output_folder(out, overwrite=overwrite)
    result = Prepared(str(out), len(sources))
    found: list[_Decision] = []
    jobs: dict[Path, tuple[Any, ...]] = {source: (source, options.rate) for source in sources}
    for source, seen in each(scan, jobs, options.workers, lambda p: progress("scanned", p)):
        if isinstance(seen, CycleganMediaError):
            note_failure(result, source, seen)
        else:
            found += [_Decision(candidate) for candidate in seen.candidates]
    if len(result.failed) == len(sources):
        raise RunError(
            f"{out}: none of the sources could be read; the first: {first_failure(result)}"
        )
    _leave_out(found, options)
    _name(found, stems(sources), options)
    kept = [item for item in found if not item.reason]
    result.left_out.update(item.reason for item in found if item.reason)
    if not kept:
        raise UserError(f"{out}: nothing is left to take; left out: {dict(result.left_out)}")
    if not dry_run:
        _write(out, found, options, result, overwrite, progress)
        kept = [item for item in found if not item.reason]
    result.test = sum(item.target.startswith("test/") for item in kept)
    result.train = len(kept) - result.test
    return result


def _leave_out(found: list[_Decision], options: PictureOptions) -> None:
    usual: dict[Path, float] = {}
    by_source: dict[Path, list[float]] = {}
    for item in found:
        # Pictures are compared with one another, frames with those of their video.
        key = item.candidate.source if kind_of(item.candidate.source) == "video" else Path()
        if item.candidate.contrast >= FLAT:
            by_source.setdefault(key, []).append(item.candidate.sharpness)
    usual = {key: float(np.median(values)) for key, values in by_source.items()}
    seen = Seen(round(options.duplicates * BITS))
    for item in found:
        frame = item.candidate
        key = frame.source if kind_of(frame.source) == "video" else Path()
        if min(frame.width, frame.height) < options.min_size:
            item.reason = "tiny"
        elif frame.contrast < FLAT:
            item.reason = "flat"
        elif frame.sharpness < options.blur * usual[key]:
            item.reason = "blurred"
        elif options.duplicates >= 0 and seen.like(frame.fingerprint) is not None:
            item.reason = "duplicate"
        else:
            seen.add(frame.fingerprint)


def _name(found: list[_Decision], names: dict[Path, str], options: PictureOptions) -> None:
    kept = [item for item in found if not item.reason]
    sizes = Counter((names[i.candidate.source], i.candidate.shot) for i in kept)
    out = held_out_groups(sizes, options.test) if options.test else set()
    for item in kept:
        frame, name = item.candidate, names[item.candidate.source]
        part = "test" if (name, frame.shot) in out else "train"
        if kind_of(frame.source) == "video":
            name = f"{name}_{frame.shot:03d}_{round(frame.time * 1000):08d}"
        item.target = f"{part}/{name}.{options.suffix}"


def _write(
    out: Path,
    found: list[_Decision],
    options: PictureOptions,
    result: Prepared,
    overwrite: bool,
    progress: Callable[[str, Path], None],
) -> None:
    wanted: dict[Path, dict[int, _Decision]] = {}
    for item in found:
        if not item.reason:
            wanted.setdefault(item.candidate.source, {})[item.candidate.frame] = item
    with atomic_directory(out, overwrite=overwrite) as folder:
        for part in {
            Path(item.target).parent for items in wanted.values() for item in items.values()
        }:
            (folder / part).mkdir(parents=True)
        jobs: dict[Path, tuple[Any, ...]] = {
            source: (source, folder, {k: item.target for k, item in items.items()}, options)
            for source, items in wanted.items()
        }
        for source, done in each(
            _write_source, jobs, options.workers, lambda p: progress("written", p)
        ):
            if isinstance(done, CycleganMediaError):
                note_failure(result, source, done)
                for item in wanted[source].values():
                    (folder / item.target).unlink(missing_ok=True)
                    item.reason = "unreadable"
        if all(item.reason for item in found):
            raise RunError(
                f"{out}: no source could be read again; the first: {first_failure(result)}"
            )
        settings = {**asdict(options), "failed": result.failed}
        write_list(folder, map(_row, found), settings)


def _write_source(source: Path, folder: Path, targets: dict[int, str], options: Any) -> None:
    if kind_of(source) == "image":
        picture = read_image(source)
        top = 65535 if picture.pixels.dtype == np.uint16 else 255
        values = torch.from_numpy(picture.pixels.astype(np.float32)).permute(2, 0, 1)
        _write_tensor(values / (top / 2) - 1, folder / targets[0], options)
        return
    last = max(targets)
    with VideoReader(source) as video:
        for frame in video:
            if frame.number in targets:
                _write_tensor(frame.tensor(), folder / targets[frame.number], options)
            if frame.number >= last:
                return


def _write_tensor(picture: Tensor, path: Path, options: PictureOptions) -> None:
    height, width = picture.shape[1:]
    if options.crop:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        picture = picture[:, top : top + side, left : left + side]
        height = width = side
    if options.size is not None and min(height, width) > options.size:
        scale = options.size / min(height, width)
        size = (round(height * scale), round(width * scale))
        picture = torch.nn.functional.interpolate(
            picture[None], size, mode="bicubic", antialias=True, align_corners=False
        )[0]
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    write_image(path, Image(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())))


def _row(item: _Decision) -> dict[str, Any]:
    frame = item.candidate
    return {
        "file": None if item.reason else item.target,
        "left_out": item.reason or None,
        "source": str(frame.source),
        "frame": frame.frame,
        "time": round(frame.time, 6),
        "shot": frame.shot,
        "sharpness": round(frame.sharpness, 2),
        "contrast": round(frame.contrast, 2),
    }


def note_failure(result: Prepared, source: Path, error: CycleganMediaError) -> None:
    result.failed[str(source)] = str(error)
    logger.warning("%s; the others go on", error)


def first_failure(result: Prepared) -> str:
    return next(iter(result.failed.values()))
