"""What is installed is complete: declared dependencies, recipes, page assets, import layers."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cyclegan_media.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def canonical(requirement: str) -> str:
    """The package's name of a requirement, as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]).lower()


def imported_modules() -> Iterator[tuple[str, Path]]:
    """Top-level names of every import in the package, function bodies included."""
    for path in (ROOT / "cyclegan_media").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name.partition(".")[0], path
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0], path


_CALLED = {"c2pa": "c2pa-python"}
"""By module: the package that brings it, where it is not installed to say so."""


def test_every_import_is_of_a_declared_package() -> None:
    extras = PROJECT["optional-dependencies"]
    users = [line for name, lines in extras.items() if name != "test" for line in lines]
    declared = {canonical(line) for line in [*PROJECT["dependencies"], *users]}
    owners = packages_distributions()
    for module, path in imported_modules():
        if module == "cyclegan_media" or module in sys.stdlib_module_names:
            continue
        packages = {canonical(name) for name in owners.get(module, [_CALLED.get(module, module)])}
        assert packages & declared, f"{path.relative_to(ROOT)} imports {module}: not declared"


def test_every_requirement_is_pinned_where_tests_run() -> None:
    pinned = {
        canonical(line)
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert {canonical(line) for line in wanted} <= pinned


def test_the_commands_of_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\s*cyclegan-media (.*)$", readme, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        build_parser().parse_args(shlex.split(line, comments=True))  # exits if it is wrong
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make ([\w-]+)", readme, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_import_layers_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("Import Linter is not installed; `make lint` checks the layers")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def test_the_wheel_holds_recipes_and_page_assets_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    recipes = {path.name for path in (ROOT / "recipes").glob("*.yaml")}
    assert recipes
    assert {f"cyclegan_media/recipes/{name}" for name in recipes} <= names
    assert {"cyclegan_media/page/page.css", "cyclegan_media/page/page.js"} <= names
    assert "cyclegan_media/py.typed" in names  # its type hints serve who imports it
    assert any(name.endswith("licenses/LICENSE") for name in names)
    folders = {name.partition("/")[0] for name in names}
    assert {name.partition("-")[0] for name in folders} == {"cyclegan_media"}


def test_recipes_are_listed_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # what pip does with a pure wheel
    script = (
        "import cyclegan_media, sys; from cyclegan_media.cli import main;"
        "print(cyclegan_media.__file__); sys.exit(main(['recipes']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert recipe.stem in done.stdout
