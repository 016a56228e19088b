"""A public set, from its address to folders that train: download, check, record, unpack."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclegan_media.datasets.public.archives import unpack
from cyclegan_media.datasets.public.catalogue import PublicSet
from cyclegan_media.datasets.public.transfer import ChecksumError, Transfer, download, sha256_of
from cyclegan_media.datasets.public.writer import Limits
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.files import atomic_file
from cyclegan_media.media.kinds import SUFFIXES, kind_of


@dataclass(frozen=True)
class Fetched:
    """What has come."""

    folder: Path
    sha256: str
    checked: str | None
    """What the SHA-256 agrees with; ``None`` where this is the first download of an unknown one."""
    record: Path


@dataclass(frozen=True)
class _Expected:
    sha256: str | None
    by: str | None


def fetch(
    entry: PublicSet,
    into: Path,
    *,
    sha256: str | None = None,
    overwrite: bool = False,
    keep_archive: bool = False,
    transfer: Transfer | None = None,
    limits: Limits | None = None,
    progress: bool = False,
) -> Fetched:
    """Download ``entry``, check it and unpack it into ``INTO/NAME``.

    The archive must have the SHA-256 that is given, else the catalogue's, else that of the first
    download, which ``INTO/NAME.download.json`` keeps. An archive that lies in ``into`` already,
    under the name that the download would have, is taken instead.

    Raises:
        UserError: the set has no address, its folder exists already, its checksum is another, or
            its archive is refused.
        RunError: the server cannot be reached or the disk is full.
    """
    if entry.url is None:
        raise UserError(f"{entry.name}: cannot be downloaded: {entry.by_hand}")
    folder, archive = into / entry.name, into / entry.archive_name
    if archive == folder:
        archive = into / f"{entry.name}.archive"
    if folder.exists() and not overwrite and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; pass --overwrite to replace it")
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, into, "making the folder") from error
    record = into / f"{entry.name}.download.json"
    expected = _expected(entry, sha256, record)
    if archive.is_file():
        digest = _check_present(archive, expected)
    else:
        digest = _download(entry, archive, expected, transfer, progress)
    _write_record(record, entry, digest, archive.stat().st_size, expected.by)
    unpack(archive, folder, limits, only=entry.only, overwrite=overwrite, progress=progress)
    if not keep_archive:
        archive.unlink()
    return Fetched(folder, digest, expected.by, record)


def _expected(entry: PublicSet, sha256: str | None, record: Path) -> _Expected:
    if sha256 is not None:
        return _Expected(sha256.lower(), "the one that was given")
    if entry.sha256 is not None:
        return _Expected(entry.sha256, f"the one that {entry.checked_by} publishes")
    if record.exists():
        try:
            before = json.loads(record.read_text(encoding="utf-8"))
            if before["url"] == entry.url:
                return _Expected(str(before["sha256"]), f"that of {before['first_seen']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{record}: is not a record of a download; remove it") from error
    return _Expected(None, None)


def _check_present(archive: Path, expected: _Expected) -> str:
    digest = sha256_of(archive)
    if expected.sha256 not in (None, digest):
        raise UserError(
            f"{archive}: lies there already, but its SHA-256 is {digest}, not {expected.sha256}"
            f" ({expected.by}); remove it to download it again"
        )
    return digest


def _download(
    entry: PublicSet,
    archive: Path,
    expected: _Expected,
    transfer: Transfer | None,
    progress: bool,
) -> str:
    assert entry.url is not None
    try:
        return download(entry.url, archive, transfer, sha256=expected.sha256, progress=progress)
    except ChecksumError as error:
        raise UserError(
            f"{error} (compared with {expected.by}); if you trust the new file, pass its SHA-256 by"
            " --sha256"
        ) from error


def _write_record(path: Path, entry: PublicSet, digest: str, size: int, by: str | None) -> None:
    today = datetime.now(UTC).date().isoformat()
    first_seen = today
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["sha256"] == digest:
                first_seen = str(before["first_seen"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not of use
    content: dict[str, Any] = {
        "name": entry.name,
        "url": entry.url,
        "sha256": digest,
        "bytes": size,
        "first_seen": first_seen,
        "agrees_with": by,
        "terms": entry.terms,
    }
    with atomic_file(path, overwrite=True) as partial:
        partial.write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def media_folders(folder: Path) -> dict[str, dict[str, int]]:
    """How many files of each kind each folder in ``folder`` holds itself; those with none are out.

    Keys are paths relative to ``folder``, ``.`` for itself.
    """
    found: dict[str, dict[str, int]] = {}
    for path in sorted(folder.rglob("*")):
        kind = kind_of(path)
        if kind is not None and path.is_file() and not path.name.startswith("."):
            name = path.parent.relative_to(folder).as_posix()
            counts = found.setdefault(name, dict.fromkeys(SUFFIXES, 0))
            counts[kind] += 1
    return found


def missing_partner(entry: PublicSet, into: Path) -> str | None:
    """The other set that training needs, where it is not in ``into`` yet."""
    for side in entry.pair or ():
        name = side.partition("/")[0]
        if name != entry.name and not (into / name).is_dir():
            return name
    return None


def train_command(entry: PublicSet, into: Path) -> str | None:
    """The command that trains on the set, as one types it; ``None`` where nothing says which."""
    folder = into / entry.name
    if entry.pair is not None:
        a, b = (into / side for side in entry.pair)
    elif (folder / "trainA").is_dir() and (folder / "trainB").is_dir():
        a = b = folder
    else:
        return None
    words = ["cyclegan-media", "train", entry.recipe or "cyclegan"]
    words += ["--data-a", str(a), "--data-b", str(b), "--out", f"runs/{entry.name}"]
    return shlex.join(words)
