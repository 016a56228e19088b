"""Import of published checkpoints: every family, both files of the reference data, hostile ones."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclegan_media.backbones.registry import build, spec_of
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import (
    convert_published_state,
    import_published,
    load_model,
    save_model,
)
from cyclegan_media.pretrained.published import FAMILIES, read_checkpoint
from cyclegan_media.pretrained.published_family import State
from cyclegan_media.speech import AnalysisConfig

RESNET = "ResNet generator of the CycleGAN release"
SPECS: list[tuple[str, dict[str, Any]]] = [
    (RESNET, {"name": "resnet", "width": 2, "blocks": 2}),
    (RESNET, {"name": "resnet", "width": 2, "blocks": 1, "dropout": True, "channels": 1}),
    (RESNET, {"name": "resnet", "width": 2, "blocks": 1, "norm": "batch"}),
    ("U-Net generator of the CycleGAN release", {"name": "unet", "width": 2, "downsamplings": 3}),
    (
        "U-Net generator of the CycleGAN release",
        {"name": "unet", "width": 2, "downsamplings": 5, "norm": "batch"},
    ),
    ("PatchGAN discriminator of the CycleGAN release", {"name": "patchgan", "width": 2}),
    (
        "PatchGAN discriminator of the CycleGAN release",
        {"name": "patchgan", "width": 2, "layers": 5, "norm": "batch", "channels": 6},
    ),
    ("PixelGAN discriminator of the CycleGAN release", {"name": "pixelgan", "width": 2}),
    (
        "global generator of pix2pixHD",
        {"name": "pix2pixhd_global", "width": 2, "downsamplings": 3, "blocks": 2},
    ),
    (
        "global generator of pix2pixHD",
        {"name": "pix2pixhd_global", "width": 2, "downsamplings": 1, "blocks": 1},
    ),
    (
        "local enhancer of pix2pixHD",
        {
            "name": "pix2pixhd_enhancer",
            "width": 1,
            "downsamplings": 2,
            "blocks": 2,
            "enhancers": 2,
            "enhancer_blocks": 2,
        },
    ),
    (
        "multi-scale discriminator of pix2pixHD",
        {"name": "multiscale_patchgan", "width": 2, "layers": 2, "scales": 3},
    ),
    (
        "generator of the CycleGAN-VC2 release",
        {"name": "vc2", "coefficients": 8, "width": 2, "residual_blocks": 2},
    ),
    (
        "generator of the MaskCycleGAN-VC release",
        {"name": "mask_vc", "coefficients": 12, "width": 2, "residual_blocks": 1},
    ),
    (
        "discriminator of the CycleGAN-VC2 release",
        {"name": "vc2_discriminator", "width": 2, "horizontal": False},
    ),
    (
        "discriminator of the MaskCycleGAN-VC release",
        {"name": "mask_vc_discriminator", "width": 2, "horizontal": False},
    ),
]


def published_form(title: str, spec: dict[str, Any]) -> tuple[State, State]:
    """A network's weights under our names, and as the release would have written them."""
    family = next(family for family in FAMILIES if family.title == title)
    network = build(spec)
    whole = spec_of(network)
    ours = network.state_dict()
    theirs: State = {}
    for name, tensor in ours.items():
        layer, _, last = name.rpartition(".")
        keys = family.published(layer, whole)
        parts = tensor.chunk(len(keys)) if len(keys) > 1 else [tensor]
        theirs.update({f"{key}.{last}": part for key, part in zip(keys, parts, strict=True)})
    kernel = {"vc2_discriminator": 5, "mask_vc_discriminator": 10}.get(spec["name"])
    if kernel:
        theirs["downSample4.0.weight"] = torch.zeros(16, 16, 1, kernel)
    return ours, theirs


@pytest.mark.parametrize(("title", "spec"), SPECS)
def test_every_family_and_size_is_told_by_names_and_shapes(
    title: str, spec: dict[str, Any]
) -> None:
    ours, theirs = published_form(title, spec)
    inferred, converted = convert_published_state(theirs)
    assert {key: inferred[key] for key in spec} == spec
    assert converted.keys() == ours.keys()
    for name, tensor in ours.items():
        assert torch.equal(converted[name], tensor)
    build(inferred).load_state_dict(converted)


