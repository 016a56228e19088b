"""What the documentation tells people to type exists: commands, options, keys, scripts, names."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doc_pages import PAGES, ROOT, command_lines, fenced, inline

from cyclegan_media.cli import build_parser
from cyclegan_media.errors import UserError
from cyclegan_media.recipe import (
    ImageData,
    OptimiserSection,
    TrainerSection,
    VoiceData,
    load_recipe,
)

BY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
SECTIONS = {
    "data": (ImageData, VoiceData),
    "optimiser": (OptimiserSection,),
    "trainer": (TrainerSection,),
}
OTHER_PROGRAMS = {
    *(
        "--build-arg",
        "--entrypoint",
        "--gpus",
        "--rm",
        "--user",
        "--shm-size",
        "--volume",
        "--env",
    ),  # docker
    *("--nproc-per-node", "--no-python", "--constraint", "--strict"),  # torchrun, pip, mkdocs
}
"""Options that pages name and that are not this project's."""


def subcommands() -> dict[str, argparse.ArgumentParser]:
    return inner(build_parser())


def inner(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the subcommands of a parser."""
    return {
        name: choice
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, choice in action.choices.items()
    }


PLACEHOLDERS = {"HEX": "0" * 64}
"""What pages write for a value that has to look right."""


def words_of(line: str) -> list[str]:
    """The arguments of a command line, up to where a shell would end the command."""
    words = []
    for word in shlex.split(line, comments=True)[1:]:
        if word in ("|", "||", "&&", ">"):
            break
        words.append(PLACEHOLDERS.get(word, word.rstrip(";")))
        if word.endswith(";"):
            break
    return words


def wrong_in(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the program would say against a command line; "" where it would take it."""
    try:
        arguments = build_parser().parse_args(words_of(line))
        recipe = getattr(arguments, "recipe", None)
        if isinstance(recipe, str) and not recipe.endswith((".yaml", ".yml")):
            load_recipe(recipe, getattr(arguments, "overrides", None) or ())
    except UserError as error:
        return str(error)
    except SystemExit as stop:
        return capsys.readouterr().err if stop.code else ""  # --help ends with 0
    return ""


@BY_PAGE
def test_commands_are_taken(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in command_lines(page.read_text(encoding="utf-8"), "cyclegan-media"):
        assert not wrong_in(line, capsys), line


@BY_PAGE
def test_commands_in_the_running_text_exist(page: Path) -> None:
    known = subcommands()
    for text in inline(page.read_text(encoding="utf-8")):
        words = text.split()
        if words[0] == "cyclegan-media" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in known, text
            words = words[1:]
        if words[0] in known:
            options = known[words[0]]._option_string_actions
            asked = [w.partition("=")[0] for w in words if re.match("--[a-z]", w)]
            assert set(asked) <= set(options), text


@BY_PAGE
def test_options_in_the_running_text_exist(page: Path) -> None:
    known = set(OTHER_PROGRAMS)
    for parser in (build_parser(), *subcommands().values()):
        for command in (parser, *inner(parser).values()):
            known |= set(command._option_string_actions)
    sources = [*(ROOT / "scripts").glob("*.py"), ROOT / "cyclegan_media" / "demo" / "__main__.py"]
    for source in sources:
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', source.read_text(encoding="utf-8")))
    for text in inline(page.read_text(encoding="utf-8")):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text):
            assert option in known, text


@BY_PAGE
def test_keys_of_recipes_exist(page: Path) -> None:
    for text in inline(page.read_text(encoding="utf-8")):
        for section, key in re.findall(r"\b(data|optimiser|trainer)\.(?!py\b)(\w+)", text):
            assert any(key in model.model_fields for model in SECTIONS[section]), text


@BY_PAGE
def test_scripts_targets_and_variables_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in [*command_lines(text, "python"), *inline(text)]:
        found = re.match(r"(?:python )?(scripts/\w+\.py)(.*)", line)
        if found:
            source = (ROOT / found[1]).read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z][\w-]*", found[2]):
                assert f'"{option}"' in source, line
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in [*command_lines(text, "make"), *inline(text)]:
        for target in re.findall(r"^make ([a-z][\w-]*)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
    code = "\n".join(p.read_text("utf-8") for p in (ROOT / "cyclegan_media").rglob("*.py"))
    for name in re.findall(r"\bCYCLEGAN_MEDIA_\w+", text):
        assert name in code, name


def imported(tree: ast.AST) -> list[tuple[str, str | None]]:
    names: list[tuple[str, str | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [(alias.name, None) for alias in node.names]
    return [name for name in names if name[0].partition(".")[0] == "cyclegan_media"]


@BY_PAGE
def test_python_examples_name_what_there_is(page: Path) -> None:
    for block in fenced(page.read_text(encoding="utf-8")):
        if block.language != "python":
            continue
        for module, name in imported(ast.parse(block.text)):
            found: Any = import_module(module)
            assert name is None or hasattr(found, name), f"{page.name}: {module}.{name}"


def test_what_was_renamed_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The check itself: it takes what there is and refuses what there is not."""
    good = "cyclegan-media translate a.mp4 -m runs/x -o b.mp4 --steady; echo done"
    assert not wrong_in(good, capsys)
    assert "--steadily" in wrong_in(good.replace("--steady", "--steadily"), capsys)
    training = "cyclegan-media train cyclegan_small --data-a a --data-b b --out c"
    assert not wrong_in(f"{training} --set trainer.steps=4", capsys)
    assert "trainer.stepz" in wrong_in(f"{training} --set trainer.stepz=4", capsys)


def test_pages_are_read_as_they_are_written() -> None:
    """Commands are found in fenced and in indented blocks, joined where they continue."""
    indented = "    cyclegan-media b \\\n        -c\n"
    page = f"`cyclegan-media a`\n\n{indented}\n```sh\n$ cyclegan-media d\n```\n"
    lines = [" ".join(line.split()) for line in command_lines(page, "cyclegan-media")]
    assert lines == ["cyclegan-media d", "cyclegan-media b -c"]
    assert list(inline(page)) == ["cyclegan-media a"]


def messages() -> list[str]:
    """The texts in the package, with ``…`` for what is filled in, and bits of a line joined."""
    texts = []
    for path in (ROOT / "cyclegan_media").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_that_are_quoted_are_those_of_the_program() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^> (.*)$", page, re.MULTILINE)
    assert len(quoted) > 10
    known = messages()
    for message in quoted:
        assert any(message in text for text in known), message
