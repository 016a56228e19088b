"""``cyclegan-media evaluate``"""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan_media.commands.options import (
    add_device,
    add_json,
    add_parser,
    natural,
    positive,
    print_json,
    show_progress,
)
from cyclegan_media.commands.translate_options import (
    add_runtime,
    add_voice_options,
    make_conversion,
)

_EXAMPLES = """\
examples:
  cyclegan-media evaluate --model models/anna2ben --data-a anna --data-b ben --out report.html
  cyclegan-media evaluate --run runs/vc --run runs/vc2 --data-a SF1 --data-b TM1 \\
      --held-out '2*' --out report.html
  cyclegan-media evaluate --model runs/h2z --data-a horse2zebra --data-b horse2zebra \\
      --out report.html

Measures models on held-out files, beside the input as it is and trivial methods, and writes a page
with tables, plots, pictures and players, and the numbers as JSON beside it (report.json).
Give the folders that the model was trained on: then the files are held out that the training held
out, too, and the methods that are compared learn from the rest. Held-out recordings of one name
must say the same.
"""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers, common, "evaluate", "measure models and write a report", _EXAMPLES, run
    )
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="a model folder; may be repeated, for models of one kind (with --runtime onnx, an"
        " exported one, too)",
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        dest="runs",
        metavar="RUN",
        help="the folder of a training: its model, and curves over its kept checkpoints; may be"
        " repeated",
    )
    parser.add_argument("--data-a", required=True, metavar="DIR", help="media of domain A")
    parser.add_argument("--data-b", required=True, metavar="DIR", help="media of domain B")
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="the page to write, FILE.html"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older report")
    parser.add_argument(
        "--held-out",
        metavar="GLOB",
        help="names of the files to measure on (default: those that a training holds out)",
    )
    parser.add_argument(
        "--examples",
        type=natural,
        default=3,
        metavar="N",
        help="examples of each direction to show (default: 3)",
    )
    add_voice_options(parser).add_argument(
        "--embedding",
        metavar="FILE",
        help="a speaker embedding model (ONNX), for the verifier (default: the built-in one)",
    )
    _add_image_options(parser)
    add_device(parser)
    add_runtime(parser)
    add_json(parser)


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--size",
        type=positive,
        default=256,
        metavar="PIXELS",
        help="scale the shorter side to this and cut out the middle (default: 256)",
    )
    group.add_argument(
        "--pictures",
        type=positive,
        default=200,
        metavar="N",
        help="of each domain, at most (default: 200)",
    )
    group.add_argument(
        "--unpaired",
        action="store_true",
        help="held-out pictures of the same name show different things",
    )
    group.add_argument(
        "--inception",
        metavar="FILE",
        help="torch-fidelity's Inception weights, for FID and KID as in papers",
    )
    group.add_argument(
        "--lpips", metavar="FILE", help="torchvision's AlexNet weights, for the distance LPIPS"
    )
    group.add_argument(
        "--clips",
        type=natural,
        default=2,
        metavar="N",
        help="held-out videos of each domain whose steadiness is measured (default: 2)",
    )


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.evaluation.image_settings import ImageSettings
    from cyclegan_media.evaluation.run import Settings, evaluate
    from cyclegan_media.translate.options import Options

    report = evaluate(
        args.model,
        args.data_a,
        args.data_b,
        args.out,
        runs=args.runs,
        settings=Settings(
            held_out=args.held_out,
            examples=args.examples,
            options=Options(vocoder=args.vocoder, conversion=make_conversion(args)),
            embedding=args.embedding,
            image=ImageSettings(
                size=args.size,
                pictures=args.pictures,
                paired=not args.unpaired,
                inception=args.inception,
                lpips=args.lpips,
                clips=args.clips,
            ),
            runtime=args.runtime,
            device=args.device,
            precision=args.precision,
            progress=show_progress(args),
        ),
        overwrite=args.overwrite,
    )
    if args.json:
        print_json(report.data)
    elif not args.quiet:
        for table in report.tables:
            print("\n".join([*table.lines(), ""]))
        print(args.out)
    return 0
