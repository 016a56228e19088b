"""The tutorials do what they say: their commands run, print what stands there, and leave the files.

A block that a page marks as slow (a training that learns something) runs in the slow tests alone,
and what other pages need of it is made by the quick ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT, Block, fenced

TUTORIALS = ROOT / "docs" / "tutorials"


def matches(printed: str, shown: str) -> bool:
    """Whether ``shown`` is what was printed; ``…`` in it stands for any text within a line."""
    pattern = "\n".join(
        ".+".join(map(re.escape, line.rstrip().split("…"))) for line in shown.strip().splitlines()
    )
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, lines) is not None


def environment(folder: Path) -> dict[str, str]:
    """That of a terminal in which this package is installed."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    for name, module in (("python", ""), ("cyclegan-media", "-m cyclegan_media.cli")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }


def follow(page: str, folder: Path, *, slow: bool = False) -> None:
    """Do in ``folder`` what a tutorial says: write its files, run its commands, compare outputs."""
    blocks = list(fenced((TUTORIALS / page).read_text(encoding="utf-8")))
    ran = 0
    printed: tuple[Block, str] | None = None
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            printed = None
            if block.mark == "slow" and not slow:
                continue
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", block.text],
                cwd=folder,
                env=environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{page}, line {block.line}:\n{done.stdout}"
            printed = block, done.stdout
            ran += 1
        elif block.language == "text" and printed:
            command, output = printed
            assert matches(output, block.text), f"{page}, line {command.line}, printed:\n{output}"
            printed = None
    assert ran >= 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one reader follows one tutorial after the other."""
    return tmp_path_factory.mktemp("tutorials")


def test_tutorial_clip(folder: Path) -> None:
    follow("clip.md", folder)


def test_tutorial_batch_goes_on_from_clip(folder: Path) -> None:
    if not (folder / "runs" / "rehearsal").exists():
        pytest.skip("goes on from the tutorial on clips, which has not run")
    follow("batch.md", folder)


def test_tutorial_voice(tmp_path: Path) -> None:
    follow("voice.md", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["clip.md", "voice.md"])
def test_tutorials_with_their_trainings(page: str, tmp_path: Path) -> None:
    follow(page, tmp_path, slow=True)


def test_outputs_are_compared_line_by_line() -> None:
    """The comparison itself."""
    assert matches("a 12 b\nc\n", "a … b\nc")
    assert matches("3 files (all)  \n", "3 files (all)")
    assert not matches("a 12 b\nc\nd\n", "a … b\nc")
    assert not matches("a b\n12\nc", "a … c")
    assert not matches("a  b", "a b")
