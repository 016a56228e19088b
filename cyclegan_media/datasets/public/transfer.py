"""One file over HTTPS, however long the line holds: resumed, bounded and checked.

What has arrived lies in ``NAME.part``, with what the server said of it in ``NAME.part.json``. A
later call goes on from there (RFC 9110: Range with If-Range, so that a server whose file has
changed sends it whole), Ctrl-C, a lost connection or a crash notwithstanding.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cyclegan_media import __version__
from cyclegan_media.datasets.public.connection import check_address, opener
from cyclegan_media.datasets.public.part import Part, said_of
from cyclegan_media.errors import RunError, UserError, from_os_error

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 16
_LONGEST_PAUSE = 30.0
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Transfer:
    """How to download."""

    max_bytes: int = 4_000_000_000
    """A larger file is refused."""
    timeout: float = 60.0
    """Seconds without any data until the connection counts as lost."""
    retries: int = 5
    """Attempts in a row that bring nothing new, beyond the first, until giving up."""
    first_pause: float = 1.0
    """Seconds before the second attempt; each further pause is twice as long, up to 30."""
    insecure_http: bool = False
    """Take addresses without encryption, too."""


class ChecksumError(UserError):
    """The file is whole, but not the one that is wanted."""


def download(
    url: str,
    target: str | os.PathLike[str],
    transfer: Transfer | None = None,
    *,
    sha256: str | None = None,
    progress: bool = False,
) -> str:
    """Download ``url`` to ``target`` and return its SHA-256, as hexadecimal digits.

    ``target`` appears when the file is whole and, with ``sha256``, is the one that is wanted.

    Raises:
        UserError: an address that is not https, a file that is too large, absent or another one.
        RunError: the server cannot be reached or the disk is full; the part stays for another try.
    """
    target, transfer = Path(target), transfer or Transfer()
    check_address(url, transfer.insecure_http)
    part = Part(target, url)
    _Attempts(url, part, transfer, progress).run()
    digest = sha256_of(part.path)
    if sha256 is not None and digest != sha256.lower():
        part.remove()
        raise ChecksumError(
            f"{url}: is not the file that is wanted: its SHA-256 is {digest}, not {sha256.lower()};"
            " nothing was kept"
        )
    part.finish(target)
    return digest


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error


class _LostError(Exception):
    """The connection broke, or the server is overloaded: worth another try."""


class _Attempts:
    def __init__(self, url: str, part: Part, transfer: Transfer, progress: bool) -> None:
        self._url, self._part, self._transfer = url, part, transfer
        self._progress = progress
        self._open = opener(transfer.insecure_http)

    def run(self) -> None:
        """Attempt after attempt, until the part is the whole file."""
        try:
            self._run()
        except KeyboardInterrupt:
            _LOG.info("%s keeps what has come; run again to go on", self._part.path)
            raise

    def _run(self) -> None:
        fruitless, furthest = 0, self._part.size
        while not self._part.is_whole:
            try:
                with _local_errors(self._part.path):
                    self._attempt()
                return
            except _LostError as error:
                arrived = self._part.size
                fruitless = 0 if arrived > furthest else fruitless + 1
                furthest = max(furthest, arrived)
                if fruitless > self._transfer.retries:
                    raise RunError(
                        f"{self._url}: {error}; {arrived} bytes are kept, run again to go on"
                    ) from error
                reason = str(error)
            _LOG.info("%s; going on from byte %d", reason, self._part.size)
            pause = self._transfer.first_pause * 2 ** max(0, fruitless - 1)
            time.sleep(min(_LONGEST_PAUSE, pause))

    def _attempt(self) -> None:
        start = self._part.size
        headers = {"User-Agent": f"cyclegan_media/{__version__}", "Accept-Encoding": "identity"}
        if start and self._part.said.validator:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._part.said.validator}
        with self._answer(headers) as answer:
            if answer.status == 206:
                if not start or not self._continues(answer.headers, start):
                    self._part.remove()
                    raise _LostError("the server went on from another place or with another file")
            else:
                start = 0
                self._part.begin(said_of(self._url, answer.headers))
            self._check_room(start)
            self._receive(answer, start)

    def _answer(self, headers: dict[str, str]) -> Any:
        try:
            request = urllib.request.Request(self._url, headers=headers)
            return self._open.open(request, timeout=self._transfer.timeout)
        except urllib.error.HTTPError as error:
            with error:
                return self._no_file(error)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise UserError(
                    f"{self._url}: the server's certificate is not to be trusted:"
                    f" {error.reason.verify_message}"
                ) from error
            raise _LostError(f"the server cannot be reached ({error.reason})") from error
        except (http.client.InvalidURL, UnicodeError) as error:
            raise UserError(f"{self._url}: is not an address: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _LostError(f"the connection broke ({_reason(error)})") from error

    def _no_file(self, error: urllib.error.HTTPError) -> Any:
        if error.code == 416 and self._part.size:
            self._part.remove()
            raise _LostError("the file has become shorter") from error
        if error.code in _TRY_AGAIN:
            raise _LostError(f"the server answers {error.code} {error.reason}") from error
        raise UserError(
            f"{self._url}: the server answers {error.code} {error.reason}; check the address"
        ) from error

    def _continues(self, headers: Message, start: int) -> bool:
        """Whether an answer 206 goes on where the part ends, with the same file."""
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        said = self._part.said
        etag = headers.get("ETag")
        return (
            span is not None
            and int(span[1]) == start
            and (said.size is None or span[2] in ("*", str(said.size)))
            and (etag is None or said.etag is None or etag == said.etag)
        )

    def _check_room(self, start: int) -> None:
        size = self._part.said.size
        if size is None:
            return
        if size > self._transfer.max_bytes:
            self._too_large(f"{size} bytes")
        free = shutil.disk_usage(self._part.path.parent).free
        if size - start > free:
            raise RunError(
                f"{self._part.path}: the disk has {free} bytes left, but {size - start} are still"
                " to come; free some space and run again"
            )

    def _receive(self, answer: HTTPResponse, start: int) -> None:
        size, arrived = self._part.said.size, start
        bar = tqdm(
            total=size,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=self._part.path.name.removesuffix(".part"),
            disable=not self._progress,
        )
        with bar, open(self._part.path, "r+b") as file:
            file.seek(start)
            while data := _read(answer):
                arrived += len(data)
                if arrived > self._transfer.max_bytes:
                    self._too_large("more")
                file.write(data)
                bar.update(len(data))
        if size is not None and arrived != size:
            if arrived > size:
                self._part.remove()
            raise _LostError(f"{arrived} of {size} bytes came")

    def _too_large(self, size: str) -> None:
        self._part.remove()
        raise UserError(
            f"{self._url}: is too large: {size}, where {self._transfer.max_bytes} bytes are the"
            " limit; raise it with --max-bytes if that is right"
        )


def _read(answer: HTTPResponse) -> bytes:
    try:
        return answer.read1(_CHUNK)  # what is there: little is lost if the rest does not come
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(f"the connection broke ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    """What remains are errors of the disk."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, path, "downloading to it") from error
