"""Unpack an archive from a stranger: into a folder that exists only when all of it was sound.

Zip, tar, tar.gz and tar.bz2 are told by their first bytes. Refused are names that would leave the
folder, links, devices, encrypted or damaged entries, two entries of one name (in the sense of the
file system: on some, ``A`` and ``a`` are one), and bombs: more bytes or files than the limits, or
far more bytes than the archive could honestly hold.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import secrets
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO, cast

from tqdm import tqdm

from cyclegan_media.datasets.public.writer import CHUNK, Limits, Writer
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.files import atomic_directory

_BLOCK = tarfile.BLOCKSIZE

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a method of compression that Python does not know
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    limits: Limits | None = None,
    *,
    only: Container[str] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Unpack ``archive`` into ``folder``, which is complete or, on any failure, as it was before.

    Leading folders that hold nothing but one folder are left out, so that
    ``horse2zebra/trainA/1.jpg`` becomes ``FOLDER/trainA/1.jpg``. Modes, owners and times of the
    archive are not taken over.

    Args:
        only: names; if any, only entries with one of them in their path are written.
        overwrite: replace a folder that is not empty.

    Raises:
        UserError: it is no archive, or is refused; names the archive, the entry and the reason.
        RunError: the disk is full.
    """
    archive, limits = Path(archive), limits or Limits()
    with atomic_directory(folder, overwrite=overwrite) as partial:
        # Of a name that no entry has, so that what is lifted out of it meets nothing.
        box = partial / f"unpacking-{secrets.token_hex(8)}"
        box.mkdir()
        writer = Writer(archive, box, limits, only)
        try:
            with tqdm(unit="file", desc=archive.name, disable=not progress) as bar:
                for _ in _entries(archive, writer):
                    bar.update()
        except _DAMAGED as error:
            raise writer.damaged(error) from error
        except OSError as error:
            if error.errno is None:  # gzip and bz2 say so of data that they cannot read
                raise writer.damaged(error) from error
            raise
        if not writer.written:
            raise UserError(f"{archive}: holds no files that are wanted")
        _lift(box, partial)
    return Path(folder)


def _entries(archive: Path, writer: Writer) -> Iterator[None]:
    """Write entry after entry."""
    try:
        with open(archive, "rb") as file:
            head = file.read(_BLOCK)
    except OSError as error:
        raise from_os_error(error, archive, "reading it") from error
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_entries(archive, writer)
    if head.startswith(b"\x1f\x8b"):
        return _tar_entries(cast(IO[bytes], gzip.open(archive)), writer)
    if head.startswith(b"BZh"):
        return _tar_entries(bz2.open(archive), writer)
    if _begins_tar(head):
        return _tar_entries(open(archive, "rb"), writer)
    raise UserError(f"{archive}: is not a zip, tar, tar.gz or tar.bz2 archive")


def _begins_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _zip_entries(archive: Path, writer: Writer) -> Iterator[None]:
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        writer.expect(len(entries), sum(entry.file_size for entry in entries))
        for entry in entries:
            # As it is stored: zipfile cuts a name at a null and turns Windows' separators.
            name = writer.admit(entry.orig_filename, entry.file_size)
            if entry.flag_bits & 0x1:
                writer.refuse("is encrypted")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                writer.refuse("is a link or a device")
            if entry.is_dir() or kind == stat.S_IFDIR:
                writer.make_folder(name)
            elif writer.wants(name):
                with file.open(entry) as source:
                    writer.write(name, source, entry.file_size)
            yield


def _tar_entries(stream: IO[bytes], writer: Writer) -> Iterator[None]:
    with stream:
        bounded = _Bounded(stream, writer)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as file:
            for member in file:
                name = writer.admit(member.name, member.size)
                if member.isdir():
                    writer.make_folder(name)
                elif writer.wants(name):
                    if not member.isreg() or member.issparse():
                        writer.refuse("is a link, a device or a sparse file")
                    _second_look(member, writer)
                    source = file.extractfile(member)
                    assert source is not None  # a regular file
                    writer.write(name, source, member.size)
                yield
        # tarfile takes a header that it cannot read for the end.
        if bounded.last != bytes(_BLOCK):
            raise tarfile.ReadError("it ends too early")
        while bounded.read(CHUNK):  # to the checksum of gzip or bzip2
            pass


def _second_look(member: tarfile.TarInfo, writer: Writer) -> None:
    """Python's own judgement (PEP 706), where it has one."""
    if hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member, str(writer.folder))
        except tarfile.FilterError as error:
            writer.refuse(f"is refused: {error}")


class _Bounded:
    """An unpacked tar as tarfile reads it, no further than the limits and in no piece too large."""

    def __init__(self, stream: IO[bytes], writer: Writer) -> None:
        self._stream, self._writer = stream, writer
        self.last = b""
        """What was read last."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= CHUNK:
            self._writer.refuse("has a header that is far too long")
        self.last = self._stream.read(size)
        self._writer.check_stream(self._stream.tell())
        return self.last

    def seek(self, place: int) -> int:
        self._writer.check_stream(place)
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()


def _lift(box: Path, target: Path) -> None:
    """Move what is in ``box`` to ``target``, without leading folders that hold one folder only."""
    inner = box
    while len(children := list(inner.iterdir())) == 1 and children[0].is_dir():
        inner = children[0]
    for child in children:
        child.rename(target / child.name)
    shutil.rmtree(box)
