"""Many translations of one input: drawn from a seed, held over a clip, asked for by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from many_to_many import ENCODER, LATENT, as_tensor, by_hand, many, noise
from video_files import moving, write_video

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.faces import Face
from cyclegan_media.media import Image, VideoReader, read_image, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate import Translator
from cyclegan_media.translate.face import FaceOptions, Faces
from cyclegan_media.translate.folder import plan
from cyclegan_media.translate.latent import draw_code


@pytest.fixture
def model() -> Translator:
    return Translator(many(encoder_a=ENCODER, encoder_b=ENCODER), device="cpu", precision="fp32")


@pytest.fixture
def one_to_one() -> Translator:
    spec = {"name": "resnet", "width": 4, "blocks": 1}
    config = ModelConfig(modality="image", generators={"a2b": spec})
    return Translator(
        PretrainedModel(config, {"a2b": build(spec).eval()}), device="cpu", precision="fp32"
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_image(tmp_path / "in.png", Image(noise(0)))


# ---------------------------------------------------------------------------- drawn codes


def test_a_code_depends_on_seed_and_number_alone() -> None:
    for length in (1, 3, 16, 17, 40):
        codes = [draw_code(length, seed=7, sample=k) for k in (1, 2, 3)]
        assert len({tuple(code.tolist()) for code in codes}) == 3
        torch.rand(5)  # the global random state plays no part
        assert torch.equal(draw_code(length, seed=7, sample=2), codes[1])
        assert not torch.equal(draw_code(length, seed=8, sample=2), codes[1])


def test_codes_have_the_distribution_of_the_prior() -> None:
    values = torch.stack([draw_code(8, seed, sample) for seed in range(100) for sample in (1, 4)])
    assert abs(float(values.mean())) < 4 / 40  # four deviations of a mean of 1600
    assert float(values.std()) == pytest.approx(1, abs=0.08)
    # Neither neighbours in a code nor codes of one seed say anything of each other.
    assert float(torch.corrcoef(values.T).fill_diagonal_(0).abs().max()) < 0.35
    first, fourth = values[0::2].flatten(), values[1::2].flatten()
    assert abs(float(torch.corrcoef(torch.stack([first, fourth]))[0, 1])) < 0.15


def test_samples_are_files_of_their_own_and_the_same_every_time(
    model: Translator, picture: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "out.png"
    assert model.translate(picture, target, samples=4, seed=7) == target
    files = [tmp_path / "new" / f"out-{k}.png" for k in (1, 2, 3, 4)]
    assert sorted(target.parent.iterdir()) == files
    contents = [file.read_bytes() for file in files]
    assert len(set(contents)) == 4
    model.translate(picture, tmp_path / "again.png", samples=4, seed=7)
    assert [(tmp_path / f"again-{k}.png").read_bytes() for k in (1, 2, 3, 4)] == contents
    # The first ones do not depend on how many follow; one alone is the first.
    model.translate(picture, tmp_path / "two.png", samples=2, seed=7)
    assert [(tmp_path / f"two-{k}.png").read_bytes() for k in (1, 2)] == contents[:2]
    model.translate(picture, tmp_path / "one.png", seed=7)
    assert (tmp_path / "one.png").read_bytes() == contents[0]
    model.translate(picture, tmp_path / "other.png", seed=8)
    assert (tmp_path / "other.png").read_bytes() not in contents


def test_a_sample_is_the_network_with_its_code(model: Translator, picture: Path) -> None:
    generator = model.generator("a2b")
    x = as_tensor(noise(0))
    got = model.translate(x[0], samples=2, seed=7)
    assert got.shape == (2, 3, 18, 23)
    for k in (1, 2):
        wanted = by_hand(generator, x, draw_code(LATENT, 7, k))[0]
        torch.testing.assert_close(got[k - 1], wanted, atol=1e-5, rtol=0)


def test_without_a_seed_it_is_0(model: Translator) -> None:
    pixels = noise(0)
    np.testing.assert_array_equal(model.translate(pixels), model.translate(pixels, seed=0))
    assert not np.array_equal(model.translate(pixels), model.translate(pixels, seed=1))


def test_a_number_is_one_style_in_all_files_of_a_folder(model: Translator, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in (1, 2):
        write_image(folder / f"{k}.png", Image(noise(k, (12 + k, 20))))
    model.translate(folder, tmp_path / "out", samples=2, seed=3, batch_size=2)
    names = ["1-1.png", "1-2.png", "2-1.png", "2-2.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for k in (1, 2):
        alone = model.translate(noise(k, (12 + k, 20)), samples=2, seed=3)
        for sample in (1, 2):
            written = read_image(tmp_path / "out" / f"{k}-{sample}.png").pixels
            np.testing.assert_array_equal(written, alone[sample - 1])


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_arrays_and_tensors_have_samples_in_a_dimension_of_their_own(
    model: Translator, direction: Any
) -> None:
    pixels = np.stack([noise(1), noise(2)])
    got = model.translate(pixels, direction=direction, samples=3, seed=1)
    assert got.shape == (3, *pixels.shape)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[0], model.translate(pixels, direction=direction, seed=1))
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    same = model.translate(tensor, direction=direction, samples=3, seed=1)
    np.testing.assert_array_equal(same.permute(0, 1, 3, 4, 2).numpy(), got)
    shown = model.translate(PIL.Image.fromarray(pixels[0]), direction=direction, seed=1)
    np.testing.assert_array_equal(np.asarray(shown), got[0, 0])
    with pytest.raises(UserError, match="for arrays and tensors"):
        model.translate(PIL.Image.fromarray(pixels[0]), samples=2)  # type: ignore[call-overload]


def test_a_clip_has_one_style_for_all_its_frames(model: Translator, tmp_path: Path) -> None:
    still = write_video(tmp_path / "still.mp4", [moving(1, (32, 40))[0] for _ in range(5)])
    lossless: dict[str, Any] = {"crf": 0, "preset": "ultrafast", "batch_size": 2}
    model.translate(still, tmp_path / "out.mp4", samples=2, seed=7, **lossless)
    clips = []
    for k in (1, 2):
        with VideoReader(tmp_path / f"out-{k}.mp4") as video:
            clips.append(np.stack([frame.pixels for frame in video]).astype(int))
    for clip in clips:
        assert len(clip) == 5
        assert np.abs(clip - clip[0]).max() <= 1  # batches of two and of one
    assert np.abs(clips[0] - clips[1]).max() > 20


class Everywhere:
    """Sees one face, always in the same place."""

    def detect(self, pixels: Any) -> list[Face]:
        return [Face(box=(12.0, 10.0, 40.0, 40.0), landmarks=None)]


def test_faces_have_styles_too(model: Translator, tmp_path: Path) -> None:
    source = write_image(tmp_path / "in.png", Image(noise(1, (64, 64))))
    faces = Faces(Everywhere(), FaceOptions(size=32, match_colours=False))
    model.translate(source, tmp_path / "out.png", faces=faces, samples=2)
    one, other = (read_image(tmp_path / f"out-{k}.png").pixels.astype(int) for k in (1, 2))
    assert np.abs(one - other).max() > 20
    np.testing.assert_array_equal(one[0], noise(1, (64, 64))[0])  # far from the face


def test_tiles_have_the_style_of_the_whole(model: Translator, tmp_path: Path) -> None:
    source = write_image(tmp_path / "in.png", Image(noise(1, (150, 170))))
    tiles: tuple[Any, ...] = ("off", 64)
    for tile in tiles:
        model.translate(source, tmp_path / f"{tile}.png", samples=2, tile=tile)
    for k in (1, 2):
        whole, tiled = (read_image(tmp_path / f"{tile}-{k}.png").pixels for tile in tiles)
        assert np.abs(whole.astype(int) - tiled).max() <= 1


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "options",
    [{"samples": 1}, {"samples": 3}, {"seed": 0}, {"latent_from": noise(1)}],
)
def test_a_model_of_one_answer_has_no_styles(
    options: dict[str, Any], one_to_one: Translator, picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has one translation of each input"):
        one_to_one.translate(noise(1), **options)
    with pytest.raises(UserError, match="has one translation of each input"):
        one_to_one.translate(picture, tmp_path / "new" / "out.png", **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "samples: must be at least 1, not 0"),
        ({"seed": -1}, "seed: must be in 0…"),
        ({"seed": 2**64}, "seed: must be in 0…"),
        ({"latent_from": noise(1), "samples": 2}, "an example has one code"),
        ({"latent_from": noise(1), "seed": 2}, "an example has one code"),
        ({"latent_from": np.zeros((2, 9, 9, 3), np.uint8)}, "one picture, not of 2"),
        ({"latent_from": np.zeros((9, 9), np.uint8)}, "is shaped"),
        ({"latent_from": "nowhere.png"}, "nowhere.png"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], says: str, model: Translator
) -> None:
    with pytest.raises(UserError, match=says):
        model.translate(noise(1), **options)


def test_samples_never_replace_a_source(tmp_path: Path) -> None:
    for name in ("a.png", "a-1.png"):
        write_image(tmp_path / name, Image(noise(1)))
    with pytest.raises(UserError, match=r"a-1\.png: would replace another source"):
        plan([tmp_path], tmp_path, "image", overwrite=True, samples=1)
    with pytest.raises(UserError, match=r"a-1\.png: exists already"):
        plan([tmp_path / "a.png"], tmp_path / "a.png", "image", samples=2)


# ---------------------------------------------------------------------------- the command


@pytest.fixture
def folder(model: Translator, tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", model.model)


def test_the_command_writes_samples_and_borrows_styles(
    folder: Path,
    model: Translator,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def translate(*arguments: str | Path) -> int:
        command = ["translate", str(picture), "-m", str(folder), "--precision", "fp32"]
        return main([*command, *map(str, arguments)])

    target = tmp_path / "new" / "out.png"
    assert translate("-o", target, "--samples", "3", "--seed", "7", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{picture} → {tmp_path / 'new' / f'out-{k}.png'}" for k in (1, 2, 3)
    ]
    assert not target.parent.exists()
    assert translate("-o", target, "--samples", "3", "--seed", "7") == 0
    wanted = model.translate(noise(0), samples=3, seed=7)
    for k in (1, 2, 3):
        written = read_image(target.with_name(f"out-{k}.png")).pixels
        np.testing.assert_array_equal(written, wanted[k - 1])
    example = write_image(tmp_path / "example.png", Image(noise(9)))
    assert translate("-o", tmp_path / "lent.png", "--latent-from", example) == 0
    np.testing.assert_array_equal(
        read_image(tmp_path / "lent.png").pixels, model.translate(noise(0), latent_from=noise(9))
    )


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
def test_the_command_refuses_in_one_line(
    extra: list[str],
    folder: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*arguments: str) -> str:
        target = str(tmp_path / "out.png")
        status = main(
            ["translate", str(picture), "-m", str(folder), "-o", target, *arguments, *extra]
        )
        assert status == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    assert "one code" in refused("--latent-from", str(picture), "--samples", "2")
    missing = str(tmp_path / "missing.png")
    assert missing in refused("--latent-from", missing)
    (folder / "encoder_b.safetensors").unlink()
    assert "encoder_b.safetensors" in refused("--seed", "3")
    assert not list(tmp_path.glob("out*"))


def test_info_says_that_there_are_many(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder)]) == 0
    assert capsys.readouterr().out.count("many-to-many: latent of 3 numbers") == 2
