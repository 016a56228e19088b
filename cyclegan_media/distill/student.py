"""Which network a student is, and what networks cost."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_media.backbones import Backbone, build, spec_of
from cyclegan_media.errors import UserError

SHARE = 0.1
"""Of its teacher's arithmetic, at most, that a student takes where it is left to choose."""
_SIZES = ((16, 6), (12, 6), (8, 6), (6, 4), (4, 2))
"""Widths and blocks to choose from."""


def operations(spec: dict[str, Any], size: tuple[int, int] = (256, 256)) -> int:
    """Floating-point operations of the convolutions and products for one picture.

    A multiplication and an addition are two, as is the custom. Nothing is computed: the network is
    built without memory.

    Args:
        spec: name and configuration of a generator of pictures.
        size: height and width in pixels; rounded up to what the network takes.
    """
    with torch.device("meta"):
        network = build(spec, modality="image", role="generator").eval()
        m = network.multiple
        height, width = (-(-max(side, network.minimum) // m) * m for side in size)
        picture = torch.empty(1, getattr(network.config, "channels", 3), height, width)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(picture)
    return int(counter.get_total_flops())


def student_spec(
    teacher: Backbone, width: int | None = None, blocks: int | None = None
) -> dict[str, Any]:
    """The generator that is to imitate ``teacher``: a ResNet of CycleGAN, far more slender.

    On its few channels most time goes into memory, not arithmetic, so a block more costs little; a
    wider network costs in proportion at every pixel. Left to choose, it is the largest of some
    sizes, of which 16 channels and 6 blocks is the first, that takes a tenth of the teacher's
    arithmetic.

    Args:
        width, blocks: as in the configuration of ``resnet``.

    Raises:
        UserError: the teacher is no generator of pictures in RGB, draws its results at random by a
            code, or is so small that no student is a tenth of it.
    """
    if teacher.modality != "image":
        raise UserError("distilling is for models of pictures; this teacher converts voices")
    if teacher.latent:
        raise UserError("this teacher translates by a random code, which a student cannot imitate")
    spec = spec_of(teacher)
    if spec.get("channels", 3) != 3:
        raise UserError(f"this teacher translates {spec['channels']} channels, not 3 (RGB)")
    most = SHARE * operations(spec)
    for usual_width, usual_blocks in _SIZES:
        student = {
            "name": "resnet",
            "width": width or usual_width,
            "blocks": blocks or usual_blocks,
        }
        if width is not None or operations(student) <= most:
            return student
    raise UserError(
        f"this teacher takes {operations(spec) / 1e9:.2g} GFLOP a picture of 256×256, and no"
        " student a tenth of it; ask for one by --width and --blocks, or use the teacher itself"
    )
