"""``cyclegan-media prepare``"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclegan_media.commands.options import (
    Formatter,
    add_json,
    add_parser,
    part,
    positive,
    print_json,
    quality,
    show_progress,
)

_EXAMPLES = """\
examples:
  cyclegan-media prepare pictures day/*.mp4 photos/ -o data/day --rate 2 --size 256
  cyclegan-media prepare voices interview.mp3 talk.mp4 -o data/anna --rate 16000
  cyclegan-media prepare check data/day data/night

DIR comes to hold train/ and test/ as `train --data-a DIR` takes them, and prepared.jsonl, which
says of each example where it came from, and of each that was left out why.
"""
_SHOWN = 20
"""Problems of one kind that are listed."""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "prepare",
        "make data sets of videos, pictures and recordings, and check them",
        _EXAMPLES,
        run,
    )
    inner = parser.add_subparsers(
        metavar="WHAT", required=True, parser_class=type(parser), title="what to prepare"
    )
    _add_pictures(_sub(inner, common, "pictures", "choose frames and pictures", pictures))
    _add_voices(_sub(inner, common, "voices", "cut recordings into utterances", voices))
    check_parser = _sub(inner, common, "check", "say what is wrong with data sets", check)
    check_parser.add_argument("folders", nargs="+", metavar="DIR", help="a folder of media")
    check_parser.add_argument(
        "--strict", action="store_true", help="exit with 1 where anything is wrong"
    )
    _add_common(check_parser)


def run(args: argparse.Namespace) -> int:
    raise AssertionError("each part of the command has its own")


def _sub(
    inner: Any, common: argparse.ArgumentParser, name: str, summary: str, work: Callable[..., int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = inner.add_parser(
        name,
        parents=[common],
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=Formatter,
    )
    parser.set_defaults(run=work)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes (default: 1)"
    )
    add_json(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--test",
        type=part,
        default=0.1,
        metavar="SHARE",
        help="to hold out: whole shots, or whole minutes of recordings (default: 0.1)",
    )
    parser.add_argument("--keep-duplicates", action="store_true", help="keep near duplicates")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, only say what it is")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists")
    _add_common(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", nargs="+", metavar="INPUT", help="a video, a picture or a folder")
    add(
        "--rate",
        type=quality,
        default=1.0,
        metavar="N",
        help="frames a second of a video, each the sharpest of its stretch (default: 1; 0: all)",
    )
    add("--size", type=positive, metavar="N", help="scale the shorter side down to N pixels")
    add("--crop", action="store_true", help="keep only the square in the middle")
    add(
        "--min-size",
        type=positive,
        default=64,
        metavar="N",
        help="leave out what has fewer pixels on its shorter side (default: 64)",
    )
    add(
        "--blur",
        type=quality,
        default=0.2,
        metavar="X",
        help="leave out what has less than this part of the usual sharpness (default: 0.2)",
    )
    add("--format", choices=("png", "jpg", "webp"), default="png", help="default: png")
    _add_output(parser)


def _add_voices(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", nargs="+", metavar="INPUT", help="a recording, a video with sound or a folder")
    add("--rate", type=positive, metavar="HZ", help="resample (default: as each source has it)")
    add(
        "--min-seconds",
        type=quality,
        default=1.0,
        metavar="S",
        help="of an utterance (default: 1)",
    )
    add("--max-seconds", type=quality, default=12.0, metavar="S", help="(default: 12)")
    add(
        "--pause",
        type=quality,
        default=0.5,
        metavar="S",
        help="a shorter pause does not end an utterance (default: 0.5)",
    )
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--loudness",
        type=float,
        default=-23.0,
        metavar="LUFS",
        help="of each utterance, by ITU-R BS.1770 (default: -23)",
    )
    level.add_argument("--keep-loudness", action="store_true", help="leave levels as they are")
    add("--format", choices=("wav", "flac"), default="wav", help="default: wav")
    _add_output(parser)


def pictures(args: argparse.Namespace) -> int:
    from cyclegan_media.prepare.pictures import PictureOptions, prepare_pictures

    options = PictureOptions(
        rate=args.rate,
        size=args.size,
        crop=args.crop,
        min_size=args.min_size,
        blur=args.blur,
        test=args.test,
        suffix=args.format,
        workers=args.workers,
        **({"duplicates": -1.0} if args.keep_duplicates else {}),
    )
    return _prepare(args, prepare_pictures, options, "pictures")


def voices(args: argparse.Namespace) -> int:
    from cyclegan_media.errors import UserError
    from cyclegan_media.prepare.voices import VoiceOptions, prepare_voices

    if not 0 < args.min_seconds <= args.max_seconds:
        raise UserError("--min-seconds must be above 0, and --max-seconds no less")
    options = VoiceOptions(
        rate=args.rate,
        shortest=args.min_seconds,
        longest=args.max_seconds,
        pause=args.pause,
        loudness=None if args.keep_loudness else args.loudness,
        test=args.test,
        suffix=args.format,
        workers=args.workers,
        **({"duplicates": -1.0} if args.keep_duplicates else {}),
    )
    return _prepare(args, prepare_voices, options, "utterances")


def _prepare(args: argparse.Namespace, work: Callable[..., Any], options: Any, things: str) -> int:
    from tqdm import tqdm

    with tqdm(unit="source", disable=not show_progress(args)) as bar:

        def progress(stage: str, path: Path) -> None:
            bar.set_description(stage)
            bar.set_postfix_str(path.name)
            bar.update()

        result = work(
            args.input,
            args.output,
            options,
            overwrite=args.overwrite,
            dry_run=args.dry_run,
            progress=progress,
        )
    if args.json:
        print_json(vars(result))
    else:
        left = ", ".join(f"{count} {reason}" for reason, count in result.left_out.items())
        state = " (nothing is written)" if args.dry_run else ""
        print(
            f"{result.folder}: {result.train} {things} to train on, {result.test} held out"
            f"{f'; left out: {left}' if left else ''}{state}"
        )
    return 1 if result.failed else 0


def check(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from cyclegan_media.prepare.check import check_data

    with tqdm(unit="file", disable=not show_progress(args)) as bar:

        def progress(path: Path) -> None:
            bar.update()

        found = check_data(args.folders, workers=args.workers, progress=progress)
    if args.json:
        print_json(found)
    else:
        _print_check(found)
    return 1 if args.strict and found["problems"] else 0


def _print_check(found: dict[str, Any]) -> None:
    from cyclegan_media.errors import one_line

    for name, holds in found["parts"].items():
        files = ", ".join(f"{count} {kind} files" for kind, count in holds["files"].items())
        print(f"{name}: {files}")
        if holds["shorter_side"]:
            side = holds["shorter_side"]
            print(f"  shorter side  {side['least']:.0f} to {side['most']:.0f} pixels")
        if holds["shots"]:
            print(f"  video         {holds['video_seconds']:.0f} s in {holds['shots']} shots")
        if holds["rates"]:
            minutes, speech = holds["sound_seconds"] / 60, holds["speech_seconds"] / 60
            print(f"  sound         {minutes:.1f} minutes, {speech:.1f} of them speech")
            print(f"  rates         {', '.join(f'{rate} Hz' for rate in holds['rates'])}")
        if holds["loudness"]:
            level = holds["loudness"]
            print(f"  loudness      {level['least']:.0f} to {level['most']:.0f} LUFS")
    counts = Counter(problem["kind"] for problem in found["problems"])
    print(f"{sum(counts.values())} problems" if counts else "nothing wrong was found")
    for kind, count in counts.items():
        print(f"{kind}: {count}")
        listed = [problem for problem in found["problems"] if problem["kind"] == kind]
        for problem in listed[:_SHOWN]:
            print(one_line(f"  {problem['file']}: {problem['what']}"))
        if count > _SHOWN:
            print(f"  … and {count - _SHOWN} more (--json lists all)")
