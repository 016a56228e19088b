"""Shells complete command lines: a real shell is asked, as its user would by the tab key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan_media.cli import main

BASH = """
eval "$(cyclegan-media completion bash)"
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9
COMP_WORDS=($1); [[ "$1" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function_name=$(complete -p cyclegan-media | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function_name" cyclegan-media
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a command line, in ``folder``."""
    program = Path(sys.executable).parent
    if not (program / "cyclegan-media").exists() or shutil.which("bash") is None:
        pytest.skip("needs bash, and the command to be installed beside Python")
    result = subprocess.run(
        ["bash", "-c", BASH, "bash", line],
        env={**os.environ, "PATH": f"{program}{os.pathsep}{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [word.strip() for word in result.stdout.splitlines() if word.strip()]


def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    assert completed("cyclegan-media tr", tmp_path) == ["train", "translate"]
    assert completed("cyclegan-media translate --direc", tmp_path) == ["--direction"]
    assert completed("cyclegan-media translate --direction ", tmp_path) == ["a2b", "b2a"]


def test_bash_completes_recipes_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "mine.txt").write_text("no recipe\n")
    assert completed("cyclegan-media train maskc", tmp_path) == [
        "maskcyclegan_vc",
        "maskcyclegan_vc_small",
    ]
    assert completed("cyclegan-media train min", tmp_path) == ["mine.yaml"]
    assert completed("cyclegan-media info mine.t", tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_scripts(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "cyclegan-media" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", str(script)], check=True)
