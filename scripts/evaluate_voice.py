"""Print what voice models reach beside what they have to beat, in both directions.

    python scripts/evaluate_voice.py --data-a vcc2016/SF1 --data-b vcc2016/TM1 --model runs/vc/model

The tables of `cyclegan-media evaluate` alone, without a report and, if so wished, without a model.
Held-out sentences of both speakers are paired by file name.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cyclegan_media.errors import CycleganMediaError
from cyclegan_media.evaluation.inputs import choose_files, load_models
from cyclegan_media.evaluation.voice import RESERVED, VoiceEvaluation
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.translate.options import Options


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-a", type=Path, required=True, help="recordings of speaker A")
    parser.add_argument("--data-b", type=Path, required=True, help="recordings of speaker B")
    parser.add_argument(
        "--held-out",
        default="2*",
        metavar="GLOB",
        help="names of the sentences to measure on; all others train the baselines and the"
        " verifier (default: 2*, as in the Voice Conversion Challenge 2016)",
    )
    parser.add_argument(
        "--model", type=Path, action="append", default=[], metavar="DIR", help="may be repeated"
    )
    parser.add_argument(
        "--variance", type=float, default=0.0, help="as for `translate` (default: 0)"
    )
    parser.add_argument(
        "--retrieval", type=float, default=0.0, help="as for `translate` (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    try:
        # A model that cannot be read is told before minutes of analysis.
        options = Options(conversion=Conversion(variance=args.variance, retrieval=args.retrieval))
        models = load_models(args.model, RESERVED) if args.model else {}
        files = choose_files(args.data_a, args.data_b, ("audio",), args.held_out)
        names = {"a": args.data_a.resolve().name, "b": args.data_b.resolve().name}
        evaluation = VoiceEvaluation(files, names, options=options, progress=sys.stderr.isatty())
        evaluation.compare(models)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    data = evaluation.data()
    if args.json:
        print(json.dumps(data, indent=2))
        return 0
    for table in evaluation.tables().values():
        print("\n".join([*table.lines(), ""]))
    print(
        f"{len(data['sentences'])} sentences; the verifier's equal error rate:"
        f" {data['verifier_equal_error']:.1%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
