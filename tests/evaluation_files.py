"""Models and media small enough to evaluate in tests, and what a report's page holds."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import soundfile
import talking_clips  # noqa: F401  registers the networks that change nothing
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.demo.voices import SAMPLE_RATE, Speaker, say
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse


class Page(HTMLParser):
    """What a report's page says and shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[dict[str, list[str]]] = []
        """Cells of each table by the heading of their row."""
        self.sources: list[str] = []
        """Of all players and pictures."""
        self.players = 0
        self.sections: list[str] = []
        self.open: list[str] = []
        self._row: list[str] = []
        self._void = {"meta", "img", "source", "br"}
        self.feed(html)
        self.close()

    @staticmethod
    def content(source: str) -> bytes:
        """What a data URI holds."""
        return base64.b64decode(source.partition(";base64,")[2])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self._void:
            self.open.append(tag)
        self.sources += [v for k in ("src", "srcset", "poster") if (v := found.get(k))]
        self.players += tag in ("audio", "video")
        if tag == "section":
            self.sections.append(found["id"] or "")
        if tag == "table":
            self.tables.append({})
        if tag in ("th", "td"):
            self._row.append("")
        if tag == "tr":
            self._row = []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is closed where it is not open"
        if tag == "tr":
            self.tables[-1][self._row[0]] = self._row[1:]

    def handle_data(self, data: str) -> None:
        if "tr" in self.open and self.open[-1] in ("th", "td"):
            self._row[-1] += data


def voice_folders(root: Path, held_out: tuple[int, ...] = (90, 91)) -> dict[str, Path]:
    """Two voices: five recordings of a second to learn from, none shared, and ``held_out`` by
    both."""
    sides: tuple[tuple[Speaker, int], ...] = (("a", 0), ("b", 5))
    for side, first in sides:
        folder = root / side
        folder.mkdir(parents=True)
        for number in (*range(first, first + 5), *held_out):
            samples = say(number, side, timing_of="a")[:SAMPLE_RATE]
            name = f"held{number}" if number in held_out else f"{number}"
            soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE)
    return {"a": root / "a", "b": root / "b"}


def voice_model(folder: Path) -> Path:
    """A model that moves the mean and deviation of spectra and of pitch, and does no more."""
    analysis = AnalysisConfig(f0="dio")
    ways: Any = {way: {"name": "test_same_voice"} for way in ("a2b", "b2a")}
    sides: tuple[Speaker, ...] = ("a", "b")
    speakers = {
        side: SpeakerStatistics.from_features([analyse(say(0, side), analysis)]) for side in sides
    }
    config = ModelConfig(
        modality="voice", generators=ways, analysis=analysis.model_dump(mode="json")
    )
    tensors = {k: v for side, one in speakers.items() for k, v in one.to_tensors(side).items()}
    networks: Any = {way: build(spec) for way, spec in ways.items()}
    return save_model(folder, PretrainedModel(config, networks, tensors))


def picture_model(folder: Path, scale: float = 1.0) -> Path:
    """A model that multiplies pictures by ``scale``, in both directions."""
    ways: Any = {way: {"name": "test_same_picture"} for way in ("a2b", "b2a")}
    networks: Any = {way: build(spec) for way, spec in ways.items()}
    for network in networks.values():
        torch.nn.init.constant_(network.scale, scale)
    return save_model(
        folder, PretrainedModel(ModelConfig(modality="image", generators=ways), networks)
    )
