"""Published vocoders: what their files compute, and what is said of files that do not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.vocoders import load_vocoder
from cyclegan_media.speech import LogMelConfig
from cyclegan_media.speech.hifigan import HiFiGANConfig, HiFiGANGenerator

HIFIGAN: dict[str, Any] = {
    # Keys about training, which published configurations hold, too.
    "num_gpus": 0,
    "learning_rate": 0.0002,
    "segment_size": 8192,
    "resblock": "1",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 2]],
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
    "fmax_for_loss": None,
}
State = dict[str, torch.Tensor]


def hifigan_state(config: dict[str, Any]) -> State:
    """Random weights by their published names."""
    random = torch.Generator().manual_seed(0)
    state: State = {}

    def layer(name: str, shape: tuple[int, ...], bias: int) -> None:
        fan = shape[1] * shape[2]
        state[f"{name}.bias"] = 0.1 * torch.randn(bias, generator=random)
        state[f"{name}.weight_g"] = 0.5 + torch.rand(shape[0], 1, 1, generator=random)
        state[f"{name}.weight_v"] = torch.randn(shape, generator=random) / fan**0.5

    width = config["upsample_initial_channel"]
    layer("conv_pre", (width, config["num_mels"], 7), width)
    number = 0
    for stage, kernel in enumerate(config["upsample_kernel_sizes"]):
        layer(f"ups.{stage}", (width, width // 2, kernel), width // 2)
        width //= 2
        for size, dilations in zip(
            config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True
        ):
            names = ("convs1", "convs2") if config["resblock"] == "1" else ("convs",)
            for name in names:
                for index in range(len(dilations)):
                    layer(f"resblocks.{number}.{name}.{index}", (width, width, size), width)
            number += 1
    layer("conv_post", (1, width, 7), 1)
    return state


def hifigan_by_hand(state: State, config: dict[str, Any], mel: torch.Tensor) -> torch.Tensor:
    """The paper's equations on published names, weight normalisation by torch."""

    def weight(name: str) -> torch.Tensor:
        return torch._weight_norm(state[f"{name}.weight_v"], state[f"{name}.weight_g"], 0)

    def conv(x: torch.Tensor, name: str, dilation: int = 1) -> torch.Tensor:
        w = weight(name)
        padding = dilation * (w.shape[2] - 1) // 2
        return F.conv1d(x, w, state[f"{name}.bias"], padding=padding, dilation=dilation)

    def leaky(x: torch.Tensor, slope: float = 0.1) -> torch.Tensor:
        return torch.where(x > 0, x, slope * x)

    x = conv(mel, "conv_pre")
    kernels = len(config["resblock_kernel_sizes"])
    for stage, (rate, size) in enumerate(
        zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    ):
        name = f"ups.{stage}"
        x = F.conv_transpose1d(
            leaky(x), weight(name), state[f"{name}.bias"], stride=rate, padding=(size - rate) // 2
        )
        total = torch.zeros_like(x)
        for kernel, dilations in enumerate(config["resblock_dilation_sizes"]):
            block, y = f"resblocks.{stage * kernels + kernel}", x
            for index, dilation in enumerate(dilations):
                if config["resblock"] == "1":
                    inner = conv(leaky(y), f"{block}.convs1.{index}", dilation)
                    y = y + conv(leaky(inner), f"{block}.convs2.{index}")
                else:
                    y = y + conv(leaky(y), f"{block}.convs.{index}", dilation)
            total = total + y
        x = total / kernels
    return torch.tanh(conv(leaky(x, 0.01), "conv_post"))[0, 0]


