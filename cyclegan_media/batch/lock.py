"""One batch at a time in a folder, by a lock that the system drops when its process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cyclegan_media.errors import UserError, from_os_error


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    if path.is_symlink():
        raise UserError(f"{path}: is a symbolic link where the lock should be; remove it")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{path.parent}: another batch is at work there; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise from_os_error(error, path, "locking the folder of outputs") from error
    try:
        yield
    finally:
        lock.release()