def test_specs_above_name_every_family() -> None:
    assert {title for title, _ in SPECS} == {family.title for family in FAMILIES}


@pytest.mark.parametrize("name", ["latest_net_G.pth", "old_dataparallel_net_G.pth"])
def test_published_files_translate_as_the_release_does(
    shared_golden: Path, tmp_path: Path, name: str
) -> None:
    model = import_published(shared_golden / name, domains=("horse", "zebra"))
    assert list(model.generators) == ["a2b"]
    assert model.config.origin == f"imported from {name}"
    assert model.config.paper == "Zhu 2017, arXiv 1703.10593"
    loaded = load_model(save_model(tmp_path / "model", model))
    assert loaded.config.domains == {"a": "horse", "b": "zebra"}
    generator = loaded.generators["a2b"].double()
    with np.load(shared_golden / "resnet_9blocks_width8.npz") as data:
        x, wanted = (torch.from_numpy(data[key]).double() for key in ("input0", "output0"))
    with torch.no_grad():
        torch.testing.assert_close(generator(x), wanted, rtol=0, atol=1e-5)


@pytest.fixture
def resnet() -> State:
    return published_form(*SPECS[0])[1]


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_old_and_wrapped_forms_are_understood(resnet: State) -> None:
    wanted = convert_published_state(resnet)[1]
    old = {
        **resnet,
        "model.2.running_mean": torch.zeros(2),
        "model.2.running_var": torch.ones(2),
        "model.10.conv_block.2.num_batches_tracked": torch.tensor(7),
    }
    for form in (
        old,
        {f"module.{key}": tensor for key, tensor in old.items()},
        {"epoch": 3, "state_dict": resnet},
        {"model_state": resnet, "optimizer": {"lr": 0.1}},
    ):
        converted = convert_published_state(form)[1]
        assert converted.keys() == wanted.keys()
        assert all(torch.equal(converted[name], wanted[name]) for name in wanted)


def test_counters_that_old_releases_lack_are_made_up() -> None:
    ours, theirs = published_form(*SPECS[2])
    bare = {key: t for key, t in theirs.items() if not key.endswith("num_batches_tracked")}
    _, converted = convert_published_state(bare)
    assert converted.keys() == ours.keys()


def test_both_directions_from_two_files(tmp_path: Path, resnet: State) -> None:
    other = published_form(*SPECS[1])[1]
    model = import_published(
        written(tmp_path / "G_B.pth", resnet),
        direction="b2a",
        other=written(tmp_path / "G_A.pth", other),
    )
    assert spec_of(model.generators["b2a"])["blocks"] == 2
    assert spec_of(model.generators["a2b"])["blocks"] == 1
    assert not any(network.training for network in model.generators.values())


def test_voices_need_their_statistics(tmp_path: Path) -> None:
    ours, theirs = published_form(
        "generator of the CycleGAN-VC2 release",
        {"name": "vc2", "coefficients": 8, "width": 2, "residual_blocks": 1},
    )
    # The release keeps both generators and much else in one file, and upSample2 under two names.
    alias = {key.replace("upSample2", "convLayer"): t for key, t in theirs.items() if "2.0" in key}
    path = written(
        tmp_path / "_CycleGAN_CheckPoint",
        {
            "epoch": 2,
            "model_genA2B_state_dict": {**alias, **theirs},
            "model_genB2A_state_dict": {**theirs, "lastConvLayer.bias": torch.ones(1)},
        },
    )
    with pytest.raises(UserError, match="_CheckPoint: is a voice generator, which needs the stat"):
        import_published(path)
    statistics = {"a.mean": torch.zeros(8)}
    with pytest.raises(UserError, match=r"^analysis\.bands: "):
        import_published(path, statistics=statistics, analysis={"bands": 8})
    model = import_published(path, statistics=statistics, analysis={"coefficients": 8})
    loaded = load_model(save_model(tmp_path / "model", model))
    assert loaded.config.modality == "voice"
    assert loaded.config.analysis == AnalysisConfig(coefficients=8).model_dump(mode="json")
    assert loaded.config.paper == "Kaneko 2019, arXiv 1904.04631"
    assert torch.equal(loaded.statistics["a.mean"], torch.zeros(8))
    assert torch.equal(loaded.generators["a2b"].state_dict()["head.bias"], ours["head.bias"])
    assert torch.equal(loaded.generators["b2a"].state_dict()["head.bias"], torch.ones(1))


