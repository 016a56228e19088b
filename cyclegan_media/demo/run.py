"""The demonstration from end to end: make data, train, translate, measure, write the page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cyclegan_media.demo.page import Measure, PictureSection, RunFacts, VoiceSection, build_page
from cyclegan_media.errors import UserError, from_os_error

PAGE = "index.html"
PARTS = ("picture", "voice")


@dataclass(frozen=True)
class DemoResult:
    """Where the page is, and the numbers that stand on it."""

    page: Path
    measures: list[Measure]
    seconds: float

    @property
    def shortfalls(self) -> list[str]:
        """The measures on which a model does not clearly beat its unconverted input."""
        return [
            f"{measure.name}: {measure.verdict}"
            for measure in self.measures
            if measure.verdict != "clear gain"
        ]


def run_demo(
    out: str | Path,
    *,
    parts: Sequence[str] = PARTS,
    overwrite: bool = False,
    picture_overrides: Sequence[str] = (),
    voice_overrides: Sequence[str] = (),
) -> DemoResult:
    """Run the demonstration into the folder ``out``; the page is ``out/index.html``.

    Args:
        parts: ``picture``, ``voice`` or both.
        overwrite: replace what an earlier demonstration left in ``out``; nothing else is touched.
        picture_overrides, voice_overrides: of the recipes ``demo_image`` and ``demo_voice``, as
            :func:`cyclegan_media.recipe.load_recipe` takes them.

    Raises:
        UserError: ``out`` holds an earlier demonstration or cannot be written.
        RunError: a training failed or was interrupted, or the disk is full.
    """
    started = time.monotonic()
    out = Path(out)
    _make_room(out, overwrite)

    def say(message: str) -> None:
        tqdm.write(f"[{time.monotonic() - started:4.0f} s] {message}")

    picture: PictureSection | None = None
    voice: VoiceSection | None = None
    if "picture" in parts:
        from cyclegan_media.demo.picture_run import picture_section

        picture = picture_section(out / "picture", picture_overrides, say)
    if "voice" in parts:
        from cyclegan_media.demo.voice_run import voice_section

        voice = voice_section(out / "voice", voice_overrides, say)
    say("writing the page")
    seconds = time.monotonic() - started
    page = build_page(
        out / PAGE,
        "Learned without pairs",
        picture,
        voice,
        RunFacts.here(seconds, Command="python -m cyclegan_media.demo"),
    )
    sections = [section for section in (picture, voice) if section is not None]
    measures = [measure for section in sections for measure in section.measures]
    return DemoResult(page, measures, time.monotonic() - started)


def _make_room(out: Path, overwrite: bool) -> None:
    """Make ``out``, without what an earlier demonstration left in it."""
    earlier = [out / name for name in (PAGE, *PARTS) if (out / name).exists()]
    if earlier and not overwrite:
        raise UserError(f"{earlier[0]}: exists already; pass --overwrite, or choose another --out")
    try:
        for path in earlier:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, out, "making room for the demonstration") from error
