"""Every term says what its paper's equation says, and its gradient reaches what it should."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan_media.core import CycleGAN, Translation, Weight
from cyclegan_media.core.methods import Augmented, Clips, Recycle
from cyclegan_media.core.terms import (
    FeatureCycle,
    FeatureMatching,
    LatentCycle,
    MaskedCycle,
    Recurrent,
    Recycled,
    SSIMCycle,
    Temporal,
)
from cyclegan_media.core.terms.contrastive import patch_nce
from cyclegan_media.core.terms.video import warp


class Scale(nn.Module):
    """y = w x"""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class Judge(Scale):
    """A discriminator with one layer, 2 w x, before its scores w x."""

    def features(self, x: Tensor) -> list[list[Tensor]]:
        return [[2 * self.weight * x, self.weight * x]]


class TwoScales(Judge):
    """The same at two scales, the second three times as steep."""

    def features(self, x: Tensor) -> list[list[Tensor]]:
        return [*super().features(x), *super().features(3 * x)]


def full(value: float, batch: int = 1) -> Tensor:
    return torch.full((batch, 3, 2, 2), value)


def scaled(d_a: nn.Module, d_b: nn.Module, step: int = 0, b: Tensor | None = None) -> Translation:
    """a = 1, b = 4; G(a) = 2, F(b) = 1; the cycles are 0.5 and 2."""
    networks = CycleGAN(Scale(2.0), Scale(0.25), d_a, d_b)
    return Translation(networks, full(1.0), full(4.0) if b is None else b, step=step)


def numbers(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in values.items()}


def test_feature_cycle_by_hand() -> None:
    # D_A's features are x, 2 x apart from |0.5 − 1|; D_B's are 0.2 x
    def cycle(**options: object) -> dict[str, float]:
        return numbers(FeatureCycle(**options)(scaled(Judge(0.5), Judge(0.1))))  # type: ignore[arg-type]

    assert cycle() == pytest.approx({"feature_cycle_a": 0.5, "feature_cycle_b": 2.0}, rel=1e-5)
    assert cycle(gamma=Weight(1.0)) == pytest.approx(
        {"feature_cycle_a": 0.5, "feature_cycle_b": 0.4}, rel=1e-5
    )
    assert cycle(gamma=Weight(0.25)) == pytest.approx(
        {
            "feature_cycle_a": 0.25 * 0.5 + 0.75 * 0.5,
            "feature_cycle_b": 0.25 * 0.4 + 0.75 * 2.0,
        },
        rel=1e-5,
    )
    # D_A(a) = 0.5, D_B(b) = 0.4
    assert cycle(quality="real") == pytest.approx(
        {"feature_cycle_a": 0.25, "feature_cycle_b": 0.8}, rel=1e-5
    )
    # D_B(G(a)) = 0.2, D_A(F(b)) = 0.5
    assert cycle(quality="generated") == pytest.approx(
        {"feature_cycle_a": 0.1, "feature_cycle_b": 1.0}, rel=1e-5
    )
    assert cycle(gamma=Weight(1.0), quality="real") == pytest.approx(
        {
            "feature_cycle_a": 0.25,
            "feature_cycle_b": 0.16,
        },
        rel=1e-5,
    )


def test_feature_cycle_follows_its_schedule() -> None:
    term = FeatureCycle(gamma=Weight(0.0, final=0.9, start=100, end=200))
    values = [
        term(scaled(Judge(0.5), Judge(0.1), step))["feature_cycle_b"].item()
        for step in (0, 100, 150, 200, 1000)
    ]
    assert values == pytest.approx([2.0, 2.0, 0.55 * 2 + 0.45 * 0.4, 0.56, 0.56])


def test_quality_stays_within_0_and_1_and_is_of_each_example() -> None:
    # D_B(G(a)) = 6 and D_A(F(b)) = −1: beyond both ends of the scale
    values = FeatureCycle(quality="generated")(scaled(Judge(-1.0), Judge(3.0)))
    assert numbers(values) == pytest.approx(
        {"feature_cycle_a": 0.5, "feature_cycle_b": 0.0}, rel=1e-5
    )
    # two examples of b, 4 and 1, with D_B(b) of 0.4 and 0.1 and cycles off by 2 and 0.5
    t = scaled(Judge(0.5), Judge(0.1), b=torch.cat([full(4.0), full(1.0)]))
    value = FeatureCycle(quality="real")(t)["feature_cycle_b"].item()
    assert value == pytest.approx((0.4 * 2 + 0.1 * 0.5) / 2)


@pytest.mark.parametrize(
    ("loss", "quality"), [("bce", 1 / (1 + math.exp(-0.4))), ("hinge", (0.4 + 1) / 2)]
)
def test_quality_reads_scores_on_the_scale_of_their_game(loss: str, quality: float) -> None:
    value = FeatureCycle(quality="real", loss=loss)(scaled(Judge(0.5), Judge(0.1)))
    assert value["feature_cycle_b"].item() == pytest.approx(2 * quality)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": "real", "loss": "wgan-gp"}, "no scale from fake to real"),
        ({"loss": "nonsense"}, "no adversarial loss is called 'nonsense'"),
        ({"gamma": Weight(0.0, final=1.5, end=10)}, "must stay in 0…1"),
    ],
)
def test_feature_cycle_refuses_what_has_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureCycle(**options)  # type: ignore[arg-type]


def test_several_scales_count_as_their_mean_in_the_feature_cycle() -> None:
    values = FeatureCycle(gamma=Weight(1.0))(scaled(TwoScales(0.5), TwoScales(0.1)))
    assert numbers(values) == pytest.approx(
        {
            "feature_cycle_a": (0.5 + 1.5) / 2,
            "feature_cycle_b": (0.4 + 1.2) / 2,
        },
        rel=1e-5,
    )


def test_feature_matching_sums_over_layers_and_scales_without_the_scores() -> None:
    values = FeatureMatching()(scaled(TwoScales(0.5), TwoScales(0.1)))
    assert numbers(values) == pytest.approx(
        {"feature_matching_a": 0.5 + 1.5, "feature_matching_b": 0.4 + 1.2}, rel=1e-5
    )


def test_masked_cycle_is_the_mean_where_the_mask_is() -> None:
    t = scaled(Scale(1.0), Scale(1.0))  # every pixel of a is off by 0.5, of b by 2
    t.real_a[..., 0, 0] = 3.0  # this one by 1.5
    t.extras = {"face_mask_a": torch.zeros(1, 1, 2, 2), "face_mask_b": torch.zeros(1, 1, 2, 2)}
    assert numbers(MaskedCycle()(t)) == pytest.approx(
        {"masked_cycle_a": 0.0, "masked_cycle_b": 0.0}, rel=1e-5
    )
    t.extras["face_mask_a"][..., 0, 0] = 0.5
    t.extras["face_mask_a"][..., 0, 1] = 1.0
    t.extras["face_mask_b"][..., 1, 1] = 0.25
    expected_a = (0.5 * 1.5 + 1.0 * 0.5) / 1.5
    assert numbers(MaskedCycle()(t)) == pytest.approx(
        {"masked_cycle_a": expected_a, "masked_cycle_b": 2.0}, rel=1e-5
    )


def test_ssim_cycle_is_0_for_equal_pictures_and_follows_its_formula_for_flat_ones() -> None:
    size = (2, 3, 16, 16)  # in float64: variance near 0 is a difference of large numbers
    a = torch.full(size, 0.2, dtype=torch.float64)
    b = torch.rand(size, dtype=torch.float64) * 2 - 1
    same = Translation(CycleGAN(Scale(1.0), Scale(1.0)), a, b)
    assert numbers(SSIMCycle()(same)) == pytest.approx(
        {
            "ssim_cycle_a": 0.0,
            "ssim_cycle_b": 0.0,
        },
        rel=1e-5,
    )
    # Flat pictures have no variance: SSIM = (2 μ ν + C₁) / (μ² + ν² + C₁), C₁ = 0.01²
    other = Translation(CycleGAN(Scale(1.0), Scale(-1.0)), a, b)
    mu, nu = 0.6, 0.4  # 0.2 and −0.2, taken to 0…1
    ssim = (2 * mu * nu + 1e-4) / (mu**2 + nu**2 + 1e-4)
    assert SSIMCycle()(other)["ssim_cycle_a"].item() == pytest.approx(1 - ssim, rel=1e-3)


def test_patch_nce_by_hand() -> None:
    key = F.normalize(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), dim=2)
    query = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    # similarities over τ = 0.5: rows (2, 0) with the first wanted, (1.2, 1.6) with the second
    first = -math.log(math.exp(2) / (math.exp(2) + 1))
    second = -math.log(math.exp(1.6) / (math.exp(1.6) + math.exp(1.2)))
    loss = patch_nce(query, key, temperature=0.5)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_patch_nce_takes_negatives_from_the_same_example_only() -> None:
    query, key = F.normalize(torch.randn(3, 8, 4), dim=2), F.normalize(torch.randn(3, 8, 4), dim=2)
    whole = patch_nce(query, key, 0.07)
    each = [patch_nce(query[i : i + 1], key[i : i + 1], 0.07) for i in range(3)]
    assert whole.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


def test_warp_by_hand() -> None:
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    right = torch.zeros(1, 2, 3, 4)
    right[:, 0] = 1.0  # each pixel was one to the right before
    expected = torch.zeros(1, 1, 3, 4)
    expected[..., :3] = picture[..., 1:]
    torch.testing.assert_close(warp(picture, right), expected)
    up = torch.zeros(1, 2, 3, 4)
    up[:, 1] = -0.5  # half a pixel above
    torch.testing.assert_close(
        warp(picture, up)[0, 0, 1], (picture[0, 0, 0] + picture[0, 0, 1]) / 2
    )
    torch.testing.assert_close(warp(picture, torch.zeros(1, 2, 3, 4)), picture)


def moving_clip() -> tuple[Tensor, Tensor]:
    """A pattern that moves right by a pixel each frame, and its flow to the frame before."""
    strip = torch.rand(1, 3, 6, 12) * 2 - 1
    clip = torch.stack([strip[..., 4 - k : 10 - k] for k in range(3)], dim=1)
    flow = torch.zeros(1, 2, 2, 6, 6)
    flow[:, :, 0] = -1.0
    return clip, flow


def temporal(generator: nn.Module, clip: Tensor, flow: Tensor) -> float:
    networks = CycleGAN(generator, Scale(1.0))
    t = Clips(networks, clip, clip, {"flow_a": flow, "flow_b": flow})
    return Temporal()(t)["temporal_a2b"].item()


def test_temporal_is_0_for_what_moves_along_and_counts_flicker() -> None:
    clip, flow = moving_clip()
    assert temporal(Scale(0.5), clip, flow) == pytest.approx(0.0, abs=1e-6)

    class Flicker(nn.Module):
        def forward(self, frames: Tensor) -> Tensor:
            return frames + 0.1 * torch.arange(3.0)[:, None, None, None]

    assert temporal(Flicker(), clip, flow) == pytest.approx(0.1, rel=1e-4)


def test_temporal_weighs_by_what_the_source_shows_to_be_visible() -> None:
    clip, flow = moving_clip()
    clip[:, 1:, :, :, 3] = -clip[:, 1:, :, :, 3].sign()  # something passes in front
    before, after = torch.roll(clip[:, :-1], 1, 4), clip[:, 1:]
    t = Clips(CycleGAN(Scale(1.0), Scale(1.0)), clip, clip, {"flow_a": flow, "flow_b": flow})
    visible = torch.exp(-((after - before) / 2).square().sum(2))
    change = (after - before).abs().mean(2)
    inside = slice(1, None)  # the first column came from outside
    expected = (visible * change)[..., inside].sum() / visible[..., inside].sum()
    value = Temporal(alpha=1.0)(t)["temporal_a2b"].item()
    assert value == pytest.approx(expected.item(), rel=1e-4)
    assert Temporal(alpha=1000.0)(t)["temporal_a2b"].item() == pytest.approx(0.0, abs=1e-6)


class Sum(nn.Module):
    """A predictor or encoder to do by hand: w times the sum over channels, of one or two inputs."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if other is not None:
            return self.weight * (x + 10 * other).mean((2, 3))[:, :2]
        return self.weight * x.sum(1, keepdim=True).expand(-1, 3, -1, -1)


