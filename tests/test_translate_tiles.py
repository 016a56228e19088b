"""Tiles: the result of the whole picture, whatever the network, the sizes and the tile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_files
from torch import Tensor, nn
from torch.nn import functional as F

from cyclegan_media.backbones import Backbone, BackboneConfig, build
from cyclegan_media.backbones.registry import register
from cyclegan_media.cli import main
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate import Translator, tiles, tiles_memory
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.tiles import apply_in_tiles, choose_tile

CPU = torch.device("cpu")
TOLERANCE = 1e-4
"""Of values in −1…1: a hundredth of a level of 8 bits."""

RESNET = {"name": "resnet", "width": 8, "blocks": 3}
BUILT_IN = [
    RESNET,
    {**RESNET, "norm": "batch"},
    {"name": "unet", "width": 4, "downsamplings": 6},
    {"name": "unet", "width": 4, "downsamplings": 5, "norm": "batch"},
    {"name": "pix2pixhd_global", "width": 8, "downsamplings": 3, "blocks": 2},
    {"name": "pix2pixhd_enhancer", "width": 4, "downsamplings": 2, "blocks": 2, "enhancers": 2},
    {"name": "cin_resnet", "width": 8, "blocks": 2, "latent": 4},
]


def made(spec: dict[str, Any]) -> Backbone:
    torch.manual_seed(4)
    network = build(spec).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after a training
            module.running_mean = torch.randn(module.num_features) / 4
            module.running_var = torch.rand(module.num_features) / 8 + 0.05
    return network


def scene(height: int, width: int) -> Tensor:
    """Dark and smooth on the left, bright and rough on the right: no two tiles are alike."""
    random = torch.Generator().manual_seed(2)
    ramp = torch.linspace(0, 1, width)
    noise = torch.rand(1, 3, height, width, generator=random) - 0.5
    tint = torch.tensor([1.0, 0.6, 0.3])[:, None, None]
    return (1.4 * ramp * tint - 0.9 + 0.8 * ramp * noise).clamp(-1, 1)


def naive(network: Backbone, picture: Tensor, tile: int, halo: int) -> Tensor:
    """Every tile translated by itself, together with ``halo`` pixels around it."""
    height, width = picture.shape[2:]
    output = torch.empty_like(picture)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            y, x = max(0, top - halo), max(0, left - halo)
            part = network(picture[:, :, y : top + tile + halo, x : left + tile + halo])
            part = part[:, :, top - y :, left - x :]
            output[:, :, top : top + tile, left : left + tile] = part[:, :, :tile, :tile]
    return output


@pytest.mark.parametrize("spec", BUILT_IN, ids=lambda s: f"{s['name']}-{s.get('norm', '')}")
@torch.inference_mode()
def test_tiles_give_the_result_of_the_whole(spec: dict[str, Any]) -> None:
    network = made(spec)
    # Multiples of what the network takes, but not of the tile.
    height, width = 3 * 64, 5 * 64
    picture = scene(height, width)
    whole = network(picture)
    assert whole.std() > 0.05  # there is something to compare
    for tile in (72, 100, 256):
        parts = apply_in_tiles(network, picture, tile)
        assert parts.shape == whole.shape
        torch.testing.assert_close(parts, whole, atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_tiles_by_themselves_do_not() -> None:
    """What the comparison above would show, were mean and deviation those of each tile."""
    network = made(RESNET)
    picture = scene(192, 320)
    whole = network(picture)
    inside = apply_in_tiles(network, picture, 64)
    assert (naive(network, picture, 64, halo=32) - whole).abs().max() > 1000 * TOLERANCE
    assert (inside - whole).abs().max() < TOLERANCE
    # Without normalisation by instance the neighbourhood is all that is missed.
    network = made({**RESNET, "norm": "batch"})
    assert (naive(network, picture, 64, halo=64) - network(picture)).abs().max() < TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (130, 97), (201, 65)])
def test_pictures_of_any_size_are_padded_at_their_own_edges_only(size: tuple[int, int]) -> None:
    network = made(RESNET)
    picture = scene(*size)
    whole = make_apply(network, CPU, torch.float32, 1, "off")(picture)
    parts = make_apply(network, CPU, torch.float32, 1, 64)(picture)
    torch.testing.assert_close(parts, whole, atol=TOLERANCE, rtol=0)


def test_batches_and_latent_codes_go_through_tiles() -> None:
    spec = {"name": "cin_resnet", "width": 8, "blocks": 1, "latent": 4}
    config = ModelConfig(modality="image", generators={"a2b": spec})
    translator = Translator(
        PretrainedModel(config, {"a2b": made(spec)}), device="cpu", precision="fp32"
    )
    pictures = torch.cat([scene(90, 130), scene(90, 130).flip(3), -scene(90, 130)])
    for seed in (1, 2):
        whole = translator.translate(pictures, batch_size=3, tile="off", seed=seed)
        parts = translator.translate(pictures, batch_size=3, tile=64, seed=seed)
        torch.testing.assert_close(parts, whole, atol=TOLERANCE, rtol=0)
    other = translator.translate(pictures, tile=64, seed=1)
    assert (other - parts).abs().max() > 0.01  # the codes make a difference


def test_half_precision_in_tiles_is_as_near_to_full_precision() -> None:
    network = made(RESNET)
    picture = scene(96, 160)
    full = make_apply(network, CPU, torch.float32, 1, "off")(picture)
    whole = make_apply(network, CPU, torch.bfloat16, 1, "off")(picture)
    parts = make_apply(network, CPU, torch.bfloat16, 1, 64)(picture)
    error = (parts - full).square().mean().sqrt()
    assert 0 < error < 1.5 * (whole - full).square().mean().sqrt()


class PatchworkConfig(BackboneConfig):
    instance: bool = True


@register("test_patchwork")
class Patchwork(Backbone):
    """A network with all that others are made of, and more."""

    Config = PatchworkConfig
    modality = "image"
    role = "generator"
    multiple = 4
    minimum = 16

    def __init__(self, config: PatchworkConfig) -> None:
        super().__init__(config)
        norm: Callable[[int], nn.Module] = (
            (lambda c: nn.InstanceNorm2d(c, affine=True)) if config.instance else nn.Identity
        )
        self.stem = nn.Sequential(nn.ReplicationPad2d(2), nn.Conv2d(3, 8, 5), norm(8), nn.PReLU())
        self.down = nn.Sequential(
            nn.ZeroPad2d((1, 2, 0, 1)),
            nn.Conv2d(8, 16, 4, stride=2, padding=(1, 0), groups=2, bias=False),
            nn.GroupNorm(4, 16) if config.instance else nn.Identity(),
            nn.GLU(dim=1),
            nn.MaxPool2d(2),
        )
        self.wide = nn.Conv2d(8, 8, 3, padding="same", dilation=3)
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.shuffle = nn.Sequential(
            nn.Conv2d(8, 16, 1), nn.PixelShuffle(2), nn.LeakyReLU(0.2, True)
        )
        self.up = nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1)
        self.head = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        stem = self.stem(x)
        y = self.down(stem)
        # Cropped, and cut off where the padding above made it larger.
        y = y[:, :, : x.shape[2] // 4, : x.shape[3] // 4]
        y = y + F.softmax(self.wide(y), dim=1)
        y = y * self.attention(y)
        y = self.up(self.shuffle(y))
        one, other = (stem + y).chunk(2, dim=1)
        y = torch.cat([one * other.tanh(), F.interpolate(y[:, :4, ::2, ::2], scale_factor=2)], 1)
        small = F.avg_pool2d(y, 3, stride=2, padding=1, count_include_pad=False)
        smooth = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
        grid = torch.linspace(-1, 1, x.shape[3]).to(x)
        return torch.tanh(self.head(torch.cat([y, smooth], 1)) + 0.1 * grid + x.new_zeros(1))


@pytest.mark.parametrize("instance", [True, False])
@torch.inference_mode()
def test_networks_of_other_kinds_with_and_without_instance_norm(instance: bool) -> None:
    network = made({"name": "test_patchwork", "instance": instance})
    picture = scene(148, 212)
    whole = network(picture)
    assert whole.std() > 0.05
    for tile in (64, 100):
        parts = apply_in_tiles(network, picture, tile)
        torch.testing.assert_close(parts, whole, atol=TOLERANCE, rtol=0)


PLUGIN = """
from torch import nn
from cyclegan_media.backbones import Backbone, BackboneConfig


