"""The command line: parse, call, show. Each subcommand is a module of ``commands``.

Exit codes: 0 done; 1 the run failed; 2 the input is wrong; 3 some files of a batch failed; 130
interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cyclegan_media.commands import (
    batch,
    combine,
    completion,
    distill,
    download,
    evaluate,
    export,
    faces,
    import_,
    info,
    prepare,
    push,
    recipes,
    train,
    translate,
    web,
)
from cyclegan_media.commands.options import Formatter, Parser, common_options
from cyclegan_media.errors import CycleganMediaError, RunError, one_line

_DESCRIPTION = "Video and audio domain transfer, learned from unpaired examples."

_EXAMPLES = """\
examples:
  cyclegan-media recipes
  cyclegan-media train cyclegan --data-a horses/ --data-b zebras/ --out runs/h2z
  cyclegan-media translate horses.mp4 -m runs/h2z -o zebras.mp4

`cyclegan-media COMMAND --help` has more on each command.
"""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_SPINS = "1000"
"""Turns that a thread of OpenMP waits for the others before it sleeps."""


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import cyclegan_media

        print(f"cyclegan-media {cyclegan_media.__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    common = common_options()
    parser = Parser(
        prog="cyclegan-media",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=Formatter,
        parents=[common],
    )
    parser.add_argument(
        "-V", "--version", action=_Version, nargs=0, help="print the version and stop"
    )
    subparsers = parser.add_subparsers(
        metavar="COMMAND", required=True, parser_class=Parser, title="commands"
    )
    making = (train, translate, evaluate, distill, batch)
    for command in (
        *making,
        prepare,
        download,
        combine,
        export,
        push,
        faces,
        info,
        recipes,
        import_,
        web,
        completion,
    ):
        command.add(subparsers, common)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (``sys.argv`` by default) and return its exit code."""
    _let_threads_sleep()
    parser = build_parser()
    completion.complete(parser)
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # help, version, or a wrong argument
        return int(stop.code or 0)
    args.quiet, args.debug = vars(args).get("quiet", False), vars(args).get("debug", False)
    try:
        with _messages(args.quiet, args.debug), _orderly_termination():
            code = args.run(args)
            sys.stdout.flush()
            return int(code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except _Terminated:
        print("terminated", file=sys.stderr)
        return 143
    except BrokenPipeError:
        # The reader of the output has gone (`| head`); Python would complain again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _report(error, args.debug)


def _let_threads_sleep() -> None:
    """Have torch's threads wait for each other asleep, unless the user says how they wait.

    GNU's OpenMP lets them spin, which takes the cores from those that they wait for where anything
    else computes: the encoder of a video is enough. It reads this when torch is loaded.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def _report(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        error = RunError(f"{error.filename or 'the output'}: the disk is full; free some space")
    elif isinstance(error, MemoryError):
        error = RunError("not enough memory")
    if isinstance(error, CycleganMediaError):
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    reason = one_line(" ".join(str(error).split()))
    print(
        f"error: this should not happen, please report it: {type(error).__name__}: {reason}"
        " (--debug shows where)",
        file=sys.stderr,
    )
    return 1


class _Terminated(BaseException):
    """SIGTERM arrived; not an Exception, so that nothing takes it for a failure of its own."""


@contextmanager
def _orderly_termination() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: what is half-written is removed."""

    def on_signal(number: int, frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Lines(logging.Handler):
    """Messages as plain lines on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        text = record.getMessage()
        line = prefix + (text if record.levelno < logging.WARNING else one_line(text))
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


@contextmanager
def _messages(quiet: bool, debug: bool) -> Iterator[None]:
    logger = logging.getLogger("cyclegan_media")
    before = logger.level, logger.propagate
    handler = _Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    hook = threading.excepthook
    if not debug:
        threading.excepthook = _thread_failed
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # libraries' advice to programmers
            yield
    finally:
        threading.excepthook = hook
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """One line for an error in a library's own thread: Python would print a traceback."""
    error = failure.exc_value
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return  # the command meets that, too, and reports it
    reason = " ".join(str(error).split())
    logging.getLogger("cyclegan_media").warning(
        "a background thread failed: %s: %s", failure.exc_type.__name__, reason
    )


if __name__ == "__main__":
    sys.exit(main())
