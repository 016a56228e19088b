"""The comparison of libraries in int8, on a network and frames that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "bench_int8.py"


def test_libraries_are_compared_on_the_same_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = {"name": "resnet", "width": 8, "blocks": 2}  # its blocks have 32 channels
    config = ModelConfig(modality="image", generators={"a2b": spec})
    model = save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec)}))
    command = [sys.executable, str(SCRIPT), "--model", str(model), "--side", "32", "--rounds", "2"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert rows["this toolkit, fp32"]["psnr"] is None  # what the others are measured against
    # The same function by another library; in int8 a picture of the same scene, and not the same.
    assert rows["ONNX Runtime, fp32"]["psnr"] > 50
    assert 15 < rows["ONNX Runtime, int8"]["psnr"] < 50
    assert all(row["seconds"] > 0 and row["processor"] > 0 for row in rows.values())
    assert all(name in done.stdout for name in rows)