class Config(BackboneConfig):
    pass


class Blur(Backbone):
    Config, modality, role, multiple, minimum = Config, "image", "generator", 2, 2

    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(6, 3, 2, 2)
        )

    def forward(self, x):
        return self.layers(x).tanh()
"""


@pytest.fixture
def blur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed package with a backbone without instance norm; its name."""
    site = tmp_path / "site"
    info = site / "blur_plugin-1.dist-info"
    info.mkdir(parents=True)
    (site / "blur_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blur-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cyclegan_media.backbones]\nblur = blur_plugin:Blur\n")
    monkeypatch.syspath_prepend(site)
    yield "blur"
    sys.modules.pop("blur_plugin", None)


def test_a_backbone_of_another_package_goes_through_tiles(blur: str) -> None:
    network = made({"name": blur})
    picture = scene(131, 201)
    whole = make_apply(network, CPU, torch.float32, 1, "off")(picture)
    parts = make_apply(network, CPU, torch.float32, 1, 64)(picture)
    torch.testing.assert_close(parts, whole, atol=TOLERANCE, rtol=0)


def saved(folder: Path) -> Path:
    network = made(RESNET)
    config = ModelConfig(modality="image", generators={"a2b": RESNET})
    save_model(folder, PretrainedModel(config, {"a2b": network}))
    return folder


