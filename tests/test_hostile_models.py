"""Model folders, checkpoints and training states made to harm who opens them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_files import tiny_model
from test_pretrained_vocoders import HIFIGAN

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import load_model
from cyclegan_media.pretrained.published import import_published
from cyclegan_media.pretrained.vocoders import load_vocoder
from cyclegan_media.training.checkpoint import read_state, score_of


def refused(read: Callable[[], object], path: Path, *said: str) -> None:
    with pytest.raises(UserError) as caught:
        read()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    for part in said:
        assert part in str(caught.value)


class Executed:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def packed(path: Path) -> None:
    """The zip of a checkpoint, with its tensors compressed: 64 MB of zeros in 64 kB."""
    plain = io.BytesIO()
    torch.save({"format": 1, "weight": torch.zeros(16_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            target.writestr(entry.filename, content, compress_type=zipfile.ZIP_DEFLATED)


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "runs code": (lambda path: torch.save(Executed(), path), ""),
    "runs code in a tensor's place": (
        lambda path: torch.save({"format": 1, "model.1.weight": Executed()}, path),
        "",
    ),
    "runs code, as a bare pickle": (
        lambda path: path.write_bytes(pickle.dumps({"format": 1, "a": Executed()}, protocol=2)),
        "",
    ),
    "packed": (packed, "refused, since it unpacks to"),
    "one number a billion times": (
        lambda path: torch.save({"format": 1, "a": torch.zeros(1).expand(1 << 40)}, path),
        "refused, since its tensors have 4398046511104 bytes",
    ),
    "sparse": (
        lambda path: torch.save(
            {"format": 1, "a": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,))}, path
        ),
        "refused, since it holds tensors that are not plain",
    ),
    "of no memory": (
        lambda path: torch.save({"format": 1, "a": torch.zeros(1 << 40, device="meta")}, path),
        "refused, since it holds tensors that are not plain",
    ),
    "a terabyte promised": (
        # The old format states the size of each storage before its content.
        lambda path: path.write_bytes(promised(1 << 38)),
        "",
    ),
}


def promised(numbers: int) -> bytes:
    content = io.BytesIO()
    torch.save({"a": torch.zeros(7654)}, content, _use_new_zipfile_serialization=False)
    return content.getvalue().replace(
        b"M" + struct.pack("<H", 7654), b"\x8a\x08" + struct.pack("<q", numbers)
    )


def read_vocoder(path: Path) -> object:
    """As the weights of a HiFi-GAN."""
    (path.parent / "config.json").write_text(json.dumps(HIFIGAN))
    return load_vocoder(path)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("case", CHECKPOINTS)
@pytest.mark.parametrize(
    "read", [import_published, read_state, read_vocoder], ids=["import", "resume", "vocoder"]
)
def test_checkpoints(
    case: str, read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, said = CHECKPOINTS[case]
    path = tmp_path / "g.pth"
    make(path)
    refused(lambda: read(path), path, said)
    assert not (tmp_path / "executed").exists()


def lying(folder: Path, change: Callable[[dict[str, Any]], object], more: bytes = b"") -> Path:
    """The weights of a model, whose header says something else."""
    path = folder / "generator_a2b.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :] + more)
    return path


def overlapping(header: dict[str, Any]) -> None:
    first, second = list(header)[:2]
    header[second]["data_offsets"] = header[first]["data_offsets"]


def wrong_size(header: dict[str, Any]) -> None:
    header[next(iter(header))]["dtype"] = "F64"


def backwards(header: dict[str, Any]) -> None:
    header[next(iter(header))]["data_offsets"].reverse()


def negative(header: dict[str, Any]) -> None:
    header[next(iter(header))]["data_offsets"][0] = -4


def wrapped(header: dict[str, Any]) -> None:
    header[next(iter(header))]["shape"] = [1 << 32, 1 << 32, 4]


def unknown_kind(header: dict[str, Any]) -> None:
    header[next(iter(header))]["dtype"] = "os.system"


def nested(header: dict[str, Any]) -> None:
    inner: list[Any] = []
    for _ in range(900):
        inner = [inner]
    header[next(iter(header))]["shape"] = inner


@pytest.mark.parametrize(
    "change", [overlapping, wrong_size, backwards, negative, wrapped, unknown_kind, nested]
)
def test_weights_whose_header_lies(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    folder = tiny_model(tmp_path / "model")
    refused(lambda: load_model(folder), lying(folder, change), "is damaged or not a safetensors")


def test_bytes_that_no_header_speaks_of(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    path = lying(folder, lambda header: None, b"#!/bin/sh\n")
    refused(lambda: load_model(folder), path, "is damaged")


def configured(folder: Path, **keys: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    return path


RESNET = {"name": "resnet", "width": 2, "blocks": 1}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"generators": {"a2b": {"name": "os.system"}}}, "os.system"),
        ({"generators": {"a2b": {"name": "os:system"}}}, "os:system"),
        ({"generators": {"a2b": {"name": "a_backbone_of_others"}}}, "a_backbone_of_others"),
        ({"generators": {"a2b": {**RESNET, "width": 10**9}}}, "width"),
        ({"generators": {"a2b": {**RESNET, "blocks": 10**9}}}, "blocks"),
        ({"generators": {"a2b": {**RESNET, "width": 10**400}}}, "width"),
        ({"generators": {"a2b": {**RESNET, "channels": 2.5}}}, "channels"),
        ({"generators": {"a2b": RESNET, "../../x": RESNET}}, "generators"),
        ({"networks": {"../../etc/passwd": RESNET}}, "networks"),
        ({"networks": {"a/b": RESNET}}, "networks"),
        ({"networks": {"/etc/passwd": RESNET}}, "networks"),
        ({"networks": {"a\n": RESNET}}, "networks"),
        ({"networks": {"a\0b": RESNET}}, "networks"),
        ({"networks": {"statistics": RESNET}}, "networks"),
        ({"domains": {"a": "x" * 100, "b": ["y"]}}, "domains"),
        ({"entry_point": "os:system"}, "entry_point: unknown key"),
    ],
)
def test_configurations(keys: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    refused(lambda: load_model(folder), configured(folder, **keys), said)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_configuration_that_is_nested_deeply(depth: int, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    path = configured(folder, analysis={"faces": "X"})
    path.write_text(path.read_text().replace('"X"', "[" * depth + "]" * depth))
    if depth == 200:  # data like other data, of which nothing is made
        assert load_model(folder).config.analysis is not None
    else:
        refused(lambda: load_model(folder), path)


def test_a_score_that_is_nested_deeply_is_none(tmp_path: Path) -> None:
    (tmp_path / "score.json").write_text('{"score": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert score_of(tmp_path) is None
