"""Model folders: complete or absent, exact, and refused with one sentence where they are not."""

from __future__ import annotations

import json
import pickle
import re
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan_media.backbones.registry import Backbone, build
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.pretrained import (
    ModelConfig,
    PretrainedModel,
    load_model,
    read_config,
    save_model,
)

RESNET: dict[str, Any] = {"name": "resnet", "width": 2, "blocks": 1}
PICTURE = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


def image_model(**networks: Backbone) -> PretrainedModel:
    config = ModelConfig(
        modality="image",
        domains={"a": "horse", "b": "zebra"},
        generators={"a2b": {}},
        recipe="cyclegan",
        steps=12,
        origin="trained",
        ema=True,
    )
    generators: dict[Any, Backbone] = {"a2b": build(RESNET), "b2a": build(RESNET)}
    return PretrainedModel(config, generators, networks=networks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoder = build({"name": "latent_encoder", "latent": 3, "width": 2})
    return save_model(tmp_path / "model", image_model(latent_encoder_b=encoder))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_image_model_round_trip(tmp_path: Path) -> None:
    encoder = build({"name": "latent_encoder", "latent": 3, "width": 2})
    model = image_model(latent_encoder_b=encoder)
    folder = save_model(tmp_path / "model", model)
    assert files(folder) == {
        "config.json",
        "generator_a2b.safetensors",
        "generator_b2a.safetensors",
        "latent_encoder_b.safetensors",
    }
    loaded = load_model(folder)
    for way in ("a2b", "b2a"):
        assert torch.equal(loaded.generators[way](PICTURE), model.generators[way](PICTURE))  # type: ignore[index]
    code = loaded.networks["latent_encoder_b"](PICTURE, PICTURE)
    assert torch.equal(code, encoder(PICTURE, PICTURE))
    networks = [*loaded.generators.values(), *loaded.networks.values()]
    assert not any(network.training for network in networks)
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    config = loaded.config
    assert config == read_config(folder)
    assert config.domains == {"a": "horse", "b": "zebra"}
    assert (config.recipe, config.steps, config.origin, config.ema) == (
        "cyclegan",
        12,
        "trained",
        True,
    )
    assert config.networks["latent_encoder_b"]["latent"] == 3


def test_one_direction_is_enough(tmp_path: Path) -> None:
    model = image_model()
    del model.generators["a2b"]
    loaded = load_model(save_model(tmp_path / "model", model))
    assert list(loaded.generators) == ["b2a"]
    assert loaded.networks == {}


def test_batch_norm_statistics_and_float64_survive(tmp_path: Path) -> None:
    model = image_model()
    generator = build({**RESNET, "norm": "batch"}).double()
    generator(torch.randn(2, 3, 16, 16, dtype=torch.float64))
    model.generators = {"a2b": generator}
    loaded = load_model(save_model(tmp_path / "model", model)).generators["a2b"]
    # Weights are stored as float32.
    wanted = generator.eval()(PICTURE.double()).float()
    torch.testing.assert_close(loaded(PICTURE), wanted, rtol=0, atol=1e-5)


def test_voice_model_round_trip(tmp_path: Path) -> None:
    generator = build({"name": "vc2", "coefficients": 8, "width": 2, "residual_blocks": 1})
    both = torch.stack([torch.arange(8.0), torch.ones(8)])
    model = PretrainedModel(
        ModelConfig(modality="voice", generators={"a2b": {}}, analysis={"coefficients": 8}),
        {"a2b": generator},
        # Two views of one memory, which the format by itself refuses.
        {"a.mean": both[0], "a.std": both[1]},
    )
    loaded = load_model(save_model(tmp_path / "model", model))
    x = torch.randn(1, 8, 16)
    assert torch.equal(loaded.generators["a2b"](x), generator.eval()(x))
    assert torch.equal(loaded.statistics["a.mean"], both[0])
    assert torch.equal(loaded.statistics["a.std"], both[1])
    assert loaded.config.analysis == {"coefficients": 8}


def test_an_existing_folder_is_replaced_only_when_asked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        save_model(folder, image_model())
    assert "latent_encoder_b.safetensors" in files(folder)
    save_model(folder, image_model(), overwrite=True)
    assert "latent_encoder_b.safetensors" not in files(folder)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").touch()
    with pytest.raises(UserError, match="is not a model folder, so it is not replaced"):
        save_model(photos, image_model(), overwrite=True)
    assert files(photos) == {"holiday.jpg"}


def test_diverged_weights_are_not_saved(tmp_path: Path) -> None:
    model = image_model()
    with torch.no_grad():
        model.generators["b2a"].encoder[1].weight[0, 0, 0, 0] = float("nan")  # type: ignore[index]
    with pytest.raises(RunError, match=r"generator_b2a: tensor 'encoder\.1\.weight'.*not finite"):
        save_model(tmp_path / "model", model)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("../evil", {"name": "latent_encoder"}),
        ("generator_a2b", {"name": "latent_encoder"}),
        ("statistics", {"name": "latent_encoder"}),
        ("voice", {"name": "vc2_discriminator", "width": 1}),
    ],
)
def test_networks_that_cannot_be_loaded_again_are_not_saved(
    tmp_path: Path, name: str, network: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="networks"):
        save_model(tmp_path / "model", image_model(**{name: build(network)}))
    assert files(tmp_path) == set()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="model: cannot go on writing it: file too large"):
            save_model(tmp_path / "model", image_model())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == set()