def write_hifigan(folder: Path, config: dict[str, Any], state: State | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "generator_v1"
    torch.save({"generator": hifigan_state(config) if state is None else state}, path)
    return path


def spectrum(bands: int = 80, frames: int = 11) -> np.ndarray:
    """Above the floor throughout."""
    return np.random.default_rng(0).uniform(-9, 1, (bands, frames)).astype(np.float32)


V3 = {**HIFIGAN, "resblock": "2"}


@pytest.mark.parametrize("config", [HIFIGAN, V3], ids=["blocks-1", "blocks-2"])
def test_hifigan_computes_what_its_paper_says(config: dict[str, Any], tmp_path: Path) -> None:
    path = write_hifigan(tmp_path, config)
    mel = spectrum()
    wanted = hifigan_by_hand(hifigan_state(config), config, torch.from_numpy(mel)[None])
    for named in (path, tmp_path):  # the file or its folder
        vocoder = load_vocoder(named)
        assert vocoder.convention == LogMelConfig()
        made = vocoder(mel)
        assert made.shape == (11 * 256,)
        assert made.dtype == np.float32
        assert made.std() > 0.01
        np.testing.assert_allclose(made, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "millions"),
    [
        (
            {"upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4]}
            | {"upsample_initial_channel": 512},
            13.92,
        ),
        (
            {"upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4]}
            | {"upsample_initial_channel": 128},
            0.92,
        ),
        (
            {"resblock": "2", "upsample_initial_channel": 256, "resblock_kernel_sizes": [3, 5, 7]}
            | {"resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]]},
            1.46,
        ),
    ],
    ids=["V1", "V2", "V3"],
)
def test_the_published_variants_have_the_papers_number_of_parameters(
    variant: dict[str, Any], millions: float
) -> None:
    blocks = {
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    }
    config = HiFiGANConfig.model_validate({**HIFIGAN, **blocks, **variant})
    with torch.device("meta"):
        network = HiFiGANGenerator(config)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)  # table 1


def test_weights_that_are_folded_or_named_as_torch_does_now_are_the_same(tmp_path: Path) -> None:
    state, mel = hifigan_state(HIFIGAN), spectrum()
    newer, folded = {}, {}
    for key, tensor in state.items():
        layer, _, last = key.rpartition(".")
        number = {"weight_g": 0, "weight_v": 1}.get(last)
        name = key if number is None else f"{layer}.parametrizations.weight.original{number}"
        newer[name] = tensor
        if last == "weight_v":
            folded[f"{layer}.weight"] = torch._weight_norm(tensor, state[f"{layer}.weight_g"], 0)
        elif last == "bias":
            folded[key] = tensor
    made = [
        load_vocoder(write_hifigan(tmp_path / str(k), HIFIGAN, each))(mel)
        for k, each in enumerate((state, newer, folded))
    ]
    np.testing.assert_allclose(made[1], made[0], atol=1e-6)
    np.testing.assert_allclose(made[2], made[0], atol=1e-6)


def test_silence_is_as_quiet_as_the_vocoder_knows(tmp_path: Path) -> None:
    vocoder = load_vocoder(write_hifigan(tmp_path, HIFIGAN))
    below, at = (np.full((80, 3), np.log(floor), np.float32) for floor in (1e-7, 1e-5))
    np.testing.assert_array_equal(vocoder(below), vocoder(at))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resblock": "3"}, r"config\.json: resblock: "),
        ({"upsample_rates": [8, 8]}, r"config\.json: upsample_kernel_sizes: needs one for each"),
        ({"hop_size": 300}, r"config\.json: hop_size: is 300, .* multiply to 256"),
        ({"win_size": 800}, r"config\.json: win_size: is 800, but must be n_fft \(1024\)"),
        ({"fmax": 20000}, r"config\.json: f_max \(20000\) must be .* \(11025\)"),
        ({"upsample_initial_channel": 12}, r"config\.json: upsample_initial_channel: must be halv"),
        ({"upsample_initial_channel": 10**9}, r"config\.json: upsample_initial_channel: .*4096"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    write_hifigan(tmp_path, {**HIFIGAN, **change}, hifigan_state(HIFIGAN))
    with pytest.raises(UserError, match=says):
        load_vocoder(tmp_path)


def test_a_missing_key_of_a_configuration_is_named(tmp_path: Path) -> None:
    config = {key: value for key, value in HIFIGAN.items() if key != "num_mels"}
    write_hifigan(tmp_path, config, hifigan_state(HIFIGAN))
    with pytest.raises(UserError, match=r"config\.json: num_mels: Field required"):
        load_vocoder(tmp_path)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = hifigan_state(HIFIGAN)
    wide = write_hifigan(tmp_path / "wide", {**HIFIGAN, "num_mels": 100}, state)
    with pytest.raises(
        UserError, match=r"generator_v1: key 'conv_pre.weight' has shape \[16, 80, 7\], but by"
    ):
        load_vocoder(wide)
    for key, says in (
        ("conv_post.weight_g", r"key 'conv_post.weight_g' is missing"),
        ("conv_post.weight_v", r"key 'conv_post.weight_v' is missing"),
        ("conv_post.bias", r"key 'conv_post.bias' is missing"),
    ):
        lacking = {name: tensor for name, tensor in state.items() if name != key}
        with pytest.raises(UserError, match=says):
            load_vocoder(write_hifigan(tmp_path / "lacking", HIFIGAN, lacking))
    more = {**state, "extra.bias": torch.zeros(1)}
    with pytest.raises(UserError, match=r"key 'extra\.bias' is none of the vocoder"):
        load_vocoder(write_hifigan(tmp_path / "more", HIFIGAN, more))
    broken = {**state, "conv_pre.bias": torch.full((16,), float("nan"))}
    with pytest.raises(UserError, match=r"key 'conv_pre\.bias' has values that are not finite"):
        load_vocoder(write_hifigan(tmp_path / "broken", HIFIGAN, broken))


class Dangerous:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, (99,))


def test_files_that_are_no_vocoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: there is no such vocoder; .*griffin_lim"):
        load_vocoder(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"neither config\.json \(HiFi-GAN\) nor config\.yaml"):
        load_vocoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(HIFIGAN))
    with pytest.raises(UserError, match="holds no checkpoint of a vocoder"):
        load_vocoder(tmp_path)
    torch.save({"discriminator": {}}, tmp_path / "generator_v1")
    with pytest.raises(UserError, match="has no key 'generator'"):
        load_vocoder(tmp_path)
    torch.save({"generator": Dangerous()}, tmp_path / "generator_v1")
    with pytest.raises(UserError, match="refused, since it holds Python objects"):
        load_vocoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        load_vocoder(tmp_path)


# --- Vocos ----------------------------------------------------------------------------------


def vocos_config(padding: str = "center") -> dict[str, Any]:
    """As published, but slim."""
    mel = {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100}
    return {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {**mel, "padding": padding},
        },
        "backbone": {
            "class_path": "vocos.models.VocosBackbone",
            "init_args": {
                "input_channels": 100,
                "dim": 16,
                "intermediate_dim": 24,
                "num_layers": 2,
            },
        },
        "head": {
            "class_path": "vocos.heads.ISTFTHead",
            "init_args": {"dim": 16, "n_fft": 1024, "hop_length": 256, "padding": padding},
        },
    }


