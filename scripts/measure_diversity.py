"""Measure how many answers a many-to-many model gives to one picture, and whether they are real.

    python scripts/measure_diversity.py --model runs/shoes/model --data-a edges --data-b shoes

Prints a table for each direction: the mean distance between translations of one picture by codes
drawn anew (1 − SSIM; higher is more diverse), and how closely the picture is found again from each
of them by the code that the model's encoder finds (PSNR and SSIM; higher is closer).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media import list_media, read_image
from cyclegan_media.metrics.diversity import ManyToManyScores, mean_scores, score_samples
from cyclegan_media.metrics.learned import Distance, lpips
from cyclegan_media.pretrained import Direction
from cyclegan_media.translate import Translator
from cyclegan_media.translate.image import Apply, as_batch, make_apply
from cyclegan_media.translate.latent import reconstruct

COLUMNS = {"diversity": "diversity", "lpips": "LPIPS", "psnr": "PSNR dB", "ssim": "SSIM"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--model", type=Path, action="append", required=True, metavar="DIR", help="may be repeated"
    )
    parser.add_argument("--data-a", type=Path, help="pictures of domain A, held out in training")
    parser.add_argument("--data-b", type=Path, help="pictures of domain B")
    parser.add_argument("--samples", type=int, default=8, help="of each picture (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the codes (default: 0)")
    parser.add_argument(
        "--lpips", type=Path, metavar="FILE", help="torchvision's AlexNet weights, for LPIPS, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    try:
        tables = measure(args)
    except CycleganMediaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        rows = {w: {m: asdict(row) for m, row in table.items()} for w, table in tables.items()}
        print(
            json.dumps({"samples": args.samples, "seed": args.seed, "directions": rows}, indent=2)
        )
    else:
        for way, table in tables.items():
            print("\n".join(as_lines(way, table)))
    return 0


def measure(args: argparse.Namespace) -> dict[str, dict[str, ManyToManyScores]]:
    """Scores by direction and model."""
    folders: dict[Direction, Path | None] = {"a2b": args.data_a, "b2a": args.data_b}
    files = {way: pictures(folder) for way, folder in folders.items() if folder is not None}
    if not files:
        raise UserError("name pictures of at least one domain: --data-a, --data-b")
    distance = None if args.lpips is None else lpips(args.lpips)
    models = {str(folder): Translator.load(folder, precision="fp32") for folder in args.model}
    return {
        way: {
            name: mean_scores(
                [
                    score_file(model, way, path, args.samples, args.seed, distance)
                    for path in tqdm(paths, desc=f"{name} {way}", unit="picture", leave=False)
                ]
            )
            for name, model in models.items()
        }
        for way, paths in files.items()
    }


def pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pictures")
    listed = list_media(folder, "image")
    if not listed:
        raise UserError(f"{folder}: holds no picture")
    return listed


def score_file(
    model: Translator,
    way: Direction,
    path: Path,
    samples: int,
    seed: int,
    distance: Distance | None,
) -> ManyToManyScores:
    def make(network: Any) -> Apply:
        return make_apply(network, model.device, model.dtype, 1)

    picture = as_batch(read_image(path).pixels)[0]
    translated = model.translate(picture, direction=way, samples=samples, seed=seed)
    inputs = picture.expand(samples, *picture.shape)
    again = reconstruct(model.model, way, inputs, translated, make)
    return score_samples(picture, translated, again, distance)


def as_lines(way: str, table: dict[str, ManyToManyScores]) -> list[str]:
    columns = {
        key: title
        for key, title in COLUMNS.items()
        if any(getattr(row, key) is not None for row in table.values())
    }
    width = max(map(len, [way, *table]))
    lines = [f"{way:<{width}}  " + "  ".join(columns.values())]
    for name, row in table.items():
        cells = [f"{getattr(row, key):>{len(title)}.3f}" for key, title in columns.items()]
        lines.append(f"{name:<{width}}  " + "  ".join(cells))
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
