"""The two kinds of failure that a user meets, each one clear sentence.

``UserError`` (exit code 2) is a mistake the user can mend: a missing file, an unknown key.
``RunError`` (exit code 1) is a run that failed: a full disk, a training that diverged.
Everything else is a bug and is allowed to show its traceback under ``--debug``.
"""

from __future__ import annotations

import errno
import os


class CycleganMediaError(Exception):
    """Base of every error this package raises on purpose; ``str(error)`` is one sentence."""

    exit_code = 1


class UserError(CycleganMediaError):
    """The input is wrong: names the file, key or tensor, and says what to do."""

    exit_code = 2


class RunError(CycleganMediaError):
    """The input was fine but the run could not finish: says where it stopped and why."""

    exit_code = 1


_LONGEST = 2000


def one_line(text: str) -> str:
    """``text`` as it may stand in a terminal: names and tags that files bring along can hold line
    breaks, commands to the terminal, or megabytes."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def from_os_error(error: OSError, path: str | os.PathLike[str], doing: str) -> CycleganMediaError:
    """Turn an ``OSError`` met while ``doing`` something with ``path`` into one clear sentence.

    A full disk or quota is a failed run; everything else (permissions, a missing folder) is for
    the user to mend.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path}: the disk is full while {doing}; free some space and run again")
    if error.errno == errno.EIO:
        return RunError(f"{path}: the disk reports an input/output error while {doing}")
    reason = error.strerror or str(error)
    return UserError(f"{path}: cannot go on {doing}: {reason[:1].lower()}{reason[1:]}")