def test_recycle_gan_terms_by_hand() -> None:
    a = torch.stack([full(1.0), full(2.0), full(3.0)], dim=1)
    b = torch.stack([full(4.0), full(5.0), full(7.0)], dim=1)
    networks = CycleGAN(Scale(2.0), Scale(0.25), predictor_a=Sum(0.5), predictor_b=Sum(0.1))
    t = Recycle(networks, a, b)
    # P_A(1, 2) = 0.5 (3·1 + 3·2), P_B(4, 5) = 0.1 · 27
    assert numbers(Recurrent()(t)) == pytest.approx(
        {
            "recurrent_a": (4.5 - 3.0) ** 2,
            "recurrent_b": (2.7 - 7.0) ** 2,
        },
        rel=1e-5,
    )
    # F(P_B(2, 4)) = 0.25 · 0.1 · 18, G(P_A(1, 1.25)) = 2 · 0.5 · 6.75
    assert numbers(Recycled()(t)) == pytest.approx(
        {
            "recycle_a": (0.45 - 3.0) ** 2,
            "recycle_b": (6.75 - 7.0) ** 2,
        },
        rel=1e-5,
    )


class Coded(Scale):
    """y = w x + the mean of z"""

    latent = 2

    def forward(self, x: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
        return self.weight * x + z.mean(1)[:, None, None, None]


def test_latent_cycle_by_hand() -> None:
    networks = CycleGAN(Coded(2.0), Coded(0.5), encoder_a=Sum(1.0), encoder_b=Sum(0.1))
    t = Augmented(networks, full(1.0), full(4.0))
    t.latent_a, t.latent_b = torch.tensor([[1.0, 3.0]]), torch.tensor([[-1.0, 0.0]])
    # b~ = 2 − 0.5, a~ = 2 + 2; E_B(b~, a) = 0.1 (1.5 + 10), E_A(a~, b) = 4 + 40
    assert numbers(LatentCycle()(t)) == pytest.approx(
        {
            "latent_cycle_a": (abs(44 - 1) + abs(44 - 3)) / 2,
            "latent_cycle_b": (abs(1.15 + 1) + abs(1.15)) / 2,
        },
        rel=1e-5,
    )


def test_no_gradient_flows_through_the_quality() -> None:
    """With γ = 0 and q fixed, the gradient is q times that of the plain cycle."""
    t = scaled(Judge(0.5), Judge(0.1))
    FeatureCycle(quality="generated")(t)["feature_cycle_a"].backward()
    weighted = t.networks.generator_a2b.weight.grad
    plain = scaled(Judge(0.5), Judge(0.1))
    FeatureCycle()(plain)["feature_cycle_a"].backward()
    torch.testing.assert_close(weighted, 0.2 * plain.networks.generator_a2b.weight.grad)
