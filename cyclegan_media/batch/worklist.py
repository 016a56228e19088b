"""The work list: what is to be done, is being done and was done, in SQLite beside the outputs.

Every change is one transaction, written through to the disk (WAL, ``synchronous=FULL``), before
what it announces begins: a file is ``running`` before its worker is told. So whatever is killed,
and whenever, the list knows which outputs may have been begun.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan_media.batch.plan import Planned
from cyclegan_media.errors import RunError, UserError

State = Literal["pending", "running", "done", "failed", "set aside"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed", "set aside")

_APPLICATION = 0x43474D42
"""Marks the file as a work list of this package ("CGMB")."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE files (
    number INTEGER PRIMARY KEY,
    target TEXT NOT NULL UNIQUE,
    position INTEGER,  -- in the present plan; NULL for what is no longer asked for
    source TEXT NOT NULL, model TEXT NOT NULL, settings TEXT NOT NULL,
    identity TEXT NOT NULL, place TEXT NOT NULL,
    source_bytes INTEGER, source_stamp TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'running', 'done', 'failed', 'set aside')),
    attempts INTEGER NOT NULL DEFAULT 0,  -- ever begun: the output is then this batch's own
    crashes INTEGER NOT NULL DEFAULT 0,   -- workers that died over it as it is now
    reason TEXT, notes TEXT, trace TEXT,
    started REAL, ended REAL,             -- seconds since 1970
    seconds REAL, frames INTEGER
) STRICT;
CREATE INDEX by_state ON files (state, position);
"""
_BY_PLAN = ("source", "model", "settings", "identity", "place", "source_bytes", "source_stamp")


@dataclass(frozen=True)
class Row:
    """One file of the batch; the fields are the table's columns."""

    number: int
    target: str
    position: int | None
    source: str
    model: str
    settings: str
    identity: str
    place: str
    source_bytes: int | None
    source_stamp: str
    state: State
    attempts: int
    crashes: int
    reason: str | None
    notes: str | None
    trace: str | None
    started: float | None
    ended: float | None
    seconds: float | None
    frames: int | None


