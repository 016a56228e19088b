"""``cyclegan-media web``"""

from __future__ import annotations

import argparse
import ipaddress
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclegan_media.commands.options import add_device, add_parser, positive, quality

_EXAMPLES = """\
examples:
  cyclegan-media web --models models/
  cyclegan-media web --models runs/h2z models/anna2ben --runs runs/
  cyclegan-media web --models models/ --host 0.0.0.0 --accounts accounts.txt

Choose a model, drop a picture, clip or recording (or speak), compare, download. What visitors send
and get is in a folder of their own and is removed when they close the page, or the server ends.
The page answers only this machine unless --host says otherwise. Ctrl-C stops it.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "web",
        "serve a web page that converts files (needs the extra 'web')",
        _EXAMPLES,
        run,
    )
    parser.add_argument(
        "-m",
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="model folders, folders that hold such, or hf:user/model of the Hub",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="DIR",
        help="trainings to follow: what train makes by --out, or folders of such",
    )
    server = parser.add_argument_group("server")
    server.add_argument(
        "--host", default="127.0.0.1", help="address to answer at (default: this machine alone)"
    )
    server.add_argument(
        "--port",
        type=positive,
        metavar="N",
        help="(default: the first that is free from 7860 on)",
    )
    server.add_argument(
        "--accounts",
        metavar="FILE",
        help="let in only those whom this file lists: a line NAME:PASSWORD for each",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-megabytes",
        type=quality,
        default=500.0,
        metavar="N",
        help="of a file that is sent (default: 500)",
    )
    limits.add_argument(
        "--max-seconds",
        type=quality,
        default=600.0,
        metavar="S",
        help="of a clip or recording (default: 600)",
    )
    limits.add_argument(
        "--timeout",
        type=quality,
        default=3600.0,
        metavar="S",
        help="that a conversion may take (default: 3600)",
    )
    limits.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="conversions at once; others wait (default: 1)",
    )
    limits.add_argument(
        "--max-waiting",
        type=positive,
        default=50,
        metavar="N",
        help="conversions that may wait (default: 50)",
    )
    machine = parser.add_argument_group("machine")
    add_device(machine, "int8")


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.errors import UserError
    from cyclegan_media.web.server import serve
    from cyclegan_media.web.settings import WebSettings

    if not args.models and not args.runs:
        raise UserError("--models or --runs: name at least a model, or a training to follow")
    accounts = _accounts(args.accounts) if args.accounts is not None else ()
    if not accounts and not _is_loopback(args.host):
        import logging

        logging.getLogger("cyclegan_media").warning(
            "%s: everyone who reaches this machine can use the page; --accounts lets in only some",
            args.host,
        )
    settings = WebSettings(
        models=tuple(args.models),
        runs=tuple(map(Path, args.runs)),
        host=args.host,
        port=args.port,
        accounts=accounts,
        max_megabytes=args.max_megabytes,
        max_seconds=args.max_seconds,
        timeout=args.timeout,
        workers=args.workers,
        max_waiting=args.max_waiting,
        device=args.device,
        precision=args.precision,
    )
    with suppress(KeyboardInterrupt):  # the way to stop it
        serve(settings, ready=lambda address: print(f"the page is at {address}", flush=True))
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _accounts(name: str) -> tuple[tuple[str, str], ...]:
    """Names and passwords of a file."""
    from cyclegan_media.errors import UserError, from_os_error

    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not a text file with lines NAME:PASSWORD") from error
    except OSError as error:
        raise from_os_error(error, name, "reading the accounts") from error
    accounts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise UserError(f"{name}: line {number} is not NAME:PASSWORD")
        accounts.append((user, password))
    if not accounts:
        raise UserError(f"{name}: lists nobody; add a line NAME:PASSWORD")
    return tuple(accounts)
