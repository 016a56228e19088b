"""A backbone of another package: installed, named in a recipe, trained, saved and loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_runs import EXACT, pictures, recipe

from cyclegan_media.backbones import available, backbone_class, build, registry
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import load_model
from cyclegan_media.training import train

CODE = '''
"""A generator that mixes colours."""

from pydantic import Field
from torch import nn

from cyclegan_media.backbones import Backbone, BackboneConfig


class Config(BackboneConfig):
    width: int = Field(4, ge=1)


class ColourMixer(Backbone):
    Config = Config
    modality = "image"
    role = "generator"

    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Conv2d(3, config.width, 1), nn.ReLU(), nn.Conv2d(config.width, 3, 1), nn.Tanh()
        )

    def forward(self, x):
        self.check_input(x)
        return self.layers(x)


class NoBackbone:
    pass
'''
ENTRY_POINTS = """[cyclegan_media.backbones]
colour_mixer = colour_mixer_plugin:ColourMixer
no_backbone = colour_mixer_plugin:NoBackbone
broken = colour_mixer_plugin_that_is_gone:Anything
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What pip leaves of a package: its module and the metadata that names its entry points."""
    (tmp_path / "site" / "colour_mixer_plugin-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "colour_mixer_plugin.py").write_text(CODE)
    info = tmp_path / "site" / "colour_mixer_plugin-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-mixer-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    yield
    sys.modules.pop("colour_mixer_plugin", None)


@pytest.mark.usefixtures("installed")
def test_an_installed_backbone_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    assert "colour_mixer" in available()
    assert "colour_mixer_plugin" not in sys.modules  # not imported before it is named

    generator = {"name": "colour_mixer", "width": 3}
    own = recipe({**EXACT, "model": {**EXACT["model"], "generator": generator}}, steps=2)
    assert own.model.generator == generator
    result = train(own, pictures(tmp_path), tmp_path / "run", device="cpu", progress=False)
    assert result.model is not None
    model = load_model(result.model)
    assert type(model.generators["a2b"]) is backbone_class("colour_mixer")

    # Any size will do for 1 × 1 convolutions, and the weights are those that were trained.
    x = torch.rand(1, 3, 5, 7)
    fresh = build(generator)
    fresh.load_state_dict(model.generators["a2b"].state_dict())
    assert torch.equal(fresh(x), model.generators["a2b"](x))


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_an_installed_backbone_is_said() -> None:
    def content(name: str, **keys: int) -> dict[str, object]:
        return {**EXACT, "model": {**EXACT["model"], "generator": {"name": name, **keys}}}

    for generator, says in (
        (content("colour_mixer", wdith=3), "model.generator.wdith: unknown key; 'colour_mixer' kn"),
        (content("no_backbone"), r"'no_backbone' \(colour_.*\) is not a Backbone class"),
        (content("broken"), r"'broken' \(colour_.*\) cannot be imported: No module named"),
    ):
        with pytest.raises(UserError, match=says):
            recipe(generator)


def test_a_model_of_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="no backbone is called 'colour_mixer'; there are: "):
        build({"name": "colour_mixer"})
