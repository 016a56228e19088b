"""The figures of `compare_methods.py`: a row of held-out tiles for each method."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from compare_problems import SIDE, Tiles, as_pixels
from compare_runs import BASELINES, result_file, shown, sources, truths
from compare_tables import Comparison
from compare_variants import METHODS
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cyclegan_media.media import read_image
from cyclegan_media.pretrained import Direction

_LABELS, _GAP, _SCALE = 250, 4, 1.5


def draw(page: Comparison, work: Path, tiles: Tiles, way: Direction) -> Image.Image:
    """A row of tiles for the input, the truth where there is one, and each method."""
    before = sources(tiles, way)
    rows = {"input": _row(before)}
    if tiles.name == "known":
        rows["right answer"] = _row(truths(tiles, way))
    for title, (_, pictures) in page.baselines[tiles.name].items():
        if way in pictures and title != BASELINES[0]:
            rows[title] = _row(pictures[way])
    for method in page.methods:
        results = page.of(tiles.name, method)
        if results and way in METHODS[method].ways:
            file = result_file(work, tiles.name, method, results[0].seed)
            strip = read_image(file.with_name(f"{file.stem}-{way}.png")).pixels
            rows[METHODS[method].title] = Image.fromarray(strip.astype("uint8"))
    side = round(SIDE * _SCALE)
    width = side * math.ceil(max(row.width for row in rows.values()) / SIDE)
    sheet = Image.new("RGB", (_LABELS + width, len(rows) * (side + _GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (title, row) in enumerate(rows.items()):
        top = number * (side + _GAP)
        pen.multiline_text((4, top + side // 2 - 16), title.replace(" (", "\n("), "black", font)
        scaled = row.resize((side * row.width // SIDE, side), Image.Resampling.BICUBIC)
        sheet.paste(scaled, (_LABELS, top))
    return sheet


def _row(pictures: Tensor) -> Image.Image:
    chosen = pictures[shown(len(pictures))]
    return Image.fromarray(as_pixels(torch.cat([*chosen], dim=2)[None])[0])