def write_vocos(folder: Path, padding: str) -> Any:
    """Files as published, of random weights; the package's own model."""
    vocos = pytest.importorskip("vocos", reason="needs the extra 'vocoder'")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(vocos_config(padding)))
    torch.manual_seed(0)
    model = vocos.Vocos.from_hparams(str(path)).eval()
    with torch.no_grad():
        model.head.out.bias.normal_()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.mark.parametrize("padding", ["center", "same"])
def test_vocos_computes_what_its_package_does(padding: str, tmp_path: Path) -> None:
    model = write_vocos(tmp_path, padding)
    vocoder = load_vocoder(tmp_path)
    signal = 0.1 * np.random.default_rng(0).normal(size=20 * 256)
    features = model.feature_extractor(torch.from_numpy(signal).float()[None])[0].numpy()
    found = vocoder.convention.analyse(signal).log_mel
    # Its filters and ours come from different libraries.
    np.testing.assert_allclose(found, features, atol=2e-3)
    made = vocoder(features)
    assert made.shape == (20 * 256,)
    np.testing.assert_allclose(made, model.decode(torch.from_numpy(features)[None])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("backbone", {"class_path": "os.system"}, r"config\.yaml: backbone\.class_path: "),
        (
            "feature_extractor",
            {"class_path": "vocos.feature_extractors.EncodecFeatures"},
            r"config\.yaml: feature_extractor\.class_path: .*MelSpectrogramFeatures",
        ),
        ("head", {"init_args": {**vocos_config()["head"]["init_args"], "dim": 8}}, "must be the s"),
        ("head", {"init_args": {"dim": 16}}, r"config\.yaml: head\.init_args\.n_fft: "),
    ],
)
def test_what_a_configuration_names_is_not_imported(
    part: str, change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    config = vocos_config()
    config[part] |= change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=says):
        load_vocoder(tmp_path)


def test_the_package_that_vocos_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(vocos_config()))
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    monkeypatch.setitem(sys.modules, "vocos.heads", None)
    with pytest.raises(UserError, match=r"needs the package 'vocos'; .*cyclegan-media\[vocoder\]"):
        load_vocoder(tmp_path)


def test_weights_of_vocos_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = write_vocos(tmp_path, "center").state_dict()
    del state["head.out.bias"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: key 'head\.out\.bias' is missing"):
        load_vocoder(tmp_path)
