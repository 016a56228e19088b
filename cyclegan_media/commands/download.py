"""``cyclegan-media download``"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands.options import (
    add_json,
    add_parser,
    natural,
    positive,
    print_json,
    show_progress,
)

if TYPE_CHECKING:
    from cyclegan_media.datasets.public import Fetched, PublicSet

_EXAMPLES = """\
examples:
  cyclegan-media download --list
  cyclegan-media download horse2zebra -o data
  cyclegan-media download cmu_arctic_bdl cmu_arctic_slt -o data
  cyclegan-media download --url https://example.org/cats2dogs.zip --sha256 HEX -o data

Ctrl-C or a lost connection costs nothing: the same command goes on where it stopped.
The sets belong to their publishers, whose terms are printed.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "download", "download a public set and unpack it safely", _EXAMPLES, run
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a set; --list shows which")
    parser.add_argument("--list", action="store_true", help="list the sets and stop")
    parser.add_argument("-o", "--output", metavar="DIR", help="where the sets' folders go")
    own = parser.add_argument_group("a set of your own")
    own.add_argument("--url", help="the address of an archive: zip, tar, tar.gz or tar.bz2")
    own.add_argument("--name", dest="own_name", help="what to call its folder")
    own.add_argument(
        "--sha256", metavar="HEX", type=_sha256, help="the checksum that the archive must have"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a folder that is there already"
    )
    parser.add_argument(
        "--keep-archive", action="store_true", help="keep the archive beside the folder"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-bytes", type=positive, metavar="N", help="of an archive (default: 4000000000)"
    )
    limits.add_argument(
        "--max-unpacked", type=positive, metavar="N", help="bytes unpacked (default: 20000000000)"
    )
    limits.add_argument(
        "--max-files", type=positive, metavar="N", help="entries of an archive (default: 200000)"
    )
    limits.add_argument(
        "--max-ratio", type=positive, metavar="N", help="unpacked to packed (default: 200)"
    )
    limits.add_argument(
        "--timeout", type=positive, metavar="S", help="seconds without data (default: 60)"
    )
    limits.add_argument(
        "--retries", type=natural, metavar="N", help="attempts that bring nothing (default: 5)"
    )
    limits.add_argument(
        "--insecure-http", action="store_true", help="take addresses without encryption, too"
    )
    add_json(parser)


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256: 64 hexadecimal digits")
    return text.lower()


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.datasets.public import CATALOGUE, fetch

    if args.list:
        _list(list(CATALOGUE.values()), args.json)
        return 0
    entries = _entries(args)
    into, done = Path(args.output), []
    for entry in entries:
        if not args.quiet and not args.json:
            print(f"{entry.name}: {entry.what}\n  terms    {entry.terms}", flush=True)
        fetched = fetch(
            entry,
            into,
            sha256=args.sha256,
            overwrite=args.overwrite,
            keep_archive=args.keep_archive,
            transfer=_transfer(args),
            limits=_limits(args),
            progress=show_progress(args),
        )
        done.append(_description(entry, fetched, into))
        if not args.quiet and not args.json:
            print("\n".join(_lines(done[-1])), flush=True)
    if args.json:
        print_json(done)
    return 0


def _entries(args: argparse.Namespace) -> list[PublicSet]:
    from cyclegan_media.datasets.public import find_set, own_set
    from cyclegan_media.errors import UserError

    if bool(args.names) == bool(args.url):
        raise UserError("download: give the names of sets, or --url; --list shows the sets")
    if args.output is None:
        raise UserError("download: -o DIR is missing: where the sets' folders go")
    if args.own_name and not args.url:
        raise UserError("download: --name goes with --url")
    if args.sha256 and len(args.names) > 1:
        raise UserError("download: --sha256 is of one set; download them one by one")
    if args.url:
        return [own_set(args.url, args.own_name)]
    return [find_set(name) for name in args.names]


def _given(**settings: Any) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _transfer(args: argparse.Namespace) -> Any:
    from cyclegan_media.datasets.public import Transfer

    return Transfer(
        insecure_http=args.insecure_http,
        **_given(max_bytes=args.max_bytes, timeout=args.timeout, retries=args.retries),
    )


def _limits(args: argparse.Namespace) -> Any:
    from cyclegan_media.datasets.public import Limits

    return Limits(
        **_given(max_bytes=args.max_unpacked, max_files=args.max_files, max_ratio=args.max_ratio)
    )


def _list(entries: list[PublicSet], as_json: bool) -> None:
    if as_json:
        keys = (
            "name",
            "what",
            "terms",
            "url",
            "sha256",
            "bytes",
            "checked_by",
            "recipe",
            "by_hand",
        )
        print_json([{key: getattr(entry, key) for key in keys} for entry in entries])
        return
    for entry in entries:
        size = f" ({entry.bytes / 1e6:.0f} MB)" if entry.bytes else ""
        print(f"{entry.name}{size}: {entry.what}")
        print(f"  terms    {entry.terms}")
        if entry.url is None:
            print(f"  by hand  {entry.by_hand}")
        print(f"  recipe   {entry.recipe}")


def _description(entry: PublicSet, fetched: Fetched, into: Path) -> dict[str, Any]:
    from cyclegan_media.datasets.public import media_folders, missing_partner, train_command

    return {
        "name": entry.name,
        "terms": entry.terms,
        "sha256": fetched.sha256,
        "agrees_with": fetched.checked,
        "record": str(fetched.record),
        "folder": str(fetched.folder),
        "folders": media_folders(fetched.folder),
        "needs": missing_partner(entry, into),
        "train": train_command(entry, into),
    }


def _lines(d: dict[str, Any]) -> list[str]:
    known = d["agrees_with"]
    check = (
        f"agrees with {known}"
        if known
        else f"seen for the first time; {d['record']} keeps it, and later downloads must agree"
    )
    lines = [f"  sha256   {d['sha256']}", f"           {check}", f"  folder   {d['folder']}"]
    words = {"image": "pictures", "video": "videos", "audio": "recordings"}
    for folder, counts in d["folders"].items():
        held = ", ".join(f"{count} {words[kind]}" for kind, count in counts.items() if count)
        lines.append(f"           {folder}: {held}")
    if d["train"]:
        lines.append(f"  train    {d['train']}")
    if d["needs"]:
        lines.append(f"           which needs the set {d['needs']}, too")
    return lines
