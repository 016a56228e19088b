"""A program of torch.export, saved and loaded again, computes the same at any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from many_to_many import GENERATOR
from test_translate_voice import SPEC as VOICE

from cyclegan_media.backbones.registry import Modality, build
from cyclegan_media.errors import UserError
from cyclegan_media.export import export_model, load_onnx
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model


@pytest.mark.parametrize(
    ("spec", "modality"),
    [
        ({"name": "resnet", "width": 4, "blocks": 1}, "image"),
        ({"name": "unet", "width": 4, "downsamplings": 3}, "image"),
        (GENERATOR, "image"),
        (VOICE, "voice"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_program_computes_what_the_network_does_at_any_size(
    spec: dict[str, Any], modality: Modality, tmp_path: Path
) -> None:
    config = ModelConfig(modality=modality, generators={"b2a": spec})
    save_model(tmp_path / "model", PretrainedModel(config, {"b2a": build(spec).eval()}))
    network = load_model(tmp_path / "model").generators["b2a"]
    folder = export_model(tmp_path / "model", tmp_path / "torch", "torch")
    graph = json.loads((folder / "export.json").read_text())["generators"]["b2a"]
    program = torch.export.load(folder / graph["file"]).module()
    step = graph["multiple"]
    for batch, rows, columns in ((1, 5, 7), (3, 9, 2), (2, 4, 13)):
        size = (24, step * rows) if modality == "voice" else (3, step * rows, step * columns)
        inputs = [torch.rand(batch, *size) * 2 - 1]
        if graph["latent"]:
            inputs.append(torch.randn(batch, graph["latent"]))
        with torch.no_grad():
            torch.testing.assert_close(program(*inputs), network(*inputs), atol=1e-5, rtol=0)


def test_onnx_runtime_does_not_take_it(tmp_path: Path) -> None:
    spec = {"name": "resnet", "width": 4, "blocks": 1}
    config = ModelConfig(modality="image", generators={"a2b": spec})
    save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec).eval()}))
    export_model(tmp_path / "model", tmp_path / "torch", "torch")
    with pytest.raises(UserError, match="exported for torch"):
        load_onnx(tmp_path / "torch")