def edited(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Set ``key``, a dotted path, to ``value``, or remove it where that is None."""

    def edit(config: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        if value is None:
            del config[last]
        else:
            config[last] = value

    return edit


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("format", 2, "format is 2, but this version reads format 1; update"),
        ("format", None, "format is None"),
        ("run", "import os", "run: unknown key"),
        ("modality", None, "modality: is missing"),
        ("modality", "video", r"modality: .*'image' or 'voice'.*'video'"),
        ("domains", {"a": "x"}, "domains: needs a name for 'a' and one for 'b'"),
        ("steps", "many", "steps: .*'many'"),
        ("generators", {}, "generators: "),
        ("generators.a2c", dict(RESNET), "generators.a2c: .*'a2b' or 'b2a'"),
        ("generators.a2b", {"width": 2}, "generators.a2b: needs a 'name'"),
        (
            "generators.a2b.name",
            "os.system",
            "generators.a2b.name: no backbone is called 'os.system'",
        ),
        ("generators.a2b.name", "patchgan", "generators.a2b.name: .*generator is needed"),
        ("generators.a2b.name", "vc2", "generators.a2b.name: 'vc2' is for voice"),
        ("generators.a2b.width", "wide", r"generators\.a2b\.width: .*'wide'"),
        ("generators.a2b.width", 10**9, r"generators\.a2b\.width: .*1000000000"),
        ("generators.a2b.colour", 1, r"generators\.a2b\.colour: unknown key"),
        ("networks.latent_encoder_b.name", "vc2", "networks.latent_encoder_b.name: .*voice"),
        ("networks", {"../../etc/x": {"name": "unet"}}, r"networks\.\.\./\.\./etc/x: .*pattern"),
        ("networks", {"statistics": {"name": "unet"}}, "networks: the names .* are taken"),
        ("networks.other", dict(RESNET), r"other\.safetensors: is missing"),
    ],
)
def test_a_wrong_config_is_refused_by_its_key(
    folder: Path, key: str, value: object, says: str
) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edited(key, value)(config)
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"^{re.escape(str(folder))}.*{says}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not valid JSON"),
        (b'{"format": 1, ', "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"steps": ' + b"9" * 10_000 + b"}", "is not valid JSON"),
        (b"[1, 2]", "needs a JSON object, not a list"),
        (b'{"format": 1, "recipe": "' + b"x" * (1 << 20) + b'"}', "longer than 1048576 bytes"),
    ],
)
def test_a_config_that_is_none_is_refused(folder: Path, content: bytes, says: str) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"config\.json: .*{says}|config\.json: {says}"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "generator_b2a.safetensors"])
def test_a_half_copied_folder_names_what_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: is missing"):
        load_model(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such model folder"):
        load_model(tmp_path / "nowhere")
    checkpoint = tmp_path / "latest_net_G.pth"
    checkpoint.write_bytes(b"")
    with pytest.raises(UserError, match=r"is a file, not a model folder.*imported"):
        load_model(checkpoint)


def header(entries: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    whole = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}
    path.write_bytes(
        {
            "empty": b"",
            "truncated": content[: len(content) // 2],
            "pickle": pickle.dumps({"encoder.1.weight": 1}),
            "header longer than the file": struct.pack("<Q", 1 << 62) + content[8:],
            "offsets beyond the file": header({"encoder.1.weight": whole}, b"\0" * 8),
            "header not JSON": struct.pack("<Q", 4) + b"oops",
        }[how]
    )


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "truncated",
        "pickle",
        "header longer than the file",
        "offsets beyond the file",
        "header not JSON",
    ],
)
def test_damaged_or_lying_weights_are_refused(folder: Path, how: str) -> None:
    path = folder / "generator_a2b.safetensors"
    damage(path, how)
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: is damaged"):
        load_model(folder)


def with_tensor(state: dict[str, torch.Tensor], value: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**state, "encoder.1.weight": value}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: with_tensor(s, torch.zeros(2, 3, 5, 5)), r"F32 \[2, 3, 5, 5\].*\[2, 3, 7, 7\]"),
        (lambda s: with_tensor(s, torch.zeros(2, 3, 7, 7).half()), r"is F16 .*asks for F32"),
        (lambda s: with_tensor(s, torch.full((2, 3, 7, 7), torch.nan)), "not finite"),
        (lambda s: {k: v for k, v in s.items() if k != "encoder.1.weight"}, "is missing"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    folder: Path,
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    says: str,
) -> None:
    path = folder / "generator_a2b.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(UserError, match=rf"a2b\.safetensors: tensor 'encoder\.1\.weight' .*{says}"):
        load_model(folder)


def test_a_tensor_too_many_is_named(folder: Path) -> None:
    path = folder / "latent_encoder_b.safetensors"
    save_file({**load_file(path), "extra": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"encoder_b\.safetensors: tensor 'extra' is unexpected"):
        load_model(folder)


def test_a_config_that_claims_terabytes_is_refused_before_they_are_allocated(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["generators"]["a2b"].update(width=4096, blocks=256)  # 1.2e12 parameters
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"tensor '.*' is missing; the model asks for it"):
        load_model(folder)
