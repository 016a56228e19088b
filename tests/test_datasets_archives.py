"""Archives of strangers: sound ones become a folder, hostile ones leave nothing anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan_media.datasets.public import Limits, unpack
from cyclegan_media.datasets.public.writer import safe_parts
from cyclegan_media.errors import UserError

Entries = dict[str, bytes]

GOOD: Entries = {
    "set/trainA/1.jpg": b"first",
    "set/trainA/2.jpg": b"second",
    "set/trainB/1.jpg": os.urandom(300_000),
    "set/README": b"",
}


def make_zip(path: Path, entries: Entries) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def make_tar(path: Path, entries: Entries, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, data in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def files_in(folder: Path) -> Entries:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, says: str, limits: Limits | None = None) -> None:
    """It is refused in one line that names it, and leaves nothing, nor anything beside it."""
    before = files_in(archive.parent)
    with pytest.raises(UserError, match=says) as caught:
        unpack(archive, archive.parent / "out", limits)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_in(archive.parent) == before
    assert {path.name for path in archive.parent.iterdir()} == {
        name.partition("/")[0] for name in before
    }


def make_any(folder: Path, kind: str, entries: Entries) -> Path:
    path = folder / f"a.{kind}"
    if kind == "zip":
        return make_zip(path, entries)
    return make_tar(path, entries, f"w:{kind.partition('.')[2]}")


KINDS = ["zip", "tar", "tar.gz", "tar.bz2"]


@pytest.mark.parametrize("kind", KINDS)
def test_archives_become_folders_without_their_leading_one(kind: str, tmp_path: Path) -> None:
    archive = make_any(tmp_path, kind, GOOD)
    nameless = archive.rename(tmp_path / "download")  # what it is shows in its first bytes
    folder = unpack(nameless, tmp_path / "out")
    assert files_in(folder) == {name.removeprefix("set/"): data for name, data in GOOD.items()}


def test_old_tars_without_a_mark_are_known(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"x/1.png": b"1", "x/2.png": b"2"})
    data = bytearray(archive.read_bytes())
    for start in (0, 1024):
        data[start + 257 : start + 265] = bytes(8)
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    archive.write_bytes(data)
    assert files_in(unpack(archive, tmp_path / "out")) == {"1.png": b"1", "2.png": b"2"}


def test_what_tools_add_does_no_harm(tmp_path: Path) -> None:
    """Folders of their own, './', macOS's shadow tree, and folders that hold one folder only."""
    entries = {"./": b"", "./x/": b"", "./x/y/a.png": b"1", "x/y/b.png": b"2"}
    archive = make_zip(tmp_path / "a.zip", {**entries, "__MACOSX/x/y/._a.png": b"junk"})
    assert files_in(unpack(archive, tmp_path / "zip")) == {"a.png": b"1", "b.png": b"2"}
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in (".", "./x", "./x/y"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            file.addfile(member)
        file.addfile(tarfile.TarInfo("./x/y/a.png"))
    assert files_in(unpack(tmp_path / "a.tar", tmp_path / "tar")) == {"a.png": b""}


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("voice/wav/1.wav", "voice/lab/1.lab", "voice/COPYING"):
            file.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("voice/bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin"
        file.addfile(link)
    folder = unpack(archive, tmp_path / "out", only={"wav", "COPYING"})
    assert sorted(path.name for path in folder.rglob("*")) == ["1.wav", "COPYING", "wav"]


def test_a_folder_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.png": b"new"})
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.png").write_bytes(b"old")
    with pytest.raises(UserError, match="exists already; pass --overwrite"):
        unpack(archive, out)
    broken = make_zip(tmp_path / "b.zip", {"a.png": b"new", "../b.png": b""})
    with pytest.raises(UserError, match="leaves the folder"):
        unpack(broken, out, overwrite=True)
    assert files_in(out) == {"mine.png": b"old"}
    unpack(archive, out, overwrite=True)
    assert files_in(out) == {"a.png": b"new"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil", r"its entry '\.\./evil' leaves the folder by '\.\.'"),
        ("a/../../evil", "leaves the folder"),
        ("a/..", "leaves the folder"),
        ("/tmp/evil", "absolute path"),
        ("//server/evil", "absolute path"),
        ("C:/evil", "absolute path"),
        ("c:evil", "absolute path"),
        ("..\\evil", "backslash"),
        ("a\nb", "control characters"),
        ("x" * 256, "too long"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_would_leave_the_folder(name: str, says: str, kind: str, tmp_path: Path) -> None:
    entries = {"good/1.png": b"1", name: b"evil"}
    box = tmp_path / "deep" / "inside"
    box.mkdir(parents=True)
    refused(make_any(box, kind, entries), says)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["inside"]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_null_in_a_name_is_not_cut_off(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"1.png": b"", "a.pngX..": b""})
    archive.write_bytes(archive.read_bytes().replace(b"a.pngX..", b"a.png\0.."))
    refused(archive, "control characters")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"\udcff.png": b"1"})
    refused(archive, "not UTF-8")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
@pytest.mark.parametrize("target", ["1.png", "../../evil", "/etc/passwd"])
def test_links_and_devices_in_tars(kind: bytes, target: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("1.png"))
        member = tarfile.TarInfo("odd")
        member.type, member.linkname = kind, target
        file.addfile(member)
    refused(tmp_path / "a.tar", "its entry 'odd' is a link, a device")


def test_writing_through_a_link(tmp_path: Path) -> None:
    """A link first, then a file by way of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        file.addfile(link)
        file.addfile(tarfile.TarInfo("way/evil"))
    with pytest.raises(UserError, match="is a link"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", [0o120000, 0o020000, 0o010000, 0o140000])
def test_links_and_devices_in_zips(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        entry = zipfile.ZipInfo("odd")
        entry.external_attr = (kind | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    refused(tmp_path / "a.zip", "its entry 'odd' is a link or a device")


def test_sparse_files(tmp_path: Path) -> None:
    member = tarfile.TarInfo("holes")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 1_000_000  # its size once its holes are filled
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    refused(tmp_path / "a.tar", "sparse file", Limits(max_ratio=1e6))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("again", ["a/1.png", "./a//1.png"])
def test_two_entries_of_one_name(again: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a/1.png", b"1")
        file.writestr(again, b"2")
    refused(tmp_path / "a.zip", "occurs twice")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a/1.png"))
        tar.addfile(tarfile.TarInfo(again))
    refused(tmp_path / "a.tar", "occurs twice")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_name_that_is_both_file_and_folder(names: tuple[str, str], tmp_path: Path) -> None:
    refused(make_tar(tmp_path / "a.tar", dict.fromkeys(names, b"")), "both a file and|occurs twice")


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


@settings(deadline=None)
@given(name=st.text(st.characters() | st.sampled_from("./\\:\0C"), max_size=40))
def test_every_name_stays_in_the_folder_or_is_refused(name: str) -> None:
    parts = safe_parts(name)
    if isinstance(parts, tuple):
        folder = Path("/folder")
        inside = Path(os.path.normpath(folder.joinpath(*parts)))
        assert inside == folder or folder in inside.parents
        assert "/".join(parts) == "/".join(p for p in name.split("/") if p not in ("", "."))
    else:
        assert parts


@settings(deadline=None, max_examples=60)
@given(names=st.lists(st.text(st.sampled_from("ab./\\ :é"), min_size=1, max_size=8), max_size=5))
def test_no_archive_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    box = tmp_path_factory.mktemp("fuzz")
    deep = box / "1" / "2" / "3"
    deep.mkdir(parents=True)
    archive = make_tar(deep / "a.tar", {name: name.encode() for name in names})
    try:
        folder = unpack(archive, deep / "out")
    except UserError:
        assert sorted(box.rglob("*")) == [box / "1", box / "1/2", deep, archive]
    else:
        written = set(files_in(folder).values())
        assert written == {name.encode() for name in names}
        outside = {path for path in box.rglob("*") if folder not in [path, *path.parents]}
        assert outside == {box / "1", box / "1/2", deep, archive}
