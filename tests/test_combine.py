"""Several models as one: the mean of what each makes, usable wherever a model is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from video_files import moving, write_video

import cyclegan_media
from cyclegan_media.backbones import build, parse_config, spec_of
from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.media.audio_writer import write_audio
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.pretrained.combine import combine_models
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse

RESNET = {"name": "resnet", "width": 4, "blocks": 1}
UNET = {"name": "unet", "width": 4, "downsamplings": 5}
GATED = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
VC2 = {"name": "vc2", "width": 2, "coefficients": 24}
CONFIG = AnalysisConfig(f0="dio")


def pictures(seed: int, spec: dict[str, Any] = RESNET) -> PretrainedModel:
    torch.manual_seed(seed)
    return PretrainedModel(
        ModelConfig(modality="image", generators={"a2b": spec}, recipe=f"recipe {seed}"),
        {"a2b": build(spec).eval()},
    )


@pytest.fixture(scope="module")
def speakers() -> dict[str, torch.Tensor]:
    found = {}
    for side in ("a", "b"):
        items = [analyse(say(k, side), CONFIG) for k in (10, 11)]
        found |= SpeakerStatistics.from_features(items).to_tensors(side)
    return found


def voices(speakers: dict[str, torch.Tensor], seed: int, spec: dict[str, Any]) -> PretrainedModel:
    torch.manual_seed(seed)
    return PretrainedModel(
        ModelConfig(
            modality="voice",
            generators={"a2b": spec, "b2a": spec},
            analysis=CONFIG.model_dump(mode="json"),
        ),
        {"a2b": build(spec).eval(), "b2a": build(spec).eval()},
        dict(speakers),
    )


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    network = build({"name": "ensemble", "members": [RESNET, UNET]}).eval()
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    expected = (network.members[0](x) + network.members[1](x)) / 2  # type: ignore[index, operator]
    assert torch.equal(network(x), expected)
    assert (network.modality, network.multiple) == ("image", 32)
    assert spec_of(build(spec_of(network))) == spec_of(network)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([RESNET], "at least 2 items"),
        ([RESNET, GATED], "for pictures and for voices"),
        ([RESNET, {"name": "patchgan"}], "is for discriminator"),
        ([RESNET, {"name": "resnet", "wide": 3}], "members.1.wide: unknown key"),
        ([RESNET, {"name": "ensemble", "members": [RESNET, RESNET]}], "is an ensemble itself"),
    ],
)
def test_what_makes_no_ensemble_is_told(members: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config({"name": "ensemble", "members": members}, where="generators.a2b")


def test_ensembles_nested_deeply_are_refused_without_looking_into_them() -> None:
    spec: dict[str, Any] = RESNET
    for _ in range(2000):
        spec = {"name": "ensemble", "members": [spec, RESNET]}
    with pytest.raises(UserError, match="is an ensemble itself"):
        parse_config(spec, where="generators.a2b")


def test_a_mean_of_latent_codes_is_refused() -> None:
    with pytest.raises(UserError, match="takes latent codes"):
        build({"name": "ensemble", "members": [{"name": "cin_resnet"}, RESNET]})


def test_a_combined_folder_translates_as_the_mean_of_its_models(tmp_path: Path) -> None:
    folders = [save_model(tmp_path / f"m{k}", pictures(k, RESNET)) for k in range(3)]
    out = tmp_path / "combined"
    assert main(["combine", *map(str, folders), "-o", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["origin"] == "combined from m0, m1, m2"
    assert config["recipe"] == "recipe 0 + recipe 1 + recipe 2"
    x = torch.rand(1, 3, 40, 52) * 2 - 1
    each = [cyclegan_media.load(folder, precision="fp32").translate(x) for folder in folders]
    got = cyclegan_media.load(out, precision="fp32").translate(x)
    assert torch.allclose(got, torch.stack(each).mean(dim=0), atol=1e-6)


def test_a_combined_model_translates_videos_and_tiles(tmp_path: Path) -> None:
    model = combine_models({"one": pictures(0), "other": pictures(1, UNET)})
    folder = save_model(tmp_path / "combined", model)
    source = write_video(tmp_path / "clip.mp4", moving(3))
    command = ["translate", str(source), "-m", str(folder), "-o", str(tmp_path / "out.mp4")]
    assert main(command) == 0
    with VideoReader(tmp_path / "out.mp4") as video:
        assert len(list(video)) == 3
    picture = tmp_path / "in.png"
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.integers(0, 255, (150, 170, 3), dtype=np.uint8)).save(picture)
    made = {}
    for tile in ("off", "64"):
        target = tmp_path / f"{tile}.png"
        options = ["--tile", tile, "--precision", "fp32"]
        assert (
            main(["translate", str(picture), "-m", str(folder), "-o", str(target), *options]) == 0
        )
        made[tile] = np.asarray(PIL.Image.open(target)).astype(int)
    assert np.abs(made["off"] - made["64"]).max() <= 1


def test_voices_of_two_architectures_combine(
    speakers: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    models = {"vc": voices(speakers, 0, GATED), "vc2": voices(speakers, 1, VC2)}
    again = load_model(save_model(tmp_path / "both", combine_models(models)))
    x = torch.randn(1, 24, 64)
    for way in ("a2b", "b2a"):
        expected = torch.stack([model.generators[way](x) for model in models.values()]).mean(dim=0)
        assert torch.allclose(again.generators[way](x), expected, atol=1e-6)
    assert again.statistics.keys() == speakers.keys()
    source = write_audio(tmp_path / "in.wav", say(3, "a")[None], 16000)
    target = tmp_path / "out.wav"
    assert main(["translate", str(source), "-m", str(tmp_path / "both"), "-o", str(target)]) == 0
    assert target.exists()


def test_a_combination_of_combinations_counts_every_network_alike() -> None:
    models = [pictures(k) for k in range(3)]
    two = combine_models({"0": models[0], "1": models[1]})
    all_three = combine_models({"two": two, "2": models[2]})
    x = torch.rand(1, 3, 32, 32)
    expected = torch.stack([model.generators["a2b"](x) for model in models]).mean(dim=0)
    assert torch.allclose(all_three.generators["a2b"](x), expected, atol=1e-6)


def test_what_has_no_mean_is_refused_before_anything_is_written(
    speakers: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = voices(speakers, 0, GATED)
    others = {
        "picture": pictures(0),
        "elsewhere": replace(voice, statistics={**speakers, "a.mean": speakers["a.mean"] + 1}),
        "one_way": replace(
            voice,
            config=voice.config.model_copy(update={"generators": {"a2b": GATED}}),
            generators={"a2b": voice.generators["a2b"]},
        ),
    }
    first, out = save_model(tmp_path / "voice", voice), tmp_path / "out"
    for name, words in (
        ("picture", "one is for voices and the other for images"),
        ("elsewhere", "were trained on other media"),
        ("one_way", "have generators for a2b and b2a and for a2b"),
    ):
        other = save_model(tmp_path / name, others[name])
        assert main(["combine", str(first), str(other), "-o", str(out)]) == 2
        error = capsys.readouterr().err
        assert f"voice and {name}" in error
        assert words in error
    assert main(["combine", str(first), "-o", str(out)]) == 2
    assert "two models or more" in capsys.readouterr().err
    assert main(["combine", str(first), str(first), str(first), "-o", str(out)]) == 2
    assert "named twice" in capsys.readouterr().err
    assert not out.exists()
