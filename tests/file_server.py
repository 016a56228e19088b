"""A real server of one file, that breaks off, fails, changes and redirects as a test asks."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = os.urandom(300_000)


@dataclass
class Site:
    """What the server does. Each request is noted with its Range, None where there is none."""

    url: str = ""
    data: bytes = DATA
    etag: str | None = '"first"'
    modified: str | None = None
    drop_after: list[int] = field(default_factory=list)
    """The next answers break off after so many bytes of their body."""
    stall_after: int | None = None
    """The next answer stops after so many bytes, without an end, until ``released``."""
    released: threading.Event = field(default_factory=threading.Event)
    failures: list[int] = field(default_factory=list)
    """The next answers are these status codes."""
    ranges: bool = True
    length: bool = True
    wrong_start: bool = False
    redirect: str | None = None
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.asked.append(wanted)
        if site.failures:
            return self.send_error(site.failures.pop(0))
        if site.redirect and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", site.redirect)
            return self.end_headers()
        same = self.headers.get("If-Range") in (site.etag, site.modified)
        start = int(wanted[6:-1]) if wanted and site.ranges and same else 0
        if start >= len(site.data) and start:
            return self.send_error(416)
        body = site.data[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start + 7 if site.wrong_start else start
            last = len(site.data) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(site.data)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.modified:
            self.send_header("Last-Modified", site.modified)
        if site.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: site.drop_after.pop(0)] if site.drop_after else body
        if site.stall_after is not None:
            sent, site.stall_after = body[: site.stall_after], None
            self.wfile.write(sent)
            site.released.wait(60)
        else:
            self.wfile.write(sent)
        return None


def serve(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    """A server on this machine as long as one iterates, with TLS if there is a ``context``."""
    site = Site()
    handler = type("Bound", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    host = "127.0.0.1" if context is None else "localhost"
    site.url = f"{scheme}://{host}:{server.server_port}/set.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
