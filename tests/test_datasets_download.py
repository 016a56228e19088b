"""Public sets from a real server on this machine: recorded, unpacked, and ready to train."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Site, serve

from cyclegan_media.cli import build_parser, main
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.datasets.public import (
    CATALOGUE,
    Limits,
    PublicSet,
    Transfer,
    fetch,
    find_set,
    own_set,
    train_command,
)
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import load_recipe, shipped_recipes

LOCAL = Transfer(insecure_http=True, first_pause=0.01, timeout=20, retries=2)


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def a_set(**files: int) -> bytes:
    """A zip with folders of so many files that are called pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for folder, count in files.items():
            for number in range(count):
                file.writestr(f"x/{folder}/{number}.png", os.urandom(2000))
    return buffer.getvalue()


def test_a_set_is_recorded_and_later_downloads_must_agree(site: Site, tmp_path: Path) -> None:
    site.data = a_set(trainA=2, trainB=3)
    entry = own_set(site.url, "mine")
    first = fetch(entry, tmp_path, transfer=LOCAL)
    assert first.checked is None
    assert names(tmp_path) == ["mine", "mine.download.json"]
    assert names(tmp_path / "mine") == ["trainA", "trainB"]
    record = json.loads(first.record.read_text(encoding="utf-8"))
    assert (record["sha256"], record["url"]) == (first.sha256, site.url)
    assert record["bytes"] == len(site.data)
    with pytest.raises(UserError, match="mine: exists already; pass --overwrite"):
        fetch(entry, tmp_path, transfer=LOCAL)
    assert len(site.asked) == 1
    again = fetch(entry, tmp_path, transfer=LOCAL, overwrite=True)
    assert again.checked == f"that of {record['first_seen']}"
    site.data, site.etag = a_set(trainA=1, trainB=1), '"second"'
    with pytest.raises(UserError, match=r"compared with that of .*by --sha256"):
        fetch(entry, tmp_path, transfer=LOCAL, overwrite=True)
    assert len(names(tmp_path / "mine" / "trainB")) == 3
    assert json.loads(first.record.read_text(encoding="utf-8")) == {
        **record,
        "agrees_with": again.checked,
    }
    trusted = hashlib.sha256(site.data).hexdigest()
    fetch(entry, tmp_path, transfer=LOCAL, overwrite=True, sha256=trusted)
    assert len(names(tmp_path / "mine" / "trainB")) == 1


def test_a_catalogued_checksum_is_demanded(site: Site, tmp_path: Path) -> None:
    site.data = a_set(trainA=1)
    entry = PublicSet("known", "", "", site.url, sha256="0" * 64, checked_by="its authors")
    with pytest.raises(UserError, match="compared with the one that its authors publishes"):
        fetch(entry, tmp_path, transfer=LOCAL)
    assert names(tmp_path) == []


def test_an_address_need_not_end_in_the_name_of_an_archive(site: Site, tmp_path: Path) -> None:
    site.data = a_set(trainA=1)
    fetch(own_set(site.url.removesuffix(".zip")), tmp_path, transfer=LOCAL)
    assert names(tmp_path) == ["set", "set.download.json"]
    assert names(tmp_path / "set") == ["0.png"]  # no folder that holds nothing but one folder


def test_an_archive_brought_by_hand_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(a_set(trainA=1, trainB=1))
    fetch(own_set(site.url), tmp_path, transfer=LOCAL)
    assert site.asked == []
    assert names(tmp_path / "set") == ["trainA", "trainB"]


def test_a_refused_archive_stays_and_is_not_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.data = a_set(trainA=4)
    entry = own_set(site.url)
    with pytest.raises(UserError, match=r"set\.zip: holds more than 3 entries"):
        fetch(entry, tmp_path, transfer=LOCAL, limits=Limits(max_files=3))
    assert names(tmp_path) == ["set.download.json", "set.zip"]
    fetch(entry, tmp_path, transfer=LOCAL, keep_archive=True)
    assert len(site.asked) == 1
    assert names(tmp_path) == ["set", "set.download.json", "set.zip"]
    (tmp_path / "set.zip").write_bytes(b"another")
    with pytest.raises(UserError, match="lies there already, but its SHA-256 is"):
        fetch(entry, tmp_path, transfer=LOCAL, overwrite=True)


def test_ctrl_c_keeps_the_part(site: Site, tmp_path: Path) -> None:
    """A process that is interrupted in the middle, and another that goes on."""
    site.data, site.stall_after = a_set(trainA=100), 150_000
    arguments = ["download", "--url", site.url, "--insecure-http", "-o", str(tmp_path)]
    command = [sys.executable, "-m", "cyclegan_media.cli", *arguments]
    part = tmp_path / "set.zip.part"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 100_000):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == f"{part} keeps what has come; run again to go on\ninterrupted\n"
    assert names(tmp_path) == ["set.zip.part", "set.zip.part.json"]
    kept = part.stat().st_size
    assert main(["--quiet", *arguments]) == 0
    assert site.asked == [None, f"bytes={kept}-"]
    assert names(tmp_path) == ["set", "set.download.json"]


