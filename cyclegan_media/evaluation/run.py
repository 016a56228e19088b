"""From models and files to a report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from cyclegan_media.datasets.discover import Files
from cyclegan_media.device import Device
from cyclegan_media.errors import UserError
from cyclegan_media.evaluation import history, image, voice
from cyclegan_media.evaluation.embedding import load_embedding
from cyclegan_media.evaluation.image_settings import RESERVED, ImageSettings
from cyclegan_media.evaluation.inputs import (
    StrPath,
    choose_files,
    describe_models,
    load_models,
    warn_where_all_was_learned,
)
from cyclegan_media.evaluation.report import Part, Report, check_report, write_report
from cyclegan_media.evaluation.tables import Measure, Table
from cyclegan_media.export import Runtime, open_model
from cyclegan_media.page.fragments import definitions
from cyclegan_media.pretrained.folder import toolkit_version
from cyclegan_media.translate import Translator
from cyclegan_media.translate.options import Options
from cyclegan_media.translate.precision import Precision


@dataclass(frozen=True)
class Settings:
    """How models are evaluated. Only what suits their kind is looked at."""

    held_out: str | None = None
    """A glob of the names to measure on; ``None`` holds out what a training does."""
    examples: int = 3
    """How many of each direction are shown."""
    options: Options = field(default_factory=Options)
    """How voices are converted: the vocoder, the postfilter."""
    embedding: StrPath | None = None
    """Voices: an ONNX model (:mod:`.embedding`) for the verifier."""
    image: ImageSettings = field(default_factory=ImageSettings)
    """How pictures and clips are measured."""
    runtime: Runtime = "torch"
    """What runs the networks; ``onnx`` takes exported models, too."""
    device: Device = "auto"
    precision: Precision = "auto"
    progress: bool = False


class Evaluation(Protocol):
    """What a report asks of the evaluation of one kind of model."""

    measures: Sequence[Measure]

    def compare(self, models: Mapping[str, Translator]) -> None:
        """Measure what is compared, and ``models`` beside it; once, before all that follows."""

    def score(self, model: Translator) -> history.Scores:
        """What one model reaches."""

    def tables(self) -> Mapping[str, Table]: ...

    def parts(self) -> list[Part]: ...

    def data(self) -> dict[str, Any]: ...

    def facts(self) -> dict[str, object]: ...


def evaluate(
    models: Sequence[StrPath],
    data_a: StrPath,
    data_b: StrPath,
    out: StrPath,
    *,
    runs: Sequence[StrPath] = (),
    settings: Settings | None = None,
    overwrite: bool = False,
) -> Report:
    """Measure models on held-out files, beside baselines, and write ``out`` and its JSON.

    Args:
        models: model folders, all of one kind, or folders of trainings.
        data_a, data_b: folders of the two domains.
        out: the page, ``….html``.
        runs: folders of trainings, of which every kept checkpoint is measured, too.

    Raises:
        UserError: what is given cannot be read or does not go together; nothing is written.
        RunError: the disk is full, or there is not enough memory.
    """
    settings = settings or Settings()
    page, trainings = Path(out), _named([Path(run) for run in runs])
    check_report(page, overwrite=overwrite)
    where: dict[str, Any] = {
        "runtime": settings.runtime,
        "device": settings.device,
        "precision": settings.precision,
    }
    loaded = load_models(
        models,
        (*voice.RESERVED, *RESERVED),
        runs={name: history.published(run) for name, run in trainings.items()},
        **where,
    )
    first = next(iter(loaded.values()))
    if first.modality == "voice":
        voice.check_vocoder(loaded.values(), settings.options)
    kinds = ("audio",) if first.modality == "voice" else ("image", "video")
    files = choose_files(data_a, data_b, kinds, settings.held_out)
    if settings.held_out is None:
        warn_where_all_was_learned([*models, *runs], files)
    names = {"a": Path(data_a).resolve().name, "b": Path(data_b).resolve().name}
    if names["a"] == names["b"]:
        names = {"a": "A", "b": "B"}
    evaluation = _evaluation(first, files, names, settings)
    evaluation.compare(loaded)
    traces = {}
    for name, run in trainings.items():
        with tqdm(desc=f"checkpoints of {name}", leave=False, disable=not settings.progress) as bar:

            def score(folder: Path, bar: Any = bar) -> history.Scores:
                bar.update()
                return evaluation.score(open_model(folder, **where))

            traces[name] = history.trace(run, score)
    report = _report(evaluation, loaded, traces, settings, files)
    write_report(report, page, overwrite=overwrite)
    return report


def _evaluation(
    model: Translator, files: Files, names: Mapping[str, str], settings: Settings
) -> Evaluation:
    if model.modality == "voice":
        embed = None if settings.embedding is None else load_embedding(settings.embedding)
        return voice.VoiceEvaluation(
            files,
            names,
            embed=embed,
            options=settings.options,
            examples=settings.examples,
            progress=settings.progress,
        )
    if settings.embedding is not None:
        raise UserError(f"{settings.embedding}: an embedding of speakers is for models of voices")
    return image.ImageEvaluation(
        files,
        names,
        settings.image,
        examples=settings.examples,
        device=model.device,
        progress=settings.progress,
    )


def _report(
    evaluation: Evaluation,
    models: dict[str, Translator],
    traces: Mapping[str, dict[str, Any]],
    settings: Settings,
    files: Files,
) -> Report:
    tables = evaluation.tables()
    parts = evaluation.parts()
    if traces:
        parts.append(history.part_of(traces, evaluation.measures, tables))
    described = describe_models(models)
    made = {
        "Date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "Toolkit": toolkit_version(),
        "PyTorch": torch.__version__,
        **({"Networks": "run by ONNX Runtime"} if settings.runtime == "onnx" else {}),
        "Machine": f"{platform.system()} {platform.machine()}, models on {_device(models)}",
        "Held out": _held_out(files, settings),
        **evaluation.facts(),
    }
    html = [definitions(made)]
    for name, facts in described.items():
        html += [f"<h3>{escape(name)}</h3>", definitions(_readable(facts))]
    parts.append(Part("made", "How this was made", html))
    modality = next(iter(models.values())).modality
    names = list(models)
    return Report(
        title=f"Evaluation of {', '.join(names)}",
        introduction="Measured on held-out files, beside the input as it is and trivial methods.",
        parts=parts,
        tables=list(tables.values()),
        data={
            "modality": modality,
            "models": described,
            **evaluation.data(),
            **({"training": dict(traces)} if traces else {}),
            "made": {key: str(value) for key, value in made.items()},
        },
    )


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Trainings by their folder's name, or by the whole path where that is ambiguous."""
    names = [run.resolve().name for run in runs]
    return {
        name if names.count(name) == 1 else str(run): run
        for name, run in zip(names, runs, strict=True)
    }


def _held_out(files: Files, settings: Settings) -> str:
    how = (
        "as a training on these folders does"
        if settings.held_out is None
        else f"those named like {settings.held_out}"
    )
    return f"{len(files.held_out_a)} files of A and {len(files.held_out_b)} of B, {how}"


def _device(models: Mapping[str, Translator]) -> str:
    return ", ".join(sorted({f"{model.device} in {model.precision}" for model in models.values()}))


def _readable(facts: Mapping[str, Any]) -> dict[str, object]:
    """A model's facts for people."""
    shown = {"domains": " and ".join(facts["domains"].values())}
    shown["generators"] = ", ".join(f"{way}: {name}" for way, name in facts["generators"].items())
    rest = {key: facts[key] for key in ("recipe", "steps", "origin", "toolkit_version")}
    return {**shown, **{key: value for key, value in rest.items() if value is not None}}
