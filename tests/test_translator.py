"""A loaded model on arrays, tensors, pictures and folders: what comes back and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch.nn import functional as F

import cyclegan_media
from cyclegan_media.backbones.registry import Backbone, BackboneConfig, build, register
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import Image, read_image, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics
from cyclegan_media.translate import Translator
from cyclegan_media.translate.folder import plan


class NegativeConfig(BackboneConfig):
    pass


@register("test_negative")
class Negative(Backbone):
    """Photographic negative: a translation whose every value is known."""

    Config = NegativeConfig
    modality = "image"
    role = "generator"
    multiple = 4
    minimum = 12

    def __init__(self, config: NegativeConfig) -> None:
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return x * self.scale


def model(**generators: dict[str, Any]) -> PretrainedModel:
    networks: dict[Any, Backbone] = {way: build(spec) for way, spec in generators.items()}
    config = ModelConfig(modality="image", generators=dict(generators))  # type: ignore[arg-type]
    return PretrainedModel(config, networks)


@pytest.fixture
def negative() -> Translator:
    return Translator(model(a2b={"name": "test_negative"}), device="cpu", precision="fp32")


def noise(size: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    values = np.random.default_rng(1).random(size)
    if np.issubdtype(dtype, np.integer):
        return (values * np.iinfo(dtype).max).round().astype(dtype)
    return values.astype(dtype)


SIZES = [(1, 1), (1, 7), (5, 3), (12, 12), (33, 17)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integer_arrays_of_any_size_come_back_in_their_type(
    size: tuple[int, int], dtype: type, negative: Translator
) -> None:
    pixels = noise((*size, 3), dtype)
    result = negative.translate(pixels)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_arrays_are_in_0_to_1(dtype: type, negative: Translator) -> None:
    pixels = noise((2, 9, 10, 3), dtype)
    result = negative.translate(pixels)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, 1 - pixels, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 9, 10), (2, 3, 9, 10), (2, 3, 1, 1)])
def test_tensors_are_in_minus_1_to_1_or_bytes(size: tuple[int, ...], negative: Translator) -> None:
    values = torch.rand(size, dtype=torch.float64) * 2 - 1
    result = negative.translate(values)
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, -values, atol=1e-6, rtol=0)
    levels = torch.randint(256, size, dtype=torch.uint8)
    torch.testing.assert_close(negative.translate(levels), 255 - levels)


def test_pil_pictures_keep_their_transparency(negative: Translator) -> None:
    pixels = noise((5, 6, 4))
    result = negative.translate(PIL.Image.fromarray(pixels))
    assert result.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(result)[..., :3], 255 - pixels[..., :3])
    np.testing.assert_array_equal(np.asarray(result)[..., 3], pixels[..., 3])
    grey = negative.translate(PIL.Image.fromarray(pixels[..., 0]))
    np.testing.assert_array_equal(np.asarray(grey), np.stack([255 - pixels[..., 0]] * 3, -1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((5, 6), np.uint8), "shaped"),
        (np.zeros((5, 6, 4), np.uint8), "shaped"),
        (np.zeros((0, 6, 3), np.uint8), "shaped"),
        (np.zeros((5, 6, 3), np.int32), "uint8, uint16 or float"),
        (np.full((5, 6, 3), 255.0), r"values in 0…1, but here they are in 255"),
        (np.full((5, 6, 3), np.nan), "values in 0…1"),
        (torch.zeros(5, 6, 3), "shaped"),
        (torch.full((3, 5, 6), 255.0), "values in −1…1"),
        (torch.zeros(3, 5, 6, dtype=torch.int32), "uint8 or float"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(
    wrong: Any, said: str, negative: Translator
) -> None:
    with pytest.raises(UserError, match=said):
        negative.translate(wrong)


def test_padding_is_the_mirror_image_and_is_cut_off_again() -> None:
    torch.manual_seed(3)
    translator = Translator(
        model(a2b={"name": "resnet", "width": 4, "blocks": 1}), device="cpu", precision="fp32"
    )
    picture = torch.rand(1, 3, 18, 21) * 2 - 1
    # 18 → 20 rows: one more above and below. 21 → 24 columns: one more left, two more right.
    padded = F.pad(picture, (1, 2, 1, 1), mode="reflect")
    with torch.inference_mode():
        wanted = translator.generator("a2b")(padded)[:, :, 1:19, 1:22]
    torch.testing.assert_close(translator.translate(picture), wanted)


def test_the_batch_size_changes_nothing() -> None:
    torch.manual_seed(3)
    translator = Translator(
        model(a2b={"name": "resnet", "width": 4, "blocks": 1}), device="cpu", precision="fp32"
    )
    pictures = torch.rand(5, 3, 16, 16) * 2 - 1
    one = translator.translate(pictures, batch_size=1)
    torch.testing.assert_close(translator.translate(pictures, batch_size=3), one)
    with pytest.raises(UserError, match="batch_size"):
        translator.translate(pictures, batch_size=0)


def test_bf16_comes_close_to_fp32() -> None:
    torch.manual_seed(3)
    parts = model(a2b={"name": "resnet", "width": 8, "blocks": 3})
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    full = Translator(parts, device="cpu", precision="fp32").translate(picture)
    half = Translator(parts, device="cpu", precision="bf16").translate(picture)
    error = (full - half).square().mean()
    assert 0 < error < 4 * 10 ** (-40 / 10)  # PSNR above 40 dB, white to black being 2


def test_output_that_is_not_finite_is_an_error_not_a_picture(negative: Translator) -> None:
    with torch.no_grad():
        negative.generator("a2b").get_parameter("scale").fill_(torch.nan)
    with pytest.raises(RunError, match="not finite"):
        negative.translate(noise((5, 6, 3)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_file_keeps_depth_transparency_and_profile(
    suffix: str, dtype: type, negative: Translator, tmp_path: Path
) -> None:
    pixels, alpha = noise((5, 6, 3), dtype), noise((5, 6), dtype)
    source, target = tmp_path / f"in{suffix}", tmp_path / "new" / f"out{suffix}"
    write_image(source, Image(pixels, alpha))
    assert negative.translate(source, target) == target
    result = read_image(target)
    np.testing.assert_array_equal(result.pixels, np.iinfo(dtype).max - pixels)
    np.testing.assert_array_equal(result.alpha, alpha)


def test_files_that_exist_are_kept_unless_told_otherwise(
    negative: Translator, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    write_image(source, Image(noise((5, 6, 3))))
    target.write_bytes(b"precious")
    with pytest.raises(UserError, match="--overwrite"):
        negative.translate(source, target)
    assert target.read_bytes() == b"precious"
    negative.translate(source, target, overwrite=True)
    assert read_image(target).pixels.shape == (5, 6, 3)
    with pytest.raises(UserError, match="its own source"):
        negative.translate(source, source, overwrite=True)


def test_a_folder_is_translated_into_a_folder(
    negative: Translator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in (1, 2, 10):
        write_image(folder / f"{k}.png", Image(np.full((3, 3, 3), k, np.uint8)))
    (folder / "notes.txt").write_text("not a picture")
    (folder / "voice.wav").write_bytes(b"for another model")
    negative.translate(folder, tmp_path / "out")
    results = {path.name: read_image(path).pixels[0, 0, 0] for path in (tmp_path / "out").iterdir()}
    assert results == {"1.png": 254, "2.png": 253, "10.png": 245}

    (folder / "2.png").write_bytes(b"damaged")
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(UserError, match="1 of 3 files could not be translated"),
    ):
        negative.translate(folder, tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["1.png", "10.png"]
    assert "2.png" in caplog.text


def test_a_plan_says_what_goes_where(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.pgm", "c.mp4", "d.wav", "e.wma"):
        (folder / name).write_bytes(b"x")

    def targets(sources: list[Path], target: Path, modality: Any) -> list[str]:
        jobs = plan(sources, target, modality)
        return [str(job.target.relative_to(tmp_path)) for job in jobs]

    out, existing = tmp_path / "out", tmp_path / "there"
    existing.mkdir()
    # Formats that are read but not written become one that is.
    assert targets([folder], out, "image") == ["out/a.png", "out/b.png", "out/c.mp4"]
    assert targets([folder], out, "voice") == ["out/d.wav", "out/e.wav"]
    assert targets([folder / "a.png"], tmp_path / "x.jpg", "image") == ["x.jpg"]
    assert targets([folder / "a.png"], existing, "image") == ["there/a.png"]
    assert targets([folder / "a.png", folder / "c.mp4"], out, "image") == [
        "out/a.png",
        "out/c.mp4",
    ]
    # The sound of a video is a recording.
    assert targets([folder / "c.mp4"], existing, "voice") == ["there/c.wav"]
    with pytest.raises(UserError, match="both"):
        plan([folder / "a.png", folder / "a.png"], out, "image")
    with pytest.raises(UserError, match="is a recording, but this model"):
        plan([folder / "d.wav"], out, "image")
    with pytest.raises(UserError, match="is a picture, but this model"):
        plan([folder / "a.png"], tmp_path / "a.wav", "voice")
    with pytest.raises(UserError, match=r"'\.png'.* is a video"):
        plan([folder / "c.mp4"], tmp_path / "c.png", "image")
    with pytest.raises(UserError, match="holds no recordings"):
        plan([existing], out, "voice")


def test_a_model_of_one_direction_says_so(negative: Translator, tmp_path: Path) -> None:
    assert negative.directions == ("a2b",)
    with pytest.raises(UserError, match="no generator for the direction b2a, only for a2b"):
        negative.translate(noise((5, 6, 3)), direction="b2a")


def test_what_goes_together_is_checked(negative: Translator, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="target"):
        negative.translate(str(tmp_path / "a.png"))  # type: ignore[call-overload]
    with pytest.raises(UserError, match="target"):
        negative.translate(noise((5, 6, 3)), tmp_path / "a.png")  # type: ignore[call-overload]
    with pytest.raises(UserError, match="sample_rate"):
        negative.translate(noise((5, 6, 3)), sample_rate=16000)


def voice_model() -> PretrainedModel:
    spec = {"name": "gated_cnn", "coefficients": 24, "width": 2, "residual_blocks": 1}
    statistics = SpeakerStatistics(np.zeros(24, np.float32), np.ones(24, np.float32), 5.0, 0.2)
    config = ModelConfig(
        modality="voice", generators={"a2b": spec}, analysis=AnalysisConfig(f0="dio").model_dump()
    )
    tensors = statistics.to_tensors("a") | statistics.to_tensors("b")
    return PretrainedModel(config, {"a2b": build(spec)}, tensors)


def test_a_voice_in_memory_keeps_its_type_length_and_rate() -> None:
    translator = Translator(voice_model(), device="cpu", precision="fp32")
    rate = 22050
    pulses = (np.arange(rate // 2) % (rate // 150) == 0).astype(np.float64)
    result = translator.translate(pulses, sample_rate=rate)
    assert result.shape == pulses.shape
    assert result.dtype == np.float64
    assert 0 < np.abs(result).max() <= 1
    as_tensor = translator.translate(torch.from_numpy(pulses), sample_rate=rate)
    np.testing.assert_array_equal(as_tensor.numpy(), result)
    with pytest.raises(UserError, match="sample_rate: is needed"):
        translator.translate(pulses)
    with pytest.raises(UserError, match="converts voices"):
        translator.translate(noise((5, 6, 3)), sample_rate=rate)
    with pytest.raises(UserError, match="direction b2a"):
        translator.translate(pulses, sample_rate=rate, direction="b2a")


def test_load_takes_a_model_folder_or_that_of_a_training(tmp_path: Path) -> None:
    save_model(tmp_path / "run" / "model", model(a2b={"name": "resnet", "width": 4, "blocks": 1}))
    picture = noise((16, 16, 3))
    one = cyclegan_media.load(tmp_path / "run" / "model", device="cpu", precision="fp32").translate(
        picture
    )
    other = cyclegan_media.load(str(tmp_path / "run"), device="cpu", precision="fp32").translate(
        picture
    )
    np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="nowhere"):
        cyclegan_media.load(tmp_path / "nowhere")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="cuda"):
        Translator(model(a2b={"name": "test_negative"}), device="cuda")


def test_a_published_model_gives_the_published_result(shared_golden: Path) -> None:
    from cyclegan_media.pretrained import import_published

    translator = Translator(
        import_published(shared_golden / "latest_net_G.pth"), device="cpu", precision="fp32"
    )
    pixels = noise((64, 64, 3))
    network = translator.generator("a2b")
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        wanted = ((network(batch)[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    # The same function summed in another order: a value halfway may be rounded either way.
    difference = np.abs(translator.translate(pixels).astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