def test_the_command_says_what_came_and_how_to_train(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.data = a_set(trainA=2, trainB=3, testA=1, testB=1)
    monkeypatch.chdir(tmp_path)
    command = ["download", "--url", site.url, "--name", "mine", "-o", "data", "--insecure-http"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"sha256   {hashlib.sha256(site.data).hexdigest()}" in out
    assert "data/mine.download.json keeps it" in out
    assert "trainB: 3 pictures" in out
    (line,) = (line for line in out.splitlines() if line.startswith("  train "))
    words = shlex.split(line.removeprefix("  train    cyclegan-media "))
    told = build_parser().parse_args(words)
    assert load_recipe(told.recipe).name == "cyclegan"
    files = find_files(told.data_a, told.data_b, ("image",))
    found = (files.train_a, files.train_b, files.held_out_a, files.held_out_b)
    assert tuple(map(len, found)) == (2, 3, 1, 1)
    assert main([*command, "--json", "--overwrite"]) == 0
    (described,) = json.loads(capsys.readouterr().out)
    assert described["folders"]["trainA"]["image"] == 2
    assert shlex.split(described["train"])[1:] == words


def test_voices_come_with_the_folders_that_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archives laid out as CMU ARCTIC's, brought by hand."""
    monkeypatch.chdir(tmp_path)
    for speaker in ("bdl", "slt"):
        archive = Path(f"cmu_arctic_{speaker}.tar.bz2")
        with tarfile.open(archive, "w:bz2") as file:
            for name in ("wav/arctic_a0001.wav", "lab/arctic_a0001.lab", "COPYING"):
                file.addfile(tarfile.TarInfo(f"cmu_us_{speaker}_arctic/{name}"))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        with pytest.raises(UserError, match="the one that torchaudio publishes"):
            fetch(find_set(f"cmu_arctic_{speaker}"), Path())
        assert main(["download", f"cmu_arctic_{speaker}", "-o", ".", "--sha256", digest]) == 0
        out = capsys.readouterr().out
        assert "terms    free software without restriction" in out
        assert ("needs the set cmu_arctic_slt, too" in out) == (speaker == "bdl")
        assert names(Path(f"cmu_arctic_{speaker}")) == ["COPYING", "wav"]
    line = out.splitlines()[-1]
    told = build_parser().parse_args(shlex.split(line.removeprefix("  train    cyclegan-media ")))
    files = find_files(told.data_a, told.data_b, ("audio",))
    assert [path.parent.parent.name for path in (*files.train_a, *files.train_b)] == [
        "cmu_arctic_bdl",
        "cmu_arctic_slt",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "data"], "give the names of sets, or --url"),
        (["maps", "--url", "https://example.org/a.zip", "-o", "data"], "or --url"),
        (["maps"], "-o DIR is missing"),
        (["mapz", "-o", "data"], "mapz: no set is called so; there are horse2zebra,"),
        (["maps", "--name", "x", "-o", "data"], "--name goes with --url"),
        (["maps", "facades", "--sha256", "0" * 64, "-o", "d"], "--sha256 is of one set"),
        (["maps", "--sha256", "12", "-o", "data"], "is not a SHA-256"),
        (["cityscapes", "-o", "data"], "its terms forbid .* account at https://www.cityscapes"),
        (["--url", "https://example.org/", "-o", "data"], "give one by --name"),
        (["--url", "https://example.org/..%2f.zip", "-o", "data"], "give one by --name"),
    ],
)
def test_wrong_commands_are_one_line(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["download", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(says, error)
    assert names(tmp_path) == []


def test_the_list_names_every_set_with_its_terms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "--list"]) == 0
    out = capsys.readouterr().out
    assert main(["download", "--list", "--json"]) == 0
    told = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(told) == set(CATALOGUE)
    for name, entry in told.items():
        assert f"\n{name}" in f"\n{out}"
        assert entry["terms"] in out


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_is_consistent(name: str, tmp_path: Path) -> None:
    entry = find_set(name)
    assert entry.terms
    assert entry.what
    assert entry.recipe in shipped_recipes()
    if entry.url is None:
        assert entry.by_hand
        return
    assert entry.url.startswith("https://")
    assert entry.archive_name in (f"{name}.zip", f"{name}.tar.bz2")
    assert (entry.sha256 is None) == (not entry.checked_by)
    assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
    assert entry.bytes is None or entry.bytes < Transfer().max_bytes
    if load_recipe(entry.recipe).modality == "image":
        for side in ("trainA", "trainB"):
            (tmp_path / name / side).mkdir(parents=True)
    command = train_command(entry, tmp_path)
    assert command is not None
    build_parser().parse_args(shlex.split(command)[1:])