class WorkList:
    """An open work list; use it in a ``with``.

    Raises:
        UserError: ``path`` is something else, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        for ending in ("", "-wal", "-shm", "-journal"):  # SQLite writes through them
            own = path.with_name(path.name + ending)
            if own.is_symlink():
                raise UserError(
                    f"{own}: is a symbolic link where the work list should be; remove it"
                )
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            self._open()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path}: is damaged, or no work list ({error}); remove it, and pass --overwrite"
            ) from error

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA trusted_schema=OFF")
        mark, version = (
            run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        is_new = run("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if not is_new and (mark, version) != (_APPLICATION, _VERSION):
            raise UserError(
                f"{self.path}: is no work list of this version; choose another folder, or remove it"
                " and pass --overwrite"
            )
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        if is_new:
            self._database.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id={_APPLICATION};"
                f" PRAGMA user_version={_VERSION}; COMMIT;"
            )

    def __enter__(self) -> WorkList:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def running(self) -> list[str]:
        """Targets that a batch which was killed may have left half-written."""
        return [row[0] for row in self._all("SELECT target FROM files WHERE state = 'running'")]

    def merge(
        self,
        plan: Sequence[Planned],
        exists: Callable[[str], bool],
        *,
        overwrite: bool = False,
        restart: bool = False,
        retry: bool = False,
    ) -> None:
        """Bring the list to what is asked for now; all of it, or nothing if that is refused.

        What is done stays done, unless its source has changed or its output is gone. What was
        running when the batch was killed is pending again.

        Args:
            exists: whether an output is there.

        Raises:
            UserError: an output that no batch here made exists and ``overwrite`` is false, or one
                was begun with other settings and ``restart`` is false.
        """
        self._run("BEGIN IMMEDIATE")
        try:
            self._run("UPDATE files SET position = NULL")
            for position, planned in enumerate(plan):
                self._merge(position, planned, exists, overwrite, restart, retry)
            self._run("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._run("ROLLBACK")
            raise

    def _merge(
        self,
        position: int,
        planned: Planned,
        exists: Callable[[str], bool],
        overwrite: bool,
        restart: bool,
        retry: bool,
    ) -> None:
        old = self._one("SELECT * FROM files WHERE target = ?", planned.target)
        there = exists(planned.target)
        if (old is None or old.attempts == 0) and there and not overwrite:
            raise UserError(
                f"{planned.where}: output {planned.target!r} exists already, and no batch here made"
                " it; pass --overwrite to replace it"
            )
        if old is None:
            self._run(
                "INSERT INTO files (target, source, model, settings, identity, place,"
                " source_stamp) VALUES (?, '', '', '', '', '', '')",
                planned.target,
            )
            anew = True
        else:
            if old.attempts and old.identity != planned.identity and not restart:
                raise UserError(_other_settings(old, planned))
            anew = (
                restart
                or old.attempts == 0
                or old.identity != planned.identity
                or old.source_stamp != planned.source_stamp
                or (old.state == "done" and not there)
                or (retry and old.state in ("failed", "set aside"))
            )
        values = [planned.source, planned.model, planned.settings, planned.identity]
        values += [planned.where, planned.source_bytes, planned.source_stamp]  # type: ignore[list-item]
        changes = ", ".join(f"{column} = ?" for column in _BY_PLAN)
        if anew:
            changes += ", state = 'pending', crashes = 0, reason = NULL, notes = NULL, trace = NULL"
        elif old is not None and old.state == "running":
            changes += ", state = 'pending'"
        self._run(
            f"UPDATE files SET position = ?, {changes} WHERE target = ?",
            position,
            *values,
            planned.target,
        )

    def pending(self) -> tuple[list[int], list[int]]:
        """Numbers of the files to do, those of one model together; and of those to do apart."""
        query = (
            "SELECT number FROM files WHERE state = 'pending' AND position IS NOT NULL"
            " AND crashes {} 0 ORDER BY model, position"
        )
        plain, apart = ([row[0] for row in self._all(query.format(sign))] for sign in ("=", ">"))
        return plain, apart

    def row(self, number: int) -> Row:
        """One file."""
        found = self._one("SELECT * FROM files WHERE number = ?", number)
        assert found is not None
        return found

    def rows(self) -> Iterator[Row]:
        """All files asked for, in their order."""
        query = "SELECT * FROM files WHERE position IS NOT NULL ORDER BY position"
        for found in self._run(query):
            yield Row(**found)

    def counts(self) -> dict[State, int]:
        """How many files of the present plan are in each state."""
        query = "SELECT state, count(*) FROM files WHERE position IS NOT NULL GROUP BY state"
        none: dict[State, int] = dict.fromkeys(STATES, 0)
        return {**none, **{state: count for state, count in self._all(query)}}  # noqa: C416

    def start(self, number: int) -> Row:
        """A worker is about to be told of the file."""
        self._run(
            "UPDATE files SET state = 'running', attempts = attempts + 1, started = ?, ended = NULL"
            " WHERE number = ?",
            time.time(),
            number,
        )
        return self.row(number)

    def done(self, number: int, seconds: float, frames: int | None, notes: Sequence[str]) -> None:
        """The output is complete."""
        self._end(number, "done", seconds, None, None, frames, notes)

    def failed(
        self, number: int, state: State, seconds: float, reason: str, trace: str | None = None
    ) -> None:
        """The file ended as ``failed`` or ``set aside``."""
        self._end(number, state, seconds, reason, trace, None, [])

    def again(self, number: int, *, crashed: str | None = None) -> None:
        """The file is to be done once more: its worker ``crashed`` over it, or it was stopped."""
        self._run(
            "UPDATE files SET state = 'pending', crashes = crashes + ?, reason = ?"
            " WHERE number = ?",
            int(crashed is not None),
            crashed,
            number,
        )

    def _end(
        self,
        number: int,
        state: State,
        seconds: float,
        reason: str | None,
        trace: str | None,
        frames: int | None,
        notes: Sequence[str],
    ) -> None:
        self._run(
            "UPDATE files SET state = ?, ended = ?, seconds = ?, reason = ?, trace = ?, frames = ?,"
            " notes = ? WHERE number = ?",
            *(state, time.time(), seconds, reason, trace, frames),
            json.dumps(list(notes), ensure_ascii=False) if notes else None,
            number,
        )

    def _run(self, query: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except sqlite3.OperationalError as error:
            raise RunError(f"{self.path}: cannot be written or read: {error}") from error

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._run(query, *values).fetchall()

    def _one(self, query: str, *values: Any) -> Row | None:
        found = self._run(query, *values).fetchone()
        return None if found is None else Row(**found)


def _other_settings(old: Row, planned: Planned) -> str:
    before, now = json.loads(old.identity), json.loads(planned.identity)
    name = next(key for key in sorted({*before, *now}) if before.get(key) != now.get(key))
    what = {
        "model": "another model, or other weights",
        "source": f"another input ({before.get('source')})",
    }.get(name, f"{name} {before.get(name, 'not given')}, not {now.get(name, 'not given')}")
    return (
        f"{planned.where}: output {planned.target!r} was begun with {what}; pass --restart to do"
        " such files anew, or choose another folder"
    )
