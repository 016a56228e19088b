"""Model cards: what a model is, was measured to do and is meant for, as the Hub shows it.

Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv 1810.03993: the card states the
model, its intended use, metrics, and what to be careful of.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.pretrained.folder import ModelConfig

LIBRARY = "cyclegan-media"
_LONGEST_TABLE = 200

_CONSENT = """\
Do not turn pictures or voices of people into those of others without the consent of both. What the
toolkit writes says in its tags that it is synthetic, and by which model; leave that in."""

_LIMITATIONS = """\
It was learned from unpaired examples: nothing held a translation to a true counterpart. Inputs
unlike both domains give results that mean nothing, and details may be invented or lost. It must not
be used as evidence, for diagnosis, or to identify anybody."""


def model_card(
    config: ModelConfig,
    name: str,
    *,
    repository: str | None = None,
    licence: str | None = None,
    metrics: dict[str, Any] | None = None,
) -> str:
    """The text of ``README.md``, with the front matter that the Hub reads.

    Args:
        config: of the model folder.
        name: what the model is called.
        repository: ``user/model``, which the example is to load.
        licence: as the Hub abbreviates it (``apache-2.0``); none is stated if there is none.
        metrics: of a report of ``cyclegan-media evaluate``.
    """
    voice = config.modality == "voice"
    front: dict[str, Any] = {
        "library_name": LIBRARY,
        "pipeline_tag": "audio-to-audio" if voice else "image-to-image",
        "tags": ["cyclegan", "unpaired", "voice-conversion" if voice else "domain-transfer"],
    }
    if licence:
        front["license"] = licence
    a, b = (_plain(config.domains[key]) for key in ("a", "b"))
    ways = {"a2b": f"{a} → {b}", "b2a": f"{b} → {a}"}
    facts = {
        "Translates": ", ".join(ways[way] for way in config.generators),
        "Medium": "voices" if voice else "pictures and videos",
        "Networks": ", ".join(sorted({str(s.get("name")) for s in config.generators.values()})),
        "Recipe": config.recipe,
        "Paper": config.paper,
        "Steps of training": config.steps,
        "Origin": config.origin,
        "Licence": licence or "not stated; ask the author",
    }
    file = "recording.wav" if voice else "input.jpg"
    target = "output.wav" if voice else "output.jpg"
    source = f"hf:{repository}" if repository else "PATH/TO/MODEL"
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        f"# {_plain(name)}",
        *(f"- {key}: {_plain(value)}" for key, value in facts.items() if value is not None),
        f"\n## Use\n\n    cyclegan-media translate {file} -m {source} -o {target}",
        "\n## Intended use\n",
        f"Translating {facts['Medium']} between the domains “{a}” and “{b}”, for art, research and"
        " teaching.",
        f"\n## Metrics\n\n{_metrics(metrics)}",
        f"\n## Consent\n\n{_CONSENT}",
        f"\n## Limitations\n\n{_LIMITATIONS}",
    ]
    return "\n".join(lines) + "\n"


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The numbers of a report.

    Raises:
        UserError: it cannot be read or is no JSON object.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: is no report of `cyclegan-media evaluate`")
    return data


def _metrics(metrics: dict[str, Any] | None) -> str:
    rows = _numbers(metrics or {})
    if not rows:
        return "None were given."
    shown = [f"| {_plain(key)} | {value:.4g} |" for key, value in rows[:_LONGEST_TABLE]]
    return "\n".join(["| metric | value |", "| --- | ---: |", *shown])


def _numbers(value: Any, key: str = "") -> list[tuple[str, float]]:
    """All numbers of plain data, by their path."""
    if isinstance(value, dict):
        return [n for k, v in value.items() for n in _numbers(v, f"{key}.{k}" if key else str(k))]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [(key, value)]
    return []


def _plain(text: object) -> str:
    """Text of a file as it may stand in Markdown: no line breaks, tables or tags of its own."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
