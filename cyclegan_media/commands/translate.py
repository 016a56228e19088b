"""``cyclegan-media translate``"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands import talking
from cyclegan_media.commands.options import add_json, add_parser, print_json
from cyclegan_media.commands.translate_options import (
    add_direction,
    add_face_options,
    add_machine_options,
    add_provenance_options,
    add_runtime,
    add_sample_options,
    add_speed_options,
    add_video_options,
    add_voice_options,
    make_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclegan_media.errors import CycleganMediaError
    from cyclegan_media.translate.folder import Job
    from cyclegan_media.translate.stages import StageTimes

_EXAMPLES = """\
examples:
  cyclegan-media translate horse.jpg -m models/horse2zebra -o zebra.jpg
  cyclegan-media translate horses.mp4 -m models/horse2zebra -o zebras.mp4 --crf 18
  cyclegan-media translate zebras/ -m models/horse2zebra -o horses/ --direction b2a
  cyclegan-media translate anna.wav -m models/anna2ben -o as_ben.wav
  cyclegan-media translate anna.wav -m models/anna2ben -o as_ben.wav --vocoder LJ_V1/generator_v1
  cyclegan-media translate anna.mp4 -m models/anna2ben -o as_ben.mp4 --faces
  cyclegan-media translate shoe.jpg -m models/edges2shoes -o shoes.jpg --samples 4 --seed 7
  cyclegan-media translate shoe.jpg -m models/edges2shoes -o red.jpg --latent-from red_shoe.jpg
  cyclegan-media translate talk.mp4 --video-model models/anna2ben_face \\
      --voice-model models/anna2ben -o as_ben.mp4
  cyclegan-media translate *.jpg -m models/horse2zebra -o zebras/ --dry-run
  cyclegan-media translate horses.mp4 -m models/horse2zebra -o zebras.mp4 --stats

Of a video the picture changes; sound, timing, rotation and subtitles stay. A model of voices
takes recordings, or the sound of a video. Several inputs, or a folder, go into the folder OUTPUT
under their own names; one that fails does not stop the rest.

With --video-model and --voice-model the picture and the voice of a clip are translated in one
pass; what is no speech sounds as it did.

What is written says in its tags that it is synthetic, and by which model: see the command info.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "translate",
        "translate pictures, videos, recordings or folders of them",
        _EXAMPLES,
        run,
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="a file or a folder")
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="a model folder, that of a training, or hf:user/model[@revision] of the Hub",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="a file or a folder"
    )
    add_direction(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and say what would be written"
    )
    parser.add_argument(
        "--stats",
        action="store_true",
        help="say of each video how long reading, translating and writing worked, and which of them"
        " is the limit",
    )
    add_json(parser)
    add_video_options(parser)
    add_face_options(parser)
    add_sample_options(parser)
    add_voice_options(parser)
    talking.add_talking_options(parser)
    add_provenance_options(parser)
    machine = add_machine_options(parser, "int8")
    add_speed_options(machine)
    add_runtime(machine)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.translate.folder import run

    times: list[StageTimes] = []
    prepare = talking.prepare if talking.is_talking(args) else _prepare
    jobs, translate_file = prepare(args, times.append if args.stats else None)
    if args.dry_run:
        if args.json:
            print_json([_names(job) for job in jobs])
            return 0
        for job in jobs:
            print(f"{job.source} → {job.target}")
        return 0
    made: list[dict[str, Any]] = []

    def translate(job: Job) -> None:
        times.clear()
        translate_file(job)
        if args.json:
            stats = {"stats": times[0].plain() if times else None} if args.stats else {}
            made.append({**_names(job), **stats})
            return
        if not args.quiet:
            print(job.target, flush=True)
        for taken in times:
            print(taken.table(), taken.verdict(), sep="\n", flush=True)

    def failed(job: Job, error: CycleganMediaError) -> None:
        print(f"error: {error}", file=sys.stderr)

    try:
        run(jobs, translate, failed)
    finally:
        if args.json:
            print_json(made)
    return 0


def _names(job: Job) -> dict[str, Any]:
    return {"input": str(job.source), "output": str(job.target)}


def _prepare(
    args: argparse.Namespace, timed: Callable[[StageTimes], object] | None
) -> tuple[list[Job], Callable[[Job], object]]:
    """The files of a command line with one model, and what translates one of them."""
    from cyclegan_media.export import open_model
    from cyclegan_media.translate.folder import plan

    translator = open_model(args.model, args.runtime, device=args.device, precision=args.precision)
    options = make_options(args, translator.config.analysis, timed)
    translator.check(options)
    jobs = plan(
        args.input,
        args.output,
        translator.modality,
        overwrite=args.overwrite,
        samples=args.samples,
    )
    return jobs, lambda job: translator.translate_file(job, options)
