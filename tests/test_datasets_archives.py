"""Archives of strangers: sound ones become a folder, hostile names and links leave nothing."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from archive_files import GOOD, KINDS, files_in, make_any, make_tar, make_zip, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan_media.datasets.public import Limits, unpack
from cyclegan_media.datasets.public.writer import safe_parts
from cyclegan_media.errors import UserError


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
