"""The pages of the documentation: all are in the navigation, their links lead somewhere, and the
site builds without a warning and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
LEFT_OUT = {"results/notes.md"}
"""Parts of other pages."""


def pages(entry: Any) -> Iterator[str]:
    """Every page below an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(inner)


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and Python-Markdown make it of plain text."""
    text = re.sub(r"[^\w\s-]", "", heading.replace("`", "").strip().lower())
    return re.sub(r"\s+", "-", text)


def without_code(text: str) -> str:
    return re.sub(r"^(```+).*?^\1$|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


def test_the_navigation_has_every_page_once() -> None:
    listed = list(pages(CONFIG["nav"]))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(there - LEFT_OUT)


def test_links_between_pages_lead_somewhere() -> None:
    found = 0
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
            if link.startswith(("http://", "https://")):
                continue
            found += 1
            name, _, part = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.relative_to(ROOT)} links to {link}"
            if part:
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                assert part in {anchor(h) for h in headings}, f"{page.name} links to {link}"
    assert found > 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        if find_spec(package) is None:
            pytest.skip("the site needs the extra 'docs'; `make docs` installs and builds it")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_builds_strictly_and_documents_the_interface(site: Path) -> None:
    for page in pages(CONFIG["nav"]):
        assert (site / page).with_suffix(".html").is_file(), page
    for page, name in {
        "index": "cyclegan_media.load",
        "recipe": "cyclegan_media.recipe.schema.TrainerSection.batch_size",
        "translate": "cyclegan_media.translate.translator.Translator.translate",
        "core": "cyclegan_media.core.step.training_step",
        "media": "cyclegan_media.media.video.VideoReader",
        "batch": "cyclegan_media.batch.run.run_batch",
        "export": "cyclegan_media.export.folder.export_model",
    }.items():
        assert f'id="{name}"' in (site / "reference" / f"{page}.html").read_text("utf-8"), name
    commands = (site / "reference" / "commands.html").read_text("utf-8")
    assert "--steadiness BETA" in commands  # of translate's own help
    terms = (site / "reference" / "terms.html").read_text("utf-8")
    assert "In a recipe: <code>ssim_cycle</code>" in terms
    references = (site / "reference").glob("*.html")
    assert not any(re.search(r":(func|class|meth):`", p.read_text("utf-8")) for p in references)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(https?:|//)")
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text("utf-8")), page.relative_to(site)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:|//)", sheet.read_text("utf-8"))