def test_a_discriminator_is_no_model(tmp_path: Path) -> None:
    path = written(tmp_path / "latest_net_D_A.pth", published_form(*SPECS[5])[1])
    with pytest.raises(UserError, match=r"D_A\.pth: is a PatchGAN discriminator .*not a generator"):
        import_published(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: {**s, "model.99.bias": torch.zeros(1)}, r"'model\.99\.bias' does not fit"),
        (lambda s: {**s, "model.1.running_mean": torch.zeros(1)}, r"'model\.1\.running_mean'"),
        (
            lambda s: {**s, "model.4.weight": torch.zeros(4, 2, 5, 5)},
            r"'model\.4\.weight' has shape \[4, 2, 5, 5\], but .* needs \[4, 2, 3, 3\]",
        ),
        (
            lambda s: {**s, "model.1.weight": torch.zeros(2)},
            r"'model\.1\.weight' is missing or not",
        ),
        (
            lambda s: {k: t for k, t in s.items() if k != "model.4.bias"},
            r"'model\.4\.bias' is miss",
        ),
        (
            lambda s: {**s, "model.4.bias": torch.full((4,), torch.inf)},
            r"4\.bias' has values .*not",
        ),
        (
            lambda s: {**s, "model.4.bias": torch.zeros(4, dtype=torch.int32)},
            r"'model\.4\.bias' is",
        ),
        (
            lambda s: {**s, "model.4.bias": torch.zeros(1).expand(4)},
            r"'model\.4\.bias' is not a pl",
        ),
        (
            lambda s: {**s, "model.4.bias": torch.zeros(4).to_sparse()},
            r"'model\.4\.bias' is not a ",
        ),
        (lambda s: {**s, "model.4.bias": [0.0] * 4}, r"'model\.4\.bias' is not a named tensor"),
        (lambda s: {**s, 4: torch.zeros(4)}, "key 4 is not a named tensor"),
        (lambda s: {"fc.weight": torch.zeros(1)}, r"'fc\.weight' is of no network that is known"),
        (lambda s: {}, "holds no tensors"),
        (lambda s: {"state_dict": {}}, "holds no tensors"),
        (lambda s: {"state_dict": s["model.4.bias"]}, "key 'state_dict' is of no network"),
    ],
)
def test_what_does_not_fit_is_named_by_its_key(
    resnet: State, change: Callable[[Any], Any], says: str
) -> None:
    with pytest.raises(UserError, match=rf"^net\.pth: .*{says}|^net\.pth: {says}"):
        convert_published_state(change(resnet), where="net.pth")


class Payload:
    """Unpickled by an ordinary loader, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, resnet: State, zipped: bool
) -> None:
    path, marker = tmp_path / "net.pth", tmp_path / "ran"
    torch.save({**resnet, "extra": Payload(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"net\.pth: refused, since it holds Python objects"):
        import_published(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file would have done it


def test_a_file_that_unpacks_to_more_than_it_is_long_is_refused(
    tmp_path: Path, resnet: State
) -> None:
    honest = written(tmp_path / "net.pth", {**resnet, "x": torch.zeros(1 << 20)})
    path = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(honest) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in source.infolist():
            packed.writestr(entry.filename, source.read(entry))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"bomb\.pth: refused, since it unpacks to \d{7} bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize("part", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_damaged(tmp_path: Path, resnet: State, part: float) -> None:
    path = written(tmp_path / "net.pth", resnet)
    content = path.read_bytes()
    path.write_bytes(content[: int(part if part >= 1 else part * len(content))])
    with pytest.raises(UserError, match=r"net\.pth: is damaged or not a PyTorch checkpoint"):
        import_published(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such checkpoint file"):
        import_published(tmp_path / "nowhere.pth")
    with pytest.raises(UserError, match="there is no such checkpoint file"):
        import_published(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("no pickle at all")
    with pytest.raises(UserError, match=r"notes\.txt: is damaged or not a PyTorch checkpoint"):
        import_published(text)
    with pytest.raises(UserError, match=r"list\.pth: holds a list, not a state dict"):
        import_published(written(tmp_path / "list.pth", [torch.zeros(1)]))
