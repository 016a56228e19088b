"""Which addresses are opened, and where they may lead."""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urlsplit

from cyclegan_media.errors import UserError


def check_address(url: str, insecure_http: bool) -> None:
    """Refuse what is not an https address, or an http one where those are allowed.

    Raises:
        UserError: says why.
    """
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url}: is not an address: {error}") from error
    if not address.hostname or address.scheme not in ("https", "http"):
        raise UserError(f"{url}: is not an address that begins with https://")
    if address.scheme == "http" and not insecure_http:
        raise UserError(
            f"{url}: is not encrypted, so anyone on the way can change it; give an https address,"
            " or --insecure-http if you must"
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to https only; from http, if that was allowed, to http as well."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            check_address(newurl, insecure_http=req.type == "http")
        except UserError as error:
            raise UserError(f"{req.full_url}: leads elsewhere: {error}") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener(insecure_http: bool) -> urllib.request.OpenerDirector:
    """Opens https addresses, and http ones if allowed; urllib would take files and FTP, too."""
    director = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ]
    if insecure_http:
        handlers.append(urllib.request.HTTPHandler())
    for handler in handlers:
        director.add_handler(handler)
    return director
