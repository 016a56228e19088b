"""``cyclegan-media translate``"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cyclegan_media.commands.options import (
    add_device,
    add_parser,
    natural,
    positive,
    quality,
    show_progress,
)

if TYPE_CHECKING:
    from cyclegan_media.errors import CycleganMediaError
    from cyclegan_media.translate.face import Faces
    from cyclegan_media.translate.folder import Job

_EXAMPLES = """\
examples:
  cyclegan-media translate horse.jpg -m models/horse2zebra -o zebra.jpg
  cyclegan-media translate horses.mp4 -m models/horse2zebra -o zebras.mp4 --crf 18
  cyclegan-media translate zebras/ -m models/horse2zebra -o horses/ --direction b2a
  cyclegan-media translate anna.wav -m models/anna2ben -o as_ben.wav
  cyclegan-media translate anna.mp4 -m models/anna2ben -o as_ben.mp4 --faces
  cyclegan-media translate *.jpg -m models/horse2zebra -o zebras/ --dry-run

Of a video the picture changes; sound, timing, rotation and subtitles stay. A model of voices
takes recordings, or the sound of a video. Several inputs, or a folder, go into the folder OUTPUT
under their own names; one that fails does not stop the rest.
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
        required=True,
        metavar="MODEL",
        help="a model folder, or that of a training",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="a file or a folder"
    )
    parser.add_argument(
        "--direction",
        choices=("a2b", "b2a"),
        default="a2b",
        help="from domain A to B (default) or from B to A",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and say what would be written"
    )
    video = parser.add_argument_group("videos")
    video.add_argument(
        "--video-stream",
        type=natural,
        metavar="N",
        help="which of several video streams, counted from 0 (default: the largest)",
    )
    video.add_argument(
        "--codec", metavar="NAME", help="FFmpeg's name of the encoder (default: libx264)"
    )
    video.add_argument(
        "--crf",
        type=quality,
        metavar="N",
        help="quality: lower is better and larger (x264: 0 to 51)",
    )
    video.add_argument("--preset", metavar="NAME", help="speed of the encoder, for instance fast")
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--faces",
        action="store_const",
        const="largest",
        help="translate nothing but faces: one at a time, that which is seen longest and largest",
    )
    faces.add_argument(
        "--all-faces",
        action="store_const",
        const="all",
        dest="faces",
        help="translate nothing but faces: every one in a frame",
    )
    faces.add_argument(
        "--face-size",
        type=positive,
        default=256,
        metavar="N",
        help="side of the crops that the model was trained on (default: 256)",
    )
    faces.add_argument(
        "--face-margin",
        type=quality,
        default=0.4,
        metavar="SHARE",
        help="what these show around a face, as --margin of the command faces (default: 0.4)",
    )
    faces.add_argument(
        "--face-colours",
        choices=("frame", "model"),
        default="frame",
        help="whose colours a translated face takes (default: frame)",
    )
    faces.add_argument(
        "--detector-model", metavar="FILE", help="a YuNet model (ONNX), for a better detector"
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--batch-size", type=positive, metavar="N", help="pictures at once (default: by the device)"
    )
    add_device(machine)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.translate import Translator
    from cyclegan_media.translate.folder import plan, run
    from cyclegan_media.translate.translator import Options

    translator = Translator.load(args.model, device=args.device, precision=args.precision)
    translator.generator(args.direction)
    jobs = plan(args.input, args.output, translator.modality, overwrite=args.overwrite)
    if args.dry_run:
        for job in jobs:
            print(f"{job.source} → {job.target}")
        return 0
    options = Options(
        direction=args.direction,
        overwrite=args.overwrite,
        batch_size=args.batch_size,
        codec=args.codec,
        crf=args.crf,
        preset=args.preset,
        stream=args.video_stream,
        progress=show_progress(args),
        faces=_faces(args),
    )

    def translate(job: Job) -> None:
        translator.translate_file(job, options)
        if not args.quiet:
            print(job.target, flush=True)

    def failed(job: Job, error: CycleganMediaError) -> None:
        print(f"error: {error}", file=sys.stderr)

    run(jobs, translate, failed)
    return 0


def _faces(args: argparse.Namespace) -> Faces | None:
    if args.faces is None:
        return None
    from cyclegan_media.faces import load_detector
    from cyclegan_media.translate.face import FaceOptions, Faces

    options = FaceOptions(
        size=args.face_size,
        margin=args.face_margin,
        which=args.faces,
        match_colours=args.face_colours == "frame",
    )
    return Faces(load_detector(args.detector_model), options)
