"""What subcommands have in common."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and leaves room for the names of options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is a single line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def common_options() -> argparse.ArgumentParser:
    """Options that stand before or after the subcommand."""
    # SUPPRESS: the parser of the subcommand must not reset what stood before it.
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="only warnings and errors")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_parser(
    subparsers: Any,
    common: argparse.ArgumentParser,
    name: str,
    summary: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add the parser of the subcommand ``name``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        parents=[common],
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=Formatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_device(parser: argparse._ActionsContainer, *more: str) -> None:
    """Add ``--device`` and ``--precision``, which can also be what ``more`` names."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where to compute (default: auto, the fastest there is)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16", *more),
        default="auto",
        help="of the arithmetic (default: auto, what suits the device)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def show_progress(args: argparse.Namespace) -> bool:
    """Whether to draw progress bars: on a terminal, unless ``--quiet``."""
    return not args.quiet and sys.stderr.isatty()


def positive(text: str) -> int:
    """The type of an argument that is 1 or more."""
    return _at_least(text, 1)


def positive_or_auto(text: str) -> int | None:
    """The type of an argument that is 1 or more, or ``auto``, which is None."""
    return None if text == "auto" else _at_least(text, 1)


def natural(text: str) -> int:
    """The type of an argument that is 0 or more."""
    return _at_least(text, 0)


def tile(text: str) -> int | str:
    """The type of ``--tile``: ``auto``, ``off``, or the side of a tile in pixels."""
    if text in ("auto", "off"):
        return text
    try:
        return _at_least(text, 64)  # LEAST_TILE of translate/tiles.py, without loading torch
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto or off") from None


def _at_least(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return number


def quality(text: str) -> float:
    """The type of ``--crf`` and the like: a number that is 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def part(text: str) -> float:
    """The type of a number in 0…1."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number in 0…1")
    return number


def share(text: str) -> float:
    """The type of a number that is at least 0 and below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0 and below 1")
    return number


def print_json(content: Any) -> None:
    """Print plain data for programs."""
    print(json.dumps(content, indent=2, ensure_ascii=False))
