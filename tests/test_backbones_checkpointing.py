"""Activation checkpointing: the same training, for less memory, of every heavy image backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cyclegan_media.backbones import Backbone, build
from cyclegan_media.errors import UserError
from cyclegan_media.translate.tiles_memory import LiveBytes

RESNET = {"name": "resnet", "width": 4, "blocks": 3}
UNET = {"name": "unet", "width": 4, "downsamplings": 6}
GLOBAL = {"name": "pix2pixhd_global", "width": 4, "downsamplings": 2, "blocks": 3}
ENHANCER = {"name": "pix2pixhd_enhancer", "width": 4, "downsamplings": 2, "blocks": 2}
SPECS = [
    RESNET,
    {**RESNET, "dropout": True},
    UNET,
    {**UNET, "dropout": True},
    GLOBAL,
    ENHANCER,
    {"name": "cin_resnet", "width": 4, "blocks": 3, "latent": 5},
]


def kept_bytes(generator: Backbone, x: torch.Tensor) -> tuple[int, torch.Tensor]:
    """What exists between the forward and the backward pass, and the output."""
    with LiveBytes() as live:
        output = generator(x)
    return live.now, output


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_checkpointing_saves_memory_and_changes_nothing(spec: dict[str, Any]) -> None:
    plain, frugal = build(spec), build({**spec, "checkpointing": True})
    frugal.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    results = []
    for generator in (plain, frugal):
        torch.manual_seed(5)  # dropout's
        kept, output = kept_bytes(generator, x)
        loss = output.square().mean()
        loss.backward()
        after = torch.rand(1)  # the random numbers go on as if nothing had been computed twice
        results.append((kept, loss, after, [p.grad for p in generator.parameters()]))
    (kept_plain, loss_plain, after_plain, gradients_plain) = results[0]
    (kept_frugal, loss_frugal, after_frugal, gradients_frugal) = results[1]
    assert torch.equal(loss_plain, loss_frugal)
    assert torch.equal(after_plain, after_frugal)
    for one, other in zip(gradients_plain, gradients_frugal, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
    assert any(bool(gradient.any()) for gradient in gradients_plain if gradient is not None)
    # A U-Net's skips are kept in any case.
    assert kept_frugal < kept_plain * (0.75 if spec["name"] == "unet" else 0.5)


def test_dropout_does_something_in_these_networks() -> None:
    for spec in ({**RESNET, "dropout": True}, {**UNET, "dropout": True}):
        generator = build({**spec, "checkpointing": True})
        x = torch.rand(1, 3, 64, 64) * 2 - 1
        assert not torch.equal(generator(x), generator(x))


def test_without_gradients_nothing_is_kept() -> None:
    generator = build({**RESNET, "checkpointing": True})
    with torch.no_grad():
        kept, output = kept_bytes(generator, torch.rand(1, 3, 64, 64))
    assert kept == output.nbytes


@pytest.mark.parametrize("spec", [RESNET, UNET])
def test_batch_normalisation_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"backbone\.checkpointing: .*norm: instance"):
        build({**spec, "norm": "batch", "checkpointing": True})