def test_the_command_translates_videos_in_tiles(tmp_path: Path) -> None:
    model = str(saved(tmp_path / "model"))
    source = tmp_path / "clip.mp4"
    video_files.write_video(source, video_files.moving(3, (112, 160)))
    frames = {}
    for tile in ("64", "off"):
        target = tmp_path / f"{tile}.mkv"
        arguments = ["translate", str(source), "-m", model, "-o", str(target), "--tile", tile]
        assert main([*arguments, "--codec", "ffv1", "--device", "cpu", "--precision", "fp32"]) == 0
        with VideoReader(target) as video:
            frames[tile] = np.stack([frame.pixels for frame in video]).astype(int)
    assert frames["64"].shape == (3, 112, 160, 3)
    # Rounding may fall to either side of a half: one level of a colour difference is two of blue.
    difference = np.abs(frames["64"] - frames["off"])
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("tile", [0, -1, 63, True, "on", 100.0, None])
def test_what_is_no_size_of_tiles_is_refused(tile: Any) -> None:
    translator = Translator(
        PretrainedModel(
            ModelConfig(modality="image", generators={"a2b": RESNET}), {"a2b": made(RESNET)}
        ),
        device="cpu",
    )
    with pytest.raises(UserError, match="tile: must be 'auto', 'off' or a whole number of at lea"):
        translator.translate(scene(8, 8), tile=tile)


@pytest.mark.parametrize("tile", ["0", "63", "on", "1e3"])
def test_the_command_refuses_it_too(
    tile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "a.png", "-m", "m", "-o", str(tmp_path / "b"), "--tile", tile]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: argument --tile: ")
    assert "at least 64, nor auto or off" in message


def test_tiles_are_taken_where_the_whole_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    network = made(RESNET)
    memory = 0

    def available(device: torch.device) -> int:
        return memory

    monkeypatch.setattr(tiles, "available_memory", available)
    frame = (2160, 3840)
    each = tiles_memory.bytes_per_pixel(network, CPU)
    memory = int(100 * each * 2160 * 3840)
    assert choose_tile(network, 1, frame, "auto") is None
    assert choose_tile(network, 1, frame, 512) == 512
    assert choose_tile(network, 1, frame, "off") is None
    memory = int(each * 2160 * 3840)  # no more than half of it may be taken
    side = choose_tile(network, 1, frame, "auto")
    assert side is not None
    assert side**2 * each < memory / 8
    # A batch of frames that would fit one by one is too much, too.
    memory = int(4 * each * 2160 * 3840)
    assert choose_tile(network, 1, frame, "auto") is None
    assert choose_tile(network, 4, frame, "auto") is not None
    memory = 0
    assert choose_tile(network, 1, (256, 256), "auto") is None  # fits in any case
    # However large, no tiles where the picture is no larger than one.
    assert choose_tile(network, 1, (256, 256), 256) is None


def test_the_demand_is_that_of_the_largest_tensors() -> None:
    network = made({"name": "resnet", "width": 16, "blocks": 1})
    # At full size there are at once the first convolution's 16 channels and their normalised
    # copy, float32, and at most a few such besides.
    demand = tiles_memory.bytes_per_pixel(network, CPU)
    assert 2 * 16 * 4 <= demand <= 6 * 16 * 4
    wide = made({"name": "resnet", "width": 32, "blocks": 1})
    assert tiles_memory.bytes_per_pixel(wide, CPU) == pytest.approx(2 * demand, rel=0.2)


def test_the_memory_there_is_is_less_than_that_of_the_machine() -> None:
    assert 2**20 < tiles_memory.available_memory(CPU) < 2**50


class Hungry(Patchwork):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(2**60, dtype=torch.uint8)[:1]


def test_what_does_not_fit_names_tiles_as_the_way_out() -> None:
    network = Hungry(PatchworkConfig())
    with pytest.raises(RunError, match=r"not enough memory on cpu for 1 × 20 × 16.*--tile 512"):
        make_apply(network, CPU, torch.float32, 1)(scene(16, 20))
