"""Folders of the page's visitors: each has one that nobody else can name, gone when they go.

root/lock                held while the server lives; a root without holder is swept by the next
root/files/HASH/NAME     what a browser sent, as Gradio stores it
root/files/TOKEN/…       a session's folder
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cyclegan_media.errors import UserError

_PREFIX = "cyclegan-media-web-"
_TOKEN_BYTES = 24
_REMEMBERED = 1000
_TIDY_EVERY = 20.0
_ABANDONED = 60.0
"""Seconds without a change after which an upload in parts is taken for broken off."""
_UNUSED = 120.0
"""Seconds after which what was sent, and no session has used, is removed."""
_GRACE = 60.0
"""Seconds of silence after which a session ends whose page was closed before: what it had asked for
last may only have come to its turn then, or its connection was lost and has come back."""


class Session:
    """One open page: its folder, and what it is waiting for."""

    def __init__(self, folder: Path, max_idle: float) -> None:
        self.folder = folder
        self.max_idle = max_idle
        """Seconds of silence after which it is taken for gone."""
        self.uploads: set[Path] = set()
        self.shown: dict[Path, str] = {}
        """What the page shows of each, so that it is read for that only once."""
        self.cancel: Callable[[], None] | None = None
        """Ends the conversion that it waits for."""
        self.used = time.monotonic()

    def new_folder(self) -> Path:
        """An empty folder of its own, for one thing that is made."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder


class Sessions:
    """All sessions of a server.

    Args:
        parent: where the root is made; ``None`` for the system's folder of temporary files.
        max_idle: seconds after which a session is taken for gone that never said so.
    """

    def __init__(self, parent: Path | None = None, max_idle: float = 6 * 3600.0) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _sweep(parent)
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = FileLock(self.root / "lock")
        self._lock.acquire()
        self.files = self.root / "files"
        self.files.mkdir()
        self._max_idle = max_idle
        self._sessions: dict[str, Session] = {}
        self._closed: deque[str] = deque(maxlen=_REMEMBERED)
        self._users: Counter[Path] = Counter()
        # What was sent and no session has come for yet: equal files of two visitors are one file.
        self._expected: dict[Path, list[float]] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._tidying = threading.Thread(target=self._keep_tidy, daemon=True)
        self._tidying.start()

    def of(self, name: str | None) -> Session:
        """The session of that name, begun if it is new.

        Args:
            name: the page's own, a random number in its browser; ``None`` where a program asked
                without one.
        """
        with self._guard:
            name = name or secrets.token_hex(_TOKEN_BYTES)
            if name not in self._sessions:
                folder = self.files / secrets.token_hex(_TOKEN_BYTES)
                idle = _GRACE if name in self._closed else self._max_idle
                self._sessions[name] = Session(folder, idle)
            session = self._sessions[name]
            session.used = time.monotonic()
            return session

    def expect(self, upload: str) -> None:
        """Note that something was sent, for which a session will come."""
        with self._guard:
            self._expected.setdefault(Path(upload).resolve(), []).append(time.monotonic())

    def adopt(self, session: Session, upload: str) -> Path:
        """Note that a session uses what a browser sent; it is kept until none does any more.

        Raises:
            UserError: it is nothing that was sent, or is gone.
        """
        path = Path(upload).resolve()
        if self.files.resolve() not in path.parents or not path.is_file():
            raise UserError("this file is no longer here; choose it again")
        with self._guard:
            if path not in session.uploads:
                session.uploads.add(path)
                self._users[path] += 1
                expected = self._expected.get(path)
                if expected:
                    expected.pop(0)
        return path

    def end(self, name: str | None) -> None:
        """Stop what the session waits for, and remove all it has sent and got."""
        with self._guard:
            session = self._sessions.pop(name or "", None)
            if name is not None and name not in self._closed:
                self._closed.append(name)
        if session is None:
            return
        if session.cancel is not None:
            session.cancel()
        shutil.rmtree(session.folder, ignore_errors=True)
        with self._guard:
            for path in session.uploads:
                self._users[path] -= 1
                if self._users[path] <= 0:
                    del self._users[path]
                    if not self._expected.pop(path, None):
                        path.unlink(missing_ok=True)
                        with suppress(OSError):  # another file of the same content is in it
                            path.parent.rmdir()

    def _keep_tidy(self) -> None:
        while not self._closing.wait(_TIDY_EVERY):
            self.tidy()

    def tidy(self) -> None:
        """Remove what nobody will come back for: uploads that broke off, or that nobody used, and
        sessions that have not been heard of for long."""
        now = time.monotonic()
        with self._guard:
            # What it waits for may take long, and then it is heard of.
            idle = [
                name
                for name, session in self._sessions.items()
                if session.cancel is None and now - session.used > session.max_idle
            ]
        for name in idle:
            self.end(name)
        with self._guard:
            for path, times in list(self._expected.items()):
                self._expected[path] = [t for t in times if now - t < _UNUSED]
                if not self._expected[path]:
                    del self._expected[path]
            kept = {path.parent for path in (*self._users, *self._expected)}
            kept |= {session.folder for session in self._sessions.values()}
        for path in self.files.iterdir():
            with suppress(OSError):
                age = time.time() - path.lstat().st_mtime
                if path.is_dir() and path not in kept and age > _UNUSED:
                    shutil.rmtree(path, ignore_errors=True)
                elif path.is_file() and age > _ABANDONED:
                    path.unlink()

    def close(self) -> None:
        """End all sessions and remove the root."""
        self._closing.set()
        self._tidying.join()
        for name in list(self._sessions):
            self.end(name)
        self._lock.release()
        shutil.rmtree(self.root, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the roots of servers that were killed."""
    for root in parent.glob(f"{_PREFIX}*"):
        lock = root / "lock"
        if not lock.is_file():
            continue  # is being made at this moment
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(root, ignore_errors=True)
