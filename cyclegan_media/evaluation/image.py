"""Models of pictures beside what they have to beat, on held-out pictures, frames and clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from cyclegan_media.datasets.discover import Files
from cyclegan_media.errors import UserError
from cyclegan_media.evaluation.clips import ClipEvaluation
from cyclegan_media.evaluation.image_settings import (
    COLOURS,
    LEAST,
    REAL,
    RESERVED,
    UNCONVERTED,
    ImageSettings,
    features_name,
    load_networks,
    measures,
)
from cyclegan_media.evaluation.pictures import ColourMatch, find_pairs, read_pictures
from cyclegan_media.evaluation.report import Part
from cyclegan_media.evaluation.tables import Measure, Table, plain, spread
from cyclegan_media.metrics.image import psnr, sliced_wasserstein, ssim
from cyclegan_media.metrics.image_sets import features_of, frechet_distance, kernel_distance
from cyclegan_media.page.fragments import figure, picture, row
from cyclegan_media.pretrained import Direction
from cyclegan_media.translate import Translator
from cyclegan_media.translate.image import Apply

DIRECTIONS: tuple[Direction, Direction] = ("a2b", "b2a")
_NOTES = (
    "FID and KID: distances of the set of translations to held-out real pictures of the target, in"
    " the space of features of {features}.",
    "Real pictures of the target are its training pictures: what sampling alone makes of the"
    " distances. The matched colours take mean and deviation of each channel to the target's.",
    "PSNR, SSIM and LPIPS compare with the {pairs} held-out pictures of the same file name; they"
    " mean something only where those show the same.",
    "Cycle: translated and back, compared with the input.",
)


class ImageEvaluation:
    """Two domains of pictures, and what methods reach on the held-out ones.

    Args:
        files: those that the trivial method learns from, and those to measure on.
        names: of the two domains, by side.
        examples: pictures of each direction that are shown.
        device: of the networks that measure.
        progress: draw progress bars.

    Raises:
        UserError: fewer than 4 held-out pictures of a domain, or a file that cannot be read.
    """

    def __init__(
        self,
        files: Files,
        names: Mapping[str, str],
        settings: ImageSettings | None = None,
        *,
        examples: int = 3,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        self.settings = settings = settings or ImageSettings()
        self.names, self.examples, self.progress = dict(names), examples, progress
        self._extract, self._lpips = load_networks(settings, device)
        size, most = settings.size, settings.pictures
        self.held_out = {
            "a": read_pictures(files.held_out_a, size, most),
            "b": read_pictures(files.held_out_b, size, most),
        }
        self.train = {
            "a": read_pictures(files.train_a, size, most),
            "b": read_pictures(files.train_b, size, most),
        }
        for what, sets in (("held-out", self.held_out), ("training", self.train)):
            for side, found in sets.items():
                if len(found.images) < LEAST:
                    raise UserError(
                        f"domain {side.upper()}: {len(found.images)} {what} pictures are too few;"
                        f" {LEAST} or more are needed, and --held-out says which are which"
                    )
        pairs = find_pairs(*self.held_out.values()) if settings.paired else ([], [])
        self._pairs = dict(zip("ab", pairs, strict=True))
        self._real = {
            side: features_of(found.images, self._extract) for side, found in self.held_out.items()
        }
        self.results: dict[Direction, dict[str, dict[str, float]]] = {}
        self._shown: dict[str, dict[str, Tensor]] = {}
        """The examples alone: all that many models make would fill the memory."""
        self.clips = ClipEvaluation(files, names, settings.size, settings.clips, settings.frames)
        self.measures: Sequence[Measure] = measures(settings)

    def compare(self, models: Mapping[str, Translator]) -> None:
        """Fill :attr:`results`: the input as it is, matched colours, models, and real pictures."""
        for direction in DIRECTIONS:
            here, there = direction[0], direction[2]
            source = self.held_out[here].images
            match = ColourMatch(self.train[here].images, self.train[there].images)
            matched, places = match(source), spread(len(source), self.examples)
            shown = {UNCONVERTED: source[places], COLOURS: matched[places]}
            rows = {
                UNCONVERTED: self._measure(source, direction),
                COLOURS: self._measure(matched, direction),
            }
            for name, model in self._bar(models.items(), direction):
                if direction in model.directions:
                    found, rows[name] = self._by_model(model, direction)
                    shown[name] = found[places]
            rows[REAL] = self._sets(self.train[there].images, there)
            self._shown[direction], self.results[direction] = shown, rows
            methods: dict[str, Apply] = {COLOURS: match}
            for name, model in models.items():
                if direction in model.directions:
                    methods[name] = _method(model, direction)
            self.clips.compare(direction, methods)

    def score(self, model: Translator) -> dict[str, dict[str, float]]:
        """What one model reaches, by direction and measure."""
        return {
            direction: self._by_model(model, direction)[1]
            for direction in DIRECTIONS
            if direction in model.directions
        }

    def tables(self) -> dict[str, Table]:
        """A table for each direction."""
        return {
            way: Table(
                self.title(way),
                self.measures,
                rows,
                [name for name in rows if name not in RESERVED],
            )
            for way, rows in self.results.items()
        }

    def title(self, direction: str) -> str:
        return f"{self.names[direction[0]]} → {self.names[direction[2]]}"

    def data(self) -> dict[str, Any]:
        """The numbers, and how they were made."""
        pairs = len(self._pairs["a"])
        return {
            "a": self.names["a"],
            "b": self.names["b"],
            "pictures": {side: len(found.images) for side, found in self.held_out.items()},
            "trained_on": {side: len(found.images) for side, found in self.train.items()},
            "pairs": pairs,
            "size": self.settings.size,
            "features": features_name(self.settings),
            "comparable_with_published_fid": self.settings.inception is not None,
            "directions": {
                way: {name: plain(values) for name, values in rows.items()}
                for way, rows in self.results.items()
            },
            **self.clips.data(),
        }

    def facts(self) -> dict[str, object]:
        size = self.settings.size
        return {
            "Pictures measured on": " and ".join(
                f"{len(found.images)} of {self.names[side]}"
                for side, found in self.held_out.items()
            )
            + f", {size} × {size} pixels",
            "Of them pairs by file name": len(self._pairs["a"]),
            "Features of FID and KID": features_name(self.settings),
        }

    def parts(self) -> list[Part]:
        """For each direction the table, and pictures beside each other; then clips."""
        parts: list[Part] = []
        for way, table in self.tables().items():
            html = [table.html(f"{len(self.held_out[way[0]].images)} held-out pictures")]
            if not parts:
                html.append(f'<p class="note">{escape(self._note())}</p>')
            parts.append(Part(way, table.title, [*html, *self._examples(way)]))
        return parts + self.clips.parts()

    def _examples(self, way: str) -> list[str]:
        html: list[str] = []
        source, target = self.held_out[way[0]], self.held_out[way[2]]
        for k, place in enumerate(spread(len(source.images), self.examples)):
            name = source.names[place] or f"frame {place + 1}"
            shown = [
                figure(picture(images[k], f"{name}, {method}"), method, "")
                for method, images in self._shown[way].items()
            ]
            html += [f"<h3>{escape(name)}</h3>", row("video", shown)]
        real = [
            figure(picture(target.images[k], f"real picture {k + 1}"), target.names[k] or "", "")
            for k in spread(len(target.images), self.examples)
        ]
        if real:
            html.append(f"<h3>Real pictures of {escape(self.names[way[2]])}</h3>")
            html.append(row("video", real))
        return html

    def _by_model(self, model: Translator, direction: Direction) -> tuple[Tensor, dict[str, float]]:
        """What a model makes of the held-out pictures, and how good that is."""
        source = self.held_out[direction[0]].images
        found = _method(model, direction)(source)
        back: Direction = "b2a" if direction == "a2b" else "a2b"
        values = self._measure(found, direction)
        if back in model.directions:
            again = _method(model, back)(found)
            values |= {f"cycle_{k}": v for k, v in self._against(again, source).items()}
        return found, values

    def _measure(self, found: Tensor, direction: Direction) -> dict[str, float]:
        values = self._sets(found, direction[2])
        here, there = (self._pairs[direction[k]] for k in (0, 2))
        if here:
            values |= self._against(found[here], self.held_out[direction[2]].images[there])
        return values

    def _sets(self, found: Tensor, side: str) -> dict[str, float]:
        """Distances of a set of pictures to the held-out ones of a side."""
        features = features_of(found, self._extract)
        kernel = kernel_distance(features, self._real[side])
        return {
            "fid": frechet_distance(features, self._real[side]),
            "kid": kernel.mean,
            "kid_deviation": kernel.deviation,
            "sliced_wasserstein": sliced_wasserstein(found, self.held_out[side].images),
        }

    def _against(self, found: Tensor, truth: Tensor) -> dict[str, float]:
        values = {"psnr": psnr(found, truth), "ssim": ssim(found, truth)}
        if self._lpips is not None:
            values["lpips"] = self._lpips(found, truth)
        return values

    def _note(self) -> str:
        pairs = len(self._pairs["a"])
        notes = [n.format(features=features_name(self.settings), pairs=pairs) for n in _NOTES]
        return " ".join(note for k, note in enumerate(notes) if pairs or k != 2)

    def _bar(self, items: Iterable[Any], direction: str) -> Any:
        return tqdm(items, desc=direction, unit="model", leave=False, disable=not self.progress)


def _method(model: Translator, direction: Direction) -> Apply:
    return lambda pictures: model.translate(pictures, direction=direction)
