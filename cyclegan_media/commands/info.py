"""``cyclegan-media info``"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from cyclegan_media.commands.completion import completed_by, names_and_files
from cyclegan_media.commands.options import add_json, add_parser, print_json
from cyclegan_media.errors import one_line
from cyclegan_media.media.provenance import Provenance, without_records

_EXAMPLES = """\
examples:
  cyclegan-media info clip.mp4
  cyclegan-media info models/horse2zebra
  cyclegan-media info cyclegan_vc
  cyclegan-media info photo.jpg --json

Of a recipe that comes with the toolkit it prints what the file states; --json has the defaults and
the numbers of parameters, too. Of a video, the streams marked * are those that are used unless
others are named.
"""

_BRANDS = ("major_brand", "minor_version", "compatible_brands")
"""Of an MP4 file: they say nothing to people."""


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "info",
        "say what a file, a model or a recipe is",
        _EXAMPLES,
        run,
    )
    target = parser.add_argument(
        "target",
        metavar="FILE|MODEL|RECIPE",
        help="a media file, a published checkpoint, a model folder, the folder of a training, a"
        " folder of media, a recipe file or the name of a recipe",
    )
    completed_by(target, names_and_files)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from cyclegan_media.commands.describe import describe

    description = describe(args.target, brief=not args.json)
    if args.json:
        print_json(description)
    else:
        for text in render(description):
            for line in text.split("\n"):  # a tag may have several
                print(one_line(line))
    return 0


def render(description: Mapping[str, Any]) -> list[str]:
    """A description as lines for people."""
    return _RENDER[description["kind"]](description)


def _image(d: Mapping[str, Any]) -> list[str]:
    size = f"{d['width']} × {d['height']} pixels"
    lines = [
        f"{d['path']}: a picture",
        f"  format        {d['format']}, {_bytes(d['bytes'])}",
        f"  size          {size}, {d['bits']} bits a channel ({d['mode']})",
        f"  transparency  {_yes(d['transparency'])}",
        f"  colours       {d['colour_profile'] or 'no profile: sRGB is assumed'}",
    ]
    if d["exif_orientation"] != 1:
        lines.append(f"  orientation   stored turned (EXIF {d['exif_orientation']})")
    if d["pictures"] != 1:
        lines.append(f"  pictures      {d['pictures']}: an animation or pages")
    return lines + [f"  synthetic     {text}" for text in _synthetic(d)]


def _streams(d: Mapping[str, Any]) -> list[str]:
    what = "a video" if d["kind"] == "video" else "a recording"
    rate = f", {d['bit_rate'] / 1000:.0f} kbit/s" if d["bit_rate"] else ""
    lines = [
        f"{d['path']}: {what}",
        f"  container  {d['container']}, {_bytes(d['bytes'])}",
        f"  duration   {_seconds(d['duration'])}{rate}",
        "  streams",
    ]
    for stream in d["streams"]:
        mark = "*" if stream["chosen"] else " "
        name = f"{stream['type']} {stream['number']}"
        facts = [stream["codec"] or "unknown codec", *_facts(stream)]
        if stream["language"] not in (None, "und"):
            facts.append(stream["language"])
        lines.append(f"  {mark} {name:11}  {', '.join(facts)}")
    lines += [f"  synthetic  {text}" for text in _synthetic(d)]
    for key, value in d["metadata"].items():
        shown = without_records(value)
        if shown and key not in _BRANDS:
            lines.append(f"  {key:9}  {shown}")
    return lines


def _synthetic(d: Mapping[str, Any]) -> list[str]:
    """What the file says of its making, in words."""
    lines = [Provenance(**record).describe() for record in d["synthetic"]]
    if d.get("credentials"):
        lines.append("{state} content credentials, signed by {signer}".format(**d["credentials"]))
    return lines


def _facts(stream: Mapping[str, Any]) -> list[str]:
    if stream["codec"] is None:
        return []
    if stream["type"] in ("video", "cover"):
        facts = [f"{stream['width']} × {stream['height']}"]
        if stream["pixel_aspect"] != "1:1":
            facts.append(f"pixels {stream['pixel_aspect']}")
        if stream.get("rotation"):
            facts.append(f"shown turned by {stream['rotation']}°")
        if stream["frame_rate"]:
            facts.append(f"{stream['frame_rate']:.5g} frames/s")
        facts.append(f"{stream['frames'] or 'unknown number of'} frames")
        colour = (stream["pixel_format"], stream["colour_matrix"], stream["colour_range"])
        facts.append(" ".join(filter(None, colour)))
        return facts
    if stream["type"] == "audio":
        return [f"{stream['sample_rate']} Hz", stream["layout"]]
    return []


def _model(d: Mapping[str, Any]) -> list[str]:
    things = "voices" if d["modality"] == "voice" else "pictures and videos"
    lines = [f"{d['path']}: a model of {things}"]
    for way in d["directions"]:
        lines.append(f"  {way['direction']}      {way['from']} → {way['to']}")
        lines.append(f"           {_spec(way['spec'])}; {_count(way['parameters'])} parameters")
        if way["latent"]:
            lines.append(f"           many-to-many: latent of {way['latent']} numbers")
    steps = None if d["steps"] is None else f"{d['steps']} steps"
    average = "moving average of the weights" if d["ema"] else None
    rows = {
        "made": ", ".join(filter(None, (d["origin"], steps, average))),
        "recipe": d["recipe"],
        "paper": d["paper"],
        "analysis": _spec(d["analysis"]) if d["analysis"] else None,
        "version": d["toolkit_version"],
    }
    return lines + [f"  {key:8} {value}" for key, value in rows.items() if value]


def _training(d: Mapping[str, Any]) -> list[str]:
    lines = [f"{d['path']}: a training by the recipe {d['recipe']} ({d['modality']})"]
    for checkpoint in d["checkpoints"]:
        score = checkpoint["score"]
        shown = "" if score is None else f", score {score:.4g}"
        lines.append(f"  checkpoint   after {checkpoint['steps']} steps{shown}")
    if d["model"] is None:
        return [*lines, "  model        none yet: the training has not ended"]
    return lines + render(d["model"])


def _recipe(d: Mapping[str, Any]) -> list[str]:
    from cyclegan_media.commands.describe import networks_of

    trainer, counts = d["trainer"], d.get("parameters", {})
    unit = "steps" if trainer.get("steps") is not None else "epochs"
    length = f"{trainer[unit]} {unit} and {trainer.get(f'decay_{unit}') or 0} of decay"
    rows = {
        "what": d["description"],
        "paper": d["paper"],
        "data": d["data_wanted"],
        "cost": d.get("cost"),
        "domains": " and ".join(d.get("domains", ())),
        **{
            part: "; ".join(
                [_spec(spec), *([f"{_count(counts[part])} parameters"] if part in counts else [])]
            )
            for part, spec in networks_of(d["model"]).items()
        },
        "objective": "; ".join(
            " ".join([name, *(f"{key} {value}" for key, value in (keys or {}).items())])
            for name, keys in d["objective"].items()
        ),
        "samples": _spec({k: v for k, v in d["data"].items() if not isinstance(v, dict)}),
        "analysis": _spec(d["data"].get("analysis") or {}),
        "augment": _spec({k: v for k, v in (d["data"].get("augment") or {}).items() if v}),
        "optimiser": ", ".join(["Adam", *filter(None, [_spec(d.get("optimiser") or {})])]),
        "length": f"{length}, batch {trainer.get('batch_size', 1)}",
    }
    lines = [f"{d['name']}: a recipe for {d['modality']}s ({d['path']})"]
    return lines + [f"  {key:13}  {value}" for key, value in rows.items() if value]


def _checkpoint(d: Mapping[str, Any]) -> list[str]:
    return [
        f"{d['path']}: a published checkpoint, {_bytes(d['bytes'])}",
        f"  holds  {_spec(d['spec'])}; {_count(d['parameters'])} parameters",
        "  use    cyclegan-media import makes a model folder of a generator",
    ]


def _folder(d: Mapping[str, Any]) -> list[str]:
    files = d["files"]
    counts = f"{files['image']} pictures, {files['video']} videos, {files['audio']} recordings"
    return [f"{d['path']}: a folder with {counts}"]


_RENDER = {
    "image": _image,
    "video": _streams,
    "audio": _streams,
    "model": _model,
    "training": _training,
    "recipe": _recipe,
    "checkpoint": _checkpoint,
    "folder": _folder,
}


def _spec(spec: Mapping[str, Any]) -> str:
    """``resnet, width 64, blocks 9``: a mapping on one line, the name first and bare."""
    parts = [str(spec["name"])] if "name" in spec else []
    for key, value in spec.items():
        if key != "name" and value is not None:
            parts.append(f"{key.replace('_', ' ')} {_yes(value)}")
    return ", ".join(parts)


def _yes(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _count(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else str(number)


def _bytes(number: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000  # type: ignore[assignment]
    return f"{number:.3g} GB"


def _seconds(duration: float | None) -> str:
    if duration is None:
        return "unknown"
    minutes, seconds = divmod(duration, 60)
    return f"{int(minutes)} min {seconds:.1f} s" if minutes else f"{seconds:.3g} s"
