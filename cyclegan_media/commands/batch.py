"""``cyclegan-media batch``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands.options import add_parser, positive, quality, show_progress
from cyclegan_media.commands.translate_options import (
    add_direction,
    add_face_options,
    add_machine_options,
    add_provenance_options,
    add_runtime,
    add_sample_options,
    add_video_options,
    add_voice_options,
)

if TYPE_CHECKING:
    from cyclegan_media.batch.run import Result
    from cyclegan_media.batch.settings import BatchOptions
    from cyclegan_media.batch.show import Mode

_EXAMPLES = """\
examples:
  cyclegan-media batch horses/ -m models/horse2zebra -o zebras/
  cyclegan-media batch 'takes/**/*.mp4' -m models/horse2zebra -o out/ --workers 4 --timeout 3600
  cyclegan-media batch tonight.csv -m models/horse2zebra -o out/
  cyclegan-media batch s3://bucket/in/ -m models/anna2ben -o s3://bucket/out --state here/

A manifest (.csv with a header, or .jsonl) has the columns input, output, model, direction and
options, of which only input is needed: a.mp4,zebra.mp4,models/h2z,a2b,"{""crf"": 18}". Whatever is
killed, the same command again does what is left. DIR gets report.html and report.json.

exit codes: 0 all done; 3 some files failed; 130 stopped by Ctrl-C; 1 and 2 as everywhere.
"""

SOME_FAILED = 3


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "batch",
        "translate very many files, in processes of their own",
        _EXAMPLES,
        run,
    )
    parser.add_argument(
        "jobs", nargs="+", metavar="JOBS", help="a folder, a glob, a manifest, a file or a URL"
    )
    parser.add_argument(
        "-m", "--model", metavar="MODEL", help="a model folder, or that of a training"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder of the outputs, or its URL"
    )
    add_direction(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that no batch here made"
    )
    parser.add_argument(
        "--restart", action="store_true", help="do all files anew, with other settings if need be"
    )
    parser.add_argument(
        "--retry", action="store_true", help="try those again that failed or were set aside"
    )
    add_video_options(parser)
    add_face_options(parser)
    add_voice_options(parser)
    add_sample_options(parser, several=False)
    add_provenance_options(parser, signed=False)
    _add_running(parser)
    add_runtime(add_machine_options(parser))


def _add_running(parser: argparse.ArgumentParser) -> None:
    running = parser.add_argument_group("running")
    running.add_argument(
        "--workers",
        type=_workers,
        metavar="auto|N",
        help="processes (default: auto, as many as cores and memory allow, or one per GPU)",
    )
    running.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="set a file aside that takes longer (default: no limit)",
    )
    running.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine (default), or tasks on a Ray cluster",
    )
    running.add_argument(
        "--ray-address", metavar="ADDRESS", help="of the cluster (default: the one Ray knows of)"
    )
    running.add_argument(
        "--state", metavar="DIR", help="local folder of work list and reports (default: output)"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-rows", type=positive, metavar="N", help="files of a batch (default: 1000000)"
    )
    limits.add_argument(
        "--max-manifest-bytes",
        type=positive,
        metavar="N",
        help="size of a manifest (default: 256 MiB)",
    )
    limits.add_argument(
        "--max-download",
        type=positive,
        metavar="N",
        help="bytes of an input that is fetched from a URL (default: 8 GiB)",
    )


def _workers(text: str) -> int | None:
    return None if text == "auto" else positive(text)


def _seconds(text: str) -> float:
    if quality(text) == 0:
        raise argparse.ArgumentTypeError("is to be more than 0")
    return quality(text)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.batch import run_batch
    from cyclegan_media.batch.show import Show

    mode: Mode = "errors" if args.quiet else "bar" if show_progress(args) else "lines"
    try:
        result = run_batch(args.jobs, args.output, _options(args), Show(mode))
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    _report(result, args.quiet)
    if result.stopped:
        print("stopped; run the same command again to do what is left", file=sys.stderr)
        return 130
    return SOME_FAILED if result.totals.failed + result.totals.set_aside else 0


def _report(result: Result, quiet: bool) -> None:
    from cyclegan_media.batch.report import summary

    if quiet:
        return
    print("\n".join([*summary(result.totals), f"  {result.folder / 'report.html'}"]), flush=True)
    if result.totals.failed + result.totals.set_aside and not result.stopped:
        print("try those that failed again with --retry", file=sys.stderr)


def _vocoder(named: str | None) -> str | None:
    """A path that holds wherever a worker runs; a name stays."""
    return str(Path(named).absolute()) if named and Path(named).exists() else named


def _options(args: argparse.Namespace) -> BatchOptions:
    from cyclegan_media.batch import BatchOptions, FileSettings

    own = {
        "stream": args.video_stream,
        "detector_model": args.detector_model and str(Path(args.detector_model).absolute()),
        "vocoder": _vocoder(args.vocoder),
    }
    same = [name for name in FileSettings.model_fields if name not in own]
    given = {**own, **{name: getattr(args, name) for name in same}}
    settings = FileSettings().with_options(given, "batch")
    limits = ("max_rows", "max_manifest_bytes", "max_download")
    return BatchOptions(
        model=args.model,
        settings=settings,
        runtime=args.runtime,
        device=args.device,
        precision=args.precision,
        engine=args.engine,
        workers=args.workers,
        timeout=args.timeout,
        overwrite=args.overwrite,
        restart=args.restart,
        retry=args.retry,
        state=Path(args.state) if args.state else None,
        ray_address=args.ray_address,
        **{name: getattr(args, name) for name in limits if getattr(args, name) is not None},
    )
