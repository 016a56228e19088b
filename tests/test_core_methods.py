"""Methods translate as their papers say, each tensor once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cyclegan_media.backbones import build
from cyclegan_media.core import CycleGAN, Translation
from cyclegan_media.core.methods import Augmented, Clips, Masked, Recycle

IMAGE = (2, 3, 16, 16)
CLIP = (2, 3, 3, 16, 16)
VOICE = (2, 8, 32)


class Recorded(nn.Module):
    """Returns the sum of its arguments and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Tensor, ...]] = []

    def forward(self, *arguments: Tensor) -> Tensor:
        self.given.append(arguments)
        return torch.stack(torch.broadcast_tensors(*arguments)).sum(0)


def test_masked_hides_frames_on_the_way_there_and_none_on_the_way_back() -> None:
    g, f = Recorded(), Recorded()
    a, b = torch.ones(1, 2, 4), 5 * torch.ones(1, 2, 4)
    mask_a, mask_b = torch.tensor([[[1.0, 0, 0, 1]]]), torch.tensor([[[0.0, 1, 1, 1]]])
    t = Masked(CycleGAN(g, f), a, b, {"mask_a": mask_a, "mask_b": mask_b})
    ones = torch.ones(1, 1, 4)
    for made, network, x, mask in (
        (t.fake_b, g, a * mask_a, mask_a),
        (t.fake_a, f, b * mask_b, mask_b),
        (t.cycle_a, f, t.fake_b, ones),
        (t.cycle_b, g, t.fake_a, ones),
        (t.identity_a, f, a, ones),
        (t.identity_b, g, b, ones),
    ):
        assert made.shape == a.shape
        matching = [given for given in network.given if torch.equal(given[0], x)]
        assert any(torch.equal(given[1], mask) for given in matching)
    assert len(g.given) == len(f.given) == 3  # the hidden frames reach neither network
    assert all(not torch.equal(given[0], a) for given in g.given)


def test_augmented_carries_codes_through_both_cycles() -> None:
    class Coded(Recorded):
        latent = 1

        def forward(self, x: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * x + z[:, :, None, None]

    class Difference(nn.Module):
        def forward(self, own: Tensor, other: Tensor) -> Tensor:
            return (own - 3 * other).mean((1, 2, 3))[:, None]

    networks = CycleGAN(Coded(), Coded(), encoder_a=Difference(), encoder_b=Difference())
    a, b = torch.full((2, 3, 2, 2), 1.0), torch.full((2, 3, 2, 2), 10.0)
    t = Augmented(networks, a, b)
    assert t.latent_a.shape == t.latent_b.shape == (2, 1)
    z_a, z_b = t.latent_a[:, :, None, None], t.latent_b[:, :, None, None]
    fake_b, fake_a = 2 * a + z_b, 2 * b + z_a
    encoded_a = (a - 3 * fake_b).mean((1, 2, 3))[:, None]  # E_A(a, b~)
    encoded_b = (b - 3 * fake_a).mean((1, 2, 3))[:, None]  # E_B(b, a~)
    torch.testing.assert_close(t.fake_b, fake_b)
    torch.testing.assert_close(t.fake_a, fake_a)
    torch.testing.assert_close(t.encoded_a, encoded_a)
    torch.testing.assert_close(t.encoded_b, encoded_b)
    torch.testing.assert_close(t.cycle_a, 2 * fake_b + encoded_a[:, :, None, None])
    torch.testing.assert_close(t.cycle_b, 2 * fake_a + encoded_b[:, :, None, None])
    torch.testing.assert_close(t.latent_cycle_a, (fake_a - 3 * b).mean((1, 2, 3))[:, None])
    torch.testing.assert_close(t.latent_cycle_b, (fake_b - 3 * a).mean((1, 2, 3))[:, None])


def test_codes_are_drawn_from_a_standard_normal_distribution() -> None:
    generator = build({"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 64})
    t = Augmented(
        CycleGAN(generator, generator), torch.zeros(256, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    )
    count = t.latent_b.numel()
    assert abs(t.latent_b.mean().item()) < 4 / math.sqrt(count)
    assert abs(t.latent_b.var().item() - 1) < 4 * math.sqrt(2 / count)


def test_clips_hold_for_each_frame_what_holds_for_pictures() -> None:
    network = build({"name": "resnet", "width": 4, "blocks": 1})
    clip = torch.rand(CLIP) * 2 - 1
    mask = torch.rand(2, 3, 1, 16, 16)
    t = Clips(CycleGAN(network, network), clip, clip, {"face_mask_a": mask, "flow_a": mask[:, 1:]})
    assert t.real_a.shape == (6, 3, 16, 16)
    assert torch.equal(t.clip("real", "a"), clip)
    torch.testing.assert_close(t.clip("fake", "b")[1, 2], network(clip[1, 2:])[0])
    assert torch.equal(t.extras["face_mask_a"], mask.flatten(0, 1))
    assert t.extras["flow_a"].shape == (2, 2, 1, 16, 16)


def test_predictors_see_the_earlier_frames_oldest_first() -> None:
    predictor = Recorded()
    networks = CycleGAN(nn.Identity(), nn.Identity(), predictor_a=predictor, predictor_b=Recorded())
    clip = torch.rand(CLIP)
    t = Recycle(networks, clip, clip)
    assert t.predicted_a.shape == (2, 6, 16, 16)
    assert torch.equal(predictor.given[0][0], torch.cat([clip[:, 0], clip[:, 1]], dim=1))
    assert torch.equal(t.last_a, clip[:, 2])


def test_every_tensor_is_computed_once() -> None:
    g, f = Recorded(), Recorded()
    t = Translation(CycleGAN(g, f), torch.ones(1), torch.ones(1))
    for _ in range(2):
        assert all(
            hasattr(t, f"{what}_{x}") for what in ("fake", "cycle", "identity") for x in "ab"
        )
    assert len(g.given) == len(f.given) == 3
