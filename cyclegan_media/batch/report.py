"""What became of a batch: ``report.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from cyclegan_media.batch.worklist import Row, WorkList
from cyclegan_media.files import atomic_file


@dataclass(frozen=True)
class Totals:
    """The files of a batch, by what became of them."""

    files: int
    done: int
    failed: int
    set_aside: int
    left: int
    frames: int
    """Of all files done, those of earlier runs included."""
    work_seconds: float
    """Sum over the files done."""
    run_seconds: float
    """Of this run alone, by the clock."""


def write_reports(folder: Path, work: WorkList, output: str, seconds: float) -> Totals:
    """Write both reports; each is complete or as it was before.

    Args:
        seconds: that this run took.

    Raises:
        UserError: one cannot be written.
        RunError: the disk is full.
    """
    totals = _totals(work, seconds)
    with (
        atomic_file(folder / "report.json", overwrite=True) as partial,
        open(partial, "w", encoding="utf-8") as file,
    ):
        file.writelines(_json(work, output, totals))
    with (
        atomic_file(folder / "report.html", overwrite=True) as partial,
        open(partial, "w", encoding="utf-8") as file,
    ):
        file.writelines(_html(work, output, totals))
    return totals


def summary(totals: Totals) -> list[str]:
    """The table that ends a batch, line by line."""
    rows = [("done", totals.done), ("failed", totals.failed), ("set aside", totals.set_aside)]
    rows += [("left to do", totals.left), ("files", totals.files)]
    lines = [f"  {name:<10} {count:>8}" for name, count in rows if count or name == "files"]
    if totals.frames:
        lines.append(f"  {'frames':<10} {totals.frames:>8}")
    return [*lines, f"  {'this run':<10} {_duration(totals.run_seconds):>8}"]


def _totals(work: WorkList, seconds: float) -> Totals:
    counts = work.counts()
    done = [(row.frames or 0, row.seconds or 0.0) for row in work.rows() if row.state == "done"]
    return Totals(
        files=sum(counts.values()),
        done=counts["done"],
        failed=counts["failed"],
        set_aside=counts["set aside"],
        left=counts["pending"] + counts["running"],
        frames=sum(frames for frames, _ in done),
        work_seconds=round(sum(spent for _, spent in done), 3),
        run_seconds=round(seconds, 3),
    )


def _json(work: WorkList, output: str, totals: Totals) -> Iterator[str]:
    """Piece by piece, since a batch may have very many files."""
    head = {"format": 1, "output": output, "written": _time(datetime.now(UTC).timestamp())}
    text = json.dumps({**head, "totals": asdict(totals), "files": []}, indent=1, ensure_ascii=False)
    before, after = text.rsplit("[]", 1)
    yield before + "["
    for k, row in enumerate(work.rows()):
        yield (",\n" if k else "\n") + json.dumps(_described(row), ensure_ascii=False)
    yield f"\n]{after}\n"


def _described(row: Row) -> dict[str, Any]:
    settings = json.loads(row.settings)
    return {
        "input": row.source,
        "output": row.target,
        "state": row.state,
        "reason": row.reason,
        "model": row.model,
        "direction": settings.pop("direction", "a2b"),
        "options": settings,
        "attempts": row.attempts,
        "frames": row.frames,
        "seconds": None if row.seconds is None else round(row.seconds, 3),
        "started": _time(row.started),
        "ended": _time(row.ended),
        "input_bytes": row.source_bytes,
        "notes": json.loads(row.notes) if row.notes else [],
        **({"traceback": row.trace} if row.trace else {}),
    }


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;
color:#1b1b1b;background:#fff}
table{border-collapse:collapse;margin:1rem 0}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;
vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}
.done{color:#0a6b2d}.failed,.aside{color:#a11212}.left{color:#6b5200}
.note{color:#555;font-size:.9em}
@media (prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}
th,td{border-color:#3a3a3a}.done{color:#6fce8d}.failed,.aside{color:#ff9a9a}.left{color:#e0c060}
.note{color:#aaa}}
"""
_CLASSES = {"done": "done", "failed": "failed", "set aside": "aside"}


def _html(work: WorkList, output: str, totals: Totals) -> Iterator[str]:
    bad = totals.failed + totals.set_aside
    said = [f"{totals.done} of {totals.files} files are done."]
    if bad:
        said.append(f"{bad} could not be translated.")
    if totals.left:
        said.append(f"{totals.left} are left to do: run the same command again.")
    counts = {
        "Files": totals.files,
        "Done": totals.done,
        "Failed": totals.failed,
        "Set aside": totals.set_aside,
        "Left to do": totals.left,
        "Frames": totals.frames,
        "Time of this run": _duration(totals.run_seconds),
        "Sum of the files' times": _duration(totals.work_seconds),
    }
    facts = "".join(
        f'<tr><th scope="row">{name}</th><td class="n">{value}</td></tr>'
        for name, value in counts.items()
    )
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Batch {escape(output)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Batch {escape(output)}</h1>
<p>{" ".join(said)}</p>
<table>{facts}</table>
"""
    if bad:
        yield "<h2>Not translated</h2>\n"
        yield from _table(row for row in work.rows() if row.state in ("failed", "set aside"))
    yield "<h2>All files</h2>\n"
    yield from _table(work.rows())
    yield "</body>\n</html>\n"


def _table(rows: Iterator[Row]) -> Iterator[str]:
    yield (
        '<table><thead><tr><th scope="col">Input</th><th scope="col">Output</th>'
        '<th scope="col">State</th><th scope="col" class="n">Frames</th>'
        '<th scope="col" class="n">Time</th></tr></thead><tbody>\n'
    )
    for row in rows:
        said = [row.reason] if row.reason else []
        said += json.loads(row.notes) if row.notes else []
        notes = "".join(f'<div class="note">{escape(text)}</div>' for text in said)
        attempts = f" ({row.attempts} attempts)" if row.attempts > 1 else ""
        yield (
            f"<tr><td>{escape(row.source)}</td><td>{escape(row.target)}</td>"
            f'<td><span class="{_CLASSES.get(row.state, "left")}">{row.state}</span>{attempts}'
            f'{notes}</td><td class="n">{"" if row.frames is None else row.frames}</td>'
            f'<td class="n">{"" if row.seconds is None else _duration(row.seconds)}</td></tr>\n'
        )
    yield "</tbody></table>\n"


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(rest):02d} s"
