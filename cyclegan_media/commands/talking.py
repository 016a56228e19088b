"""``cyclegan-media translate`` with two models: the picture and the voice of a talking clip."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cyclegan_media.commands.options import natural
from cyclegan_media.commands.translate_options import make_options
from cyclegan_media.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclegan_media.translate.folder import Job
    from cyclegan_media.translate.stages import StageTimes
    from cyclegan_media.translate.translator import Translator

_NAMES = ("audio_stream", "video_direction", "voice_direction")


def add_talking_options(parser: argparse.ArgumentParser) -> None:
    """Add what concerns clips whose picture and voice are translated in one pass."""
    group = parser.add_argument_group("talking clips (instead of --model)")
    group.add_argument("--video-model", metavar="MODEL", help="translates the picture")
    group.add_argument(
        "--voice-model", metavar="MODEL", help="converts the voice; alone, the picture is copied"
    )
    group.add_argument(
        "--audio-stream",
        type=natural,
        metavar="N",
        help="whose voice: which sound stream, counted from 0 (default: the one players choose)",
    )
    for name in ("video", "voice"):
        group.add_argument(
            f"--{name}-direction",
            choices=("a2b", "b2a"),
            help=f"of the {name} model (default: as --direction)",
        )
    group.add_argument(
        "--no-gate",
        action="store_false",
        dest="gate",
        help="convert all of the sound, and not only where somebody speaks",
    )


def is_talking(args: argparse.Namespace) -> bool:
    """Whether two models are meant.

    Raises:
        UserError: options of both kinds are given, or no model at all.
    """
    talking = args.video_model is not None or args.voice_model is not None
    if talking and args.model is not None:
        raise UserError("--model: goes alone; give --video-model and --voice-model without it")
    if not talking and args.model is None:
        raise UserError(
            "--model: is needed, or --video-model or --voice-model for a talking clip; see"
            " cyclegan-media translate --help"
        )
    given = [name for name in _NAMES if getattr(args, name) is not None]
    if not talking and (given or not args.gate):
        name = (given or ["no_gate"])[0].replace("_", "-")
        raise UserError(f"--{name}: goes with --video-model or --voice-model")
    return talking


def prepare(
    args: argparse.Namespace, timed: Callable[[StageTimes], object] | None
) -> tuple[list[Job], Callable[[Job], object]]:
    """The files of a command line with two models, and what translates one of them."""
    from cyclegan_media.export import open_model
    from cyclegan_media.translate.folder import plan
    from cyclegan_media.translate.talking import Talking, translate_talking

    def load(name: str | None) -> Translator | None:
        if name is None:
            return None
        return open_model(name, args.runtime, device=args.device, precision=args.precision)

    talking = Talking(
        video=load(args.video_model),
        voice=load(args.voice_model),
        video_direction=args.video_direction,
        voice_direction=args.voice_direction,
        audio_stream=args.audio_stream,
        gate=args.gate,
    )
    video = talking.video
    options = make_options(args, None if video is None else video.config.analysis, timed)
    talking.check(options)
    jobs = plan(args.input, args.output, "image", overwrite=args.overwrite, samples=args.samples)

    def translate(job: Job) -> object:
        return translate_talking(job.source, job.target, talking, options, sample=job.sample)

    return jobs, translate
