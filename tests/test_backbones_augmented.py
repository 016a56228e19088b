"""Augmented CycleGAN's networks, and Recycle-GAN's predictor."""

from __future__ import annotations

import pytest
import torch

from cyclegan_media.backbones.augmented import ConditionalInstanceNorm
from cyclegan_media.backbones.registry import Backbone, build, parse_config
from cyclegan_media.errors import UserError

IMAGE = torch.linspace(-1, 1, 2 * 3 * 16 * 24).reshape(2, 3, 16, 24).sin()


@pytest.fixture
def generator() -> Backbone:
    return build({"name": "cin_resnet", "latent": 5, "width": 4, "blocks": 2})


def test_conditional_norm_by_hand() -> None:
    norm = ConditionalInstanceNorm(channels=2, latent=1)
    with torch.no_grad():
        norm.modulation.weight.copy_(torch.tensor([[1.0], [0.0], [0.0], [2.0]]))
        norm.modulation.bias.copy_(torch.tensor([0.0, -0.5, 3.0, 0.0]))
    h = torch.tensor([[[[1.0, 3.0]], [[-4.0, 4.0]]]])  # normalised: −1, 1 in both channels
    # z = 2: γ = (1 + 2, 1 − 0.5), β = (3, 4)
    wanted = torch.tensor([[[[0.0, 6.0]], [[3.5, 4.5]]]])
    torch.testing.assert_close(norm(h, torch.tensor([[2.0]])), wanted, rtol=0, atol=1e-4)


def test_without_a_code_it_is_an_ordinary_generator(generator: Backbone) -> None:
    output = generator(IMAGE)
    assert output.shape == IMAGE.shape
    assert output.abs().max() <= 1
    assert torch.equal(output, generator(IMAGE, torch.zeros(2, 5)))


def test_each_example_gets_its_own_code(generator: Backbone) -> None:
    assert generator.latent == 5
    same = IMAGE[:1].expand(2, -1, -1, -1)
    z = torch.randn(2, 5)
    output = generator(same, z)
    assert not torch.allclose(output[0], output[1], atol=1e-3)
    torch.testing.assert_close(output[1:], generator(same[1:], z[1:]))


def test_every_normalisation_listens_to_the_code(generator: Backbone) -> None:
    z = torch.randn(2, 5, requires_grad=True)
    generator(IMAGE, z).square().sum().backward()
    assert z.grad is not None
    assert (z.grad != 0).all()
    norms = [m for m in generator.modules() if isinstance(m, ConditionalInstanceNorm)]
    assert len(norms) == 3 + 2 * 2 + 2
    for norm in norms:
        assert norm.modulation.weight.grad is not None
        assert norm.modulation.weight.grad.abs().max() > 0


def test_a_code_of_another_length_is_refused(generator: Backbone) -> None:
    with pytest.raises(UserError, match=r"'cin_resnet': needs a latent code shaped \(2, 5\)"):
        generator(IMAGE, torch.zeros(2, 4))


@pytest.mark.parametrize("size", [(16, 24), (1, 1), (64, 64)])
def test_encoder_takes_pairs_of_any_size(size: tuple[int, int]) -> None:
    encoder = build({"name": "latent_encoder", "latent": 5, "width": 4})
    a, b = torch.randn(2, 3, *size), torch.randn(2, 3, *size)
    code = encoder(a, b)
    assert code.shape == (2, 5)
    assert torch.equal(code, encoder(a, b))
    assert not torch.allclose(code, encoder(b, a))


def test_encoder_sees_colour_and_contrast() -> None:
    # Normalisation by instance in every layer would hide both.
    encoder = build({"name": "latent_encoder", "latent": 5, "width": 8})
    code = encoder(IMAGE, IMAGE)
    assert not torch.allclose(code, encoder(IMAGE, 0.3 * IMAGE), atol=1e-3)
    tinted = IMAGE + torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    assert not torch.allclose(code, encoder(IMAGE, tinted), atol=1e-3)


def test_encoder_refuses_pictures_of_two_sizes() -> None:
    encoder = build({"name": "latent_encoder", "width": 4})
    with pytest.raises(UserError, match="'latent_encoder': the two pictures differ"):
        encoder(IMAGE, IMAGE[..., :8])


def test_latent_discriminator_scores_codes() -> None:
    discriminator = build({"name": "latent_discriminator", "latent": 5, "width": 4, "layers": 2})
    z = torch.randn(3, 5)
    assert discriminator(z).shape == (3, 1)
    (blocks,) = discriminator.features(z)
    assert [tuple(block.shape) for block in blocks] == [(3, 4), (3, 4), (3, 1)]
    assert torch.equal(blocks[-1], discriminator(z))
    with pytest.raises(UserError, match=r"needs a latent code shaped \(3, 5\)"):
        discriminator(torch.zeros(3, 6))


@pytest.mark.parametrize("modality", ["image", "voice"])
def test_latent_discriminator_serves_images_and_voices(modality: str) -> None:
    cls, _ = parse_config(
        {"name": "latent_discriminator"},
        where="model",
        modality=modality,  # type: ignore[arg-type]
        role="latent_discriminator",
    )
    assert cls.modality == "any"


def test_predictor_maps_past_frames_to_one() -> None:
    predictor = build({"name": "predictor", "width": 2, "downsamplings": 3, "frames": 2})
    past = torch.cat([IMAGE, IMAGE.flip(3)], dim=1)
    output = predictor(past)
    assert output.shape == IMAGE.shape
    # The order of the frames matters.
    assert not torch.allclose(output, predictor(past.roll(3, dims=1)))
    with pytest.raises(UserError, match=r"'predictor': needs a batch shaped \(batch, 6, "):
        predictor(IMAGE)


def test_roles_are_kept_apart() -> None:
    with pytest.raises(UserError, match="'predictor' is for predictor, but generator is needed"):
        parse_config({"name": "predictor"}, where="model.generator", role="generator")
