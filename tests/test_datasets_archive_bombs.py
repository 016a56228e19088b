"""Archives that are damaged, encrypted, or far larger than they look, leave nothing anywhere."""

from __future__ import annotations

import bz2
import gzip
import struct
import tarfile
from pathlib import Path

import pytest
from archive_files import GOOD, KINDS, files_in, make_any, make_tar, make_zip, refused

from cyclegan_media.datasets.public import Limits, unpack
from cyclegan_media.errors import UserError


def test_encrypted_zips(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"secret.png": b"1"})
    data = bytearray(archive.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    archive.write_bytes(data)
    refused(archive, "its entry 'secret.png' is encrypted")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2"])
def test_bombs(kind: str, tmp_path: Path) -> None:
    archive = make_any(tmp_path, kind, {"a.bmp": bytes(30_000_000)})
    refused(archive, "more than 200 times its size, .*--max-ratio")
    refused(archive, "more than 20 MB; raise --max-unpacked", Limits(20_000_000, max_ratio=1e9))
    unpack(archive, tmp_path / "out", Limits(max_ratio=1e9))
    assert (tmp_path / "out" / "a.bmp").stat().st_size == 30_000_000


def test_a_bomb_in_headers(tmp_path: Path) -> None:
    """tarfile reads a long name into memory; this one has 20 MB in an archive of 20 kB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 20_000_000
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(20):
            file.write(b"x" * 1_000_000)
    refused(tmp_path / "a.tar.gz", "header that is far too long")


def test_a_bomb_after_the_end(tmp_path: Path) -> None:
    plain = make_tar(tmp_path / "a.tar", {"1.png": b"1"}).read_bytes()
    (tmp_path / "a.tar").unlink()
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(plain + bytes(50_000_000)))
    refused(tmp_path / "a.tar.bz2", "times its size")


def test_too_many_entries(tmp_path: Path) -> None:
    entries = {f"{number}.png": b"" for number in range(11)}
    archives = make_zip(tmp_path / "a.zip", entries), make_tar(tmp_path / "a.tar", entries)
    for archive in archives:
        refused(archive, "more than 10 entries; raise --max-files", Limits(max_files=10))
    for archive in archives:
        folder = unpack(archive, tmp_path / archive.suffix, Limits(max_files=11))
        assert len(files_in(folder)) == 11


def test_a_zip_whose_entry_is_longer_than_it_says(tmp_path: Path) -> None:
    """Declared 1 byte, packed 30 million."""
    archive = make_zip(tmp_path / "a.zip", {"a.bmp": bytes(30_000_000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace(struct.pack("<I", 30_000_000), struct.pack("<I", 1)))
    refused(archive, "damaged|not as long", Limits(max_ratio=1e9))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives(kind: str, tmp_path: Path) -> None:
    archive = make_any(tmp_path, kind, GOOD)
    whole = archive.read_bytes()
    for length in (0, 1, 100, 700, len(whole) // 2, len(whole) - 12_000):
        archive.write_bytes(whole[:length])
        refused(archive, "damaged|is not a zip|holds no files")
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 0xFF
    archive.write_bytes(spoiled)
    if kind != "tar":  # a plain tar has no checksum of its files
        refused(archive, "damaged")


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"1.png": b"1", "2.png": b"2", "3.png": b"3"})
    data = bytearray(archive.read_bytes())
    data[1024 + 150] ^= 0xFF  # in the checksum of the second header
    archive.write_bytes(data)
    refused(archive, "ends too early")


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(999)
    for content in (b"", b"<html>moved</html>", b"no " * 999, picture):
        (tmp_path / "a.zip").write_bytes(content)
        refused(tmp_path / "a.zip", "is not a zip, tar|damaged|holds no files")
    make_tar(tmp_path / "a.zip", GOOD, "w:xz")
    refused(tmp_path / "a.zip", "is not a zip, tar")
    with pytest.raises(UserError, match=r"none\.zip"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
