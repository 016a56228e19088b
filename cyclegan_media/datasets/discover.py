"""Which files train and which are held out, from the folders that a user names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cyclegan_media.errors import UserError
from cyclegan_media.media import list_media


@dataclass(frozen=True)
class Files:
    """The files of both domains. What is held out never trains."""

    train_a: list[Path]
    train_b: list[Path]
    held_out_a: list[Path]
    held_out_b: list[Path]

    def fingerprint(self) -> str:
        """Changes when a training file is added, removed, renamed or resized."""
        digest = hashlib.blake2b(digest_size=16)
        for files in (self.train_a, self.train_b):
            for path in files:
                digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(b"\1")
        return digest.hexdigest()


def find_files(
    data_a: str | os.PathLike[str],
    data_b: str | os.PathLike[str],
    kinds: tuple[str, ...],
    *,
    hold_out: float = 0.1,
) -> Files:
    """List the media of both domains and hold some out.

    Each folder holds files of its domain, or is laid out in one of the usual ways, which are
    looked for in this order: ``trainA``/``trainB`` with ``testA``/``testB`` (both arguments may
    then be the same folder); ``train`` with ``test``; files alone. Without a test folder the
    share ``hold_out`` of the files is held out, evenly spaced in natural order; nothing, where
    there are fewer than ten files.

    Args:
        kinds: what to list: ``("image", "video")`` or ``("audio",)``.

    Raises:
        UserError: a folder is missing, holds nothing of these kinds, or is both domains.
    """
    train_a, held_out_a = _side(Path(data_a), "A", kinds, hold_out)
    train_b, held_out_b = _side(Path(data_b), "B", kinds, hold_out)
    if train_a[0].resolve().parent == train_b[0].resolve().parent:
        raise UserError(
            f"{data_a}: is given for both domains; name a folder for each, or one that holds trainA"
            " and trainB"
        )
    return Files(train_a, train_b, held_out_a, held_out_b)


def _side(
    folder: Path, side: str, kinds: tuple[str, ...], hold_out: float
) -> tuple[list[Path], list[Path]]:
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {state}; domain {side} needs a folder of {_words(kinds)}")
    for train, test in ((f"train{side}", f"test{side}"), ("train", "test")):
        if (folder / train).is_dir():
            files = _list(folder / train, kinds)
            held_out = _list(folder / test, kinds) if (folder / test).is_dir() else None
            break
    else:
        files, held_out = _list(folder, kinds), None
    if not files:
        raise UserError(f"{folder}: holds no {_words(kinds)} for domain {side}")
    if held_out is None:
        return _split(files, hold_out)
    return files, held_out


def _list(folder: Path, kinds: tuple[str, ...]) -> list[Path]:
    return [path for kind in kinds for path in list_media(folder, kind)]


def _split(files: list[Path], share: float) -> tuple[list[Path], list[Path]]:
    count = round(len(files) * share)
    if len(files) < 10 or count == 0:
        return files, []
    out = {int((k + 0.5) * len(files) / count) for k in range(count)}
    return (
        [path for k, path in enumerate(files) if k not in out],
        [path for k, path in enumerate(files) if k in out],
    )


def _words(kinds: tuple[str, ...]) -> str:
    words = {"image": "images", "video": "videos", "audio": "recordings"}
    return " or ".join(words[kind] for kind in kinds)
