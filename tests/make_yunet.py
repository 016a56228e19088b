"""Make tests/golden/red_square.onnx: YuNet's inputs and outputs around a network that sees red.

    python tests/make_yunet.py

Trained weights of YuNet are not the project's to ship. OpenCV's decoder of its outputs (Wu, Peng,
Yu 2023; in each cell of strides 8, 16 and 32: score, box, five landmarks) works with any network
that gives them. This one finds a face in every cell of 32 × 32 pixels that is all red: twice as
high as wide, with landmarks at places that :data:`BOX` and :data:`LANDMARKS` say.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

BOX = (0.5, 0.5, math.log(1.0), math.log(2.0))
"""Middle relative to the cell, in cells; logarithm of width and height in cells."""
LANDMARKS = (0.2, 0.1, 0.8, 0.2, 0.5, 0.5, 0.3, 0.9, 0.7, 1.0)
"""x and y of each in turn, relative to the cell, in cells."""

NAMES = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]


class RedSquare(nn.Module):
    def forward(self, bgr: Tensor) -> tuple[Tensor, ...]:
        red = torch.relu(bgr[:, 2:3] - bgr[:, 1:2] - bgr[:, 0:1]) / 255
        scores, boxes, landmarks = [], [], []
        for stride in (8, 16, 32):
            cells = nn.functional.avg_pool2d(red, stride).permute(0, 2, 3, 1).reshape(1, -1, 1)
            scores.append(cells if stride == 32 else cells * 0)
            boxes.append(cells * 0 + torch.tensor(BOX))
            landmarks.append(cells * 0 + torch.tensor(LANDMARKS))
        return (*scores, *scores, *boxes, *landmarks)


def main() -> None:
    # The exporter asks for the package onnx to add functions that this network does not have.
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

    onnx_proto_utils._add_onnxscript_fn = lambda model, *_: model
    torch.onnx.export(
        RedSquare(),
        (torch.zeros(1, 3, 64, 64),),
        str(Path(__file__).parent / "golden" / "red_square.onnx"),
        input_names=["input"],
        output_names=NAMES,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
