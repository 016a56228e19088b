"""What every request to the page passes first: nothing is fetched from, or loaded from, elsewhere.

Gradio takes the address of a file for the file itself and fetches it, which would let a visitor
have this machine ask others. Here a URL where a file is expected is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_MOST_JSON = 1 << 20
"""Bytes of a request that is no upload."""
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PATHS = re.compile(r"/file[=/]\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
_CLOSED = re.compile(
    r"^/(gradio_api/)?(proxy=|process_recording|vibe-|undo-vibe|monitoring|run-history|runs|stream/"
    r"|component_server|deep_link|dev/)"
)
"""What Gradio can do beside what the page uses."""
_REFUSAL = "a URL is not taken where a file is expected; download it and choose the file"
_HEADERS = {
    # Gradio's page makes its scripts of text, and its players' media in memory.
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:;"
    " media-src 'self' data: blob:; style-src 'self' 'unsafe-inline';"
    " script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:;"
    " font-src 'self' data:; connect-src 'self' data: blob:; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """An ASGI application around another.

    Args:
        app: that which answers what is let through.
        uploaded: told of each file that was stored, before who sent it is.
    """

    def __init__(self, app: App, uploaded: Callable[[str], None]) -> None:
        self._app = app
        self._uploaded = uploaded

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _CLOSED.match(scope["path"]):
            await _refuse(send, 404, "there is nothing here")
            return
        if _PATHS.search(scope["path"]):
            await _refuse(send, 403, _REFUSAL)
            return
        headers = dict(scope["headers"])
        if scope["method"] == "POST" and b"json" in headers.get(b"content-type", b""):
            body = await _body(receive)
            if body is None:
                await _refuse(send, 413, "this request is too large")
                return
            if _names_url(body):
                await _refuse(send, 400, _REFUSAL)
                return
            receive = _again(body, receive)
        send = _with_headers(send)
        if scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            send = _overheard(send, self._uploaded)
        await self._app(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.encode(), text.encode()) for name, text in _HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sent


def _overheard(send: Send, uploaded: Callable[[str], None]) -> Send:
    """Tell of the paths in an answer, which is a JSON list of them."""
    body = b""

    async def sent(message: Message) -> None:
        nonlocal body
        if message["type"] == "http.response.body":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                with suppress(ValueError):
                    paths = json.loads(body)
                    for path in paths if isinstance(paths, list) else []:
                        uploaded(str(path))
        await send(message)

    return sent


async def _body(receive: Receive) -> bytes | None:
    """The whole body; ``None`` where it is longer than any request of the page's own."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST_JSON:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read, then what else comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _names_url(body: bytes) -> bool:
    """Whether a file that a request names is a URL."""
    try:
        left = [json.loads(body)]
    except (ValueError, RecursionError):
        return False  # it is refused behind here
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            path = item.get("path")
            if isinstance(path, str) and _URL.match(path):
                return True
            left += item.values()
    return False


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
