"""Print what voice models reach beside what they have to beat, in both directions.

    python scripts/evaluate_voice.py --data-a vcc2016/SF1 --data-b vcc2016/TM1 --model runs/vc/model

The tables of `cyclegan-media evaluate` alone, without a report and, if so wished, without a model.
Held-out sentences of both speakers are paired by file name. With --together, models that were
trained on the same recordings with the same `data` are measured as one, too: what is heard is the
mean of their spectra.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.evaluation.inputs import choose_files, load_models
from cyclegan_media.evaluation.voice import RESERVED, VoiceEvaluation
from cyclegan_media.pretrained import PretrainedModel
from cyclegan_media.speech.conversion import Conversion
from cyclegan_media.translate import Translator
from cyclegan_media.translate.options import Options

TOGETHER = "together"
"""The row of all models as one."""


class Mean(nn.Module):
    """Generators as one: the mean of their outputs."""

    def __init__(self, generators: list[nn.Module]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.multiple = math.lcm(*(getattr(each, "multiple", 1) for each in generators))
        self.minimum = max(getattr(each, "minimum", 1) for each in generators)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([each(x) for each in self.generators]).mean(dim=0)


def together(models: Mapping[str, Translator]) -> Translator:
    """All models as one.

    Raises:
        UserError: fewer than two models, or such as standardise spectra differently.
    """
    if len(models) < 2:
        raise UserError("--together: needs two models or more; repeat --model")
    (first_name, first), *others = models.items()
    for name, other in others:
        if other.config.analysis != first.config.analysis or not _alike(
            first.model.statistics, other.model.statistics
        ):
            raise UserError(
                f"--together: {name} and {first_name} were trained on other recordings, or with"
                " another `data`, so their spectra have no mean"
            )
    directions = [d for d in first.directions if all(d in m.directions for m in models.values())]
    generators = {d: Mean([m.generator(d) for m in models.values()]) for d in directions}
    model = PretrainedModel(first.config, generators, first.model.statistics)  # type: ignore[arg-type]
    return Translator(model, device=first.device.type)  # type: ignore[arg-type]


def _alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.allclose(one[name], other[name])
        for name in one
    )


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
    parser.add_argument(
        "--together", action="store_true", help="measure the mean of the models, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    try:
        # A model that cannot be read is told before minutes of analysis.
        options = Options(conversion=Conversion(variance=args.variance, retrieval=args.retrieval))
        models = load_models(args.model, (*RESERVED, TOGETHER)) if args.model else {}
        if args.together:
            models[TOGETHER] = together(models)
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
