"""The Dockerfile: what it copies is there and enough to build from, and what it runs exists.

Whether an image builds and runs needs a Docker daemon; this holds what can go stale without one.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from doc_pages import ROOT, listings

from cyclegan_media.cli import build_parser

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [
    line
    for line in TEXT.replace("\\\n", " ").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
PAGE = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def arguments(instruction: str) -> list[str]:
    """What follows each ``instruction``."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.split()[0] == instruction]


def copied() -> list[str]:
    """What is copied from the folder of the repository."""
    lines = [line.split() for line in arguments("COPY") if "--from=" not in line]
    return [source for line in lines for source in line[:-1]]


def test_copied_files_exist_and_are_let_into_the_build() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore  # nothing that is not named, such as data and trainings, is sent
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source


def test_copied_files_are_all_that_the_package_is_built_from(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        else:
            shutil.copy(ROOT / source, tmp_path)
    (path,) = builder.WheelBuilder(str(tmp_path)).build(
        directory=str(tmp_path / "dist"), versions=["standard"]
    )
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    assert "cyclegan_media/recipes/cyclegan.yaml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_runs_the_command_of_the_package_as_no_administrator() -> None:
    (entry,) = arguments("ENTRYPOINT")
    assert re.fullmatch(r'\["([\w-]+)"\]', entry)
    assert entry.strip('[]"') in PROJECT["scripts"]
    user = arguments("USER")[-1].partition(":")[0]
    assert user not in ("root", "0")
    assert LINES.index(f"USER {arguments('USER')[-1]}") > max(
        i for i, line in enumerate(LINES) if line.startswith("FROM")
    )


def test_versions_are_pinned_wherever_something_is_installed() -> None:
    installs = [line for line in LINES if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)


def test_build_arguments_and_extras_of_the_page_exist() -> None:
    declared = {line.partition("=")[0] for line in arguments("ARG")}
    for name in re.findall(r"--build-arg (\w+)=", PAGE) + re.findall(r"^\| `(\w+)`", PAGE, re.M):
        assert name in declared, name
    (default,) = (line for line in arguments("ARG") if line.startswith("EXTRAS="))
    shown = re.findall(r"`([a-z0-9]+(?:,[a-z0-9]+)+)`", PAGE)
    for extras in [default.partition("=")[2], *shown]:
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), extras


def test_commands_of_the_page_are_taken() -> None:
    lines = [
        line
        for listing in listings(PAGE)
        for line in listing.replace("\\\n", " ").splitlines()
        if line.startswith("docker run")
    ]
    assert lines
    for line in lines:
        words = shlex.split(line)
        image = next(i for i, word in enumerate(words) if word.startswith("cyclegan-media"))
        build_parser().parse_args(words[image + 1 :])  # exits where it is wrong
