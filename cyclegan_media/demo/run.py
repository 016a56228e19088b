"""The demonstration from end to end: make data, train, translate, measure, write the page."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cyclegan_media.demo.apart import Job, run_apart
from cyclegan_media.demo.page import Measure, RunFacts, build_page
from cyclegan_media.demo.picture_run import PicturePlan, picture_section
from cyclegan_media.demo.voice_run import VoicePlan, voice_section
from cyclegan_media.errors import UserError, from_os_error

PAGE = "index.html"
PARTS = ("picture", "voice")
_PICTURE, _VOICE = PicturePlan(), VoicePlan()


@dataclass(frozen=True)
class DemoResult:
    """Where the page is, and the numbers that stand on it."""

    page: Path
    measures: list[Measure]

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
    picture: PicturePlan | None = _PICTURE,
    voice: VoicePlan | None = _VOICE,
    overwrite: bool = False,
) -> DemoResult:
    """Run the demonstration into the folder ``out``; the page is ``out/index.html``.

    Both halves run at the same time. Equal machines give equal results.

    Args:
        picture, voice: the halves; ``None`` leaves one out.
        overwrite: replace what an earlier demonstration left in ``out``; nothing else is touched.

    Raises:
        UserError: ``out`` holds an earlier demonstration or cannot be written.
        RunError: a training failed or was interrupted, or the disk is full.
    """
    started = time.monotonic()
    out = Path(out)
    _make_room(out, overwrite)
    jobs: dict[str, Job] = {}
    if picture is not None:
        jobs["picture"] = (picture_section, (out / "picture", picture))
    if voice is not None:
        jobs["voice"] = (voice_section, (out / "voice", voice))
    sections = run_apart(jobs)
    page = build_page(
        out / PAGE,
        "Learned without pairs",
        sections.get("picture"),
        sections.get("voice"),
        RunFacts.here(time.monotonic() - started, Command="python -m cyclegan_media.demo"),
    )
    measures = [measure for section in sections.values() for measure in section.measures]
    return DemoResult(page, measures)


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
