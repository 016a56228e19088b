"""The style of an example: the code that a many-to-many model's encoder finds for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from many_to_many import ENCODER, GENERATOR, LATENT, as_tensor, by_hand, many, noise

from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, read_image, write_image
from cyclegan_media.pretrained import PretrainedModel
from cyclegan_media.translate import Translator
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.latent import reconstruct


@pytest.fixture
def model() -> Translator:
    return Translator(many(encoder_a=ENCODER, encoder_b=ENCODER), device="cpu", precision="fp32")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_image(tmp_path / "in.png", Image(noise(0)))


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_the_style_of_an_example_is_what_the_encoder_finds(
    model: Translator, direction: Any, picture: Path, tmp_path: Path
) -> None:
    back: Any = direction[::-1]
    example = noise(9, (21, 17))
    own = as_tensor(example)
    other = by_hand(model.generator(back), own, torch.zeros(LATENT))
    with torch.inference_mode():
        code = model.model.networks[f"encoder_{direction[-1]}"](own, other)[0]
    x = as_tensor(noise(0))
    wanted = by_hand(model.generator(direction), x, code)
    got = model.translate(x, direction=direction, latent_from=own)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    # A file, an array and a PIL picture are the same example.
    file = write_image(tmp_path / "example.png", Image(example))
    pixels = model.translate(noise(0), direction=direction, latent_from=example)
    examples: list[Any] = [file, str(file), PIL.Image.fromarray(example)]
    for same in examples:
        again = model.translate(noise(0), direction=direction, latent_from=same)
        np.testing.assert_array_equal(again, pixels)
    model.translate(picture, tmp_path / "out.png", direction=direction, latent_from=file)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png").pixels, pixels)


def test_two_examples_have_two_styles(model: Translator) -> None:
    torch.manual_seed(2)
    dark, light = np.full((16, 16, 3), 20, np.uint8), noise(4, (16, 16))
    one = model.translate(noise(0), latent_from=dark)
    other = model.translate(noise(0), latent_from=light)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(model.translate(noise(0), latent_from=dark), one)


def test_an_example_is_read_anew_for_each_call(model: Translator, tmp_path: Path) -> None:
    file = write_image(tmp_path / "example.png", Image(noise(4)))
    one = model.translate(noise(0), latent_from=file)
    write_image(file, Image(np.full((16, 16, 3), 250, np.uint8)), True)
    assert not np.array_equal(model.translate(noise(0), latent_from=file), one)


def test_a_picture_is_found_again_by_the_code_of_its_translation(model: Translator) -> None:
    pictures = torch.cat([as_tensor(noise(k)) for k in (1, 2)])
    translated = model.translate(pictures, seed=3)
    got = reconstruct(
        model.model, "a2b", pictures, translated,
        lambda network: make_apply(network, model.device, model.dtype, 1),
    )  # fmt: skip
    for a, b, again in zip(pictures.split(1), translated.split(1), got.split(1), strict=True):
        with torch.inference_mode():
            code = model.model.networks["encoder_a"](a, b)[0]
        wanted = by_hand(model.generator("b2a"), b, code)
        torch.testing.assert_close(again, wanted, atol=1e-5, rtol=0)


def test_a_style_is_borrowed_only_where_an_encoder_finds_it() -> None:
    def refused(parts: PretrainedModel, says: str) -> None:
        with pytest.raises(UserError, match=says):
            Translator(parts, device="cpu", precision="fp32").translate(
                noise(1), latent_from=noise(2)
            )

    refused(many(encoder_a=ENCODER), "needs its networks encoder_b and generator_b2a")
    one_way = many(encoder_b=ENCODER)
    del one_way.generators["b2a"]
    refused(one_way, "needs its networks encoder_b and generator_b2a")
    refused(many(encoder_b=GENERATOR), "needs its networks encoder_b")
    refused(many(encoder_b={**ENCODER, "latent": 5}), "gives codes of 5 numbers")
    # Drawn codes need no encoder.
    assert (
        Translator(many(), device="cpu", precision="fp32").translate(noise(1), samples=2).shape[0]
        == 2
    )
