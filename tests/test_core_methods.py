"""Methods translate as their papers say, and all of them train by the one training step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cyclegan_media.backbones import build
from cyclegan_media.core import (
    ADVERSARIAL_LOSSES,
    METHODS,
    TERMS,
    CycleGAN,
    Histories,
    Objective,
    OneSided,
    Optimisers,
    Translation,
    Weight,
    frozen_parameters,
    training_step,
)
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


# --- networks on two sides ------------------------------------------------------------------


def test_the_two_sides_hold_every_parameter_once() -> None:
    parts = {
        name: nn.Linear(1, 1, bias=False)
        for name in ("generator_a2b", "discriminator_b", "discriminator_latent_a", "encoder_a")
    }
    networks = CycleGAN(**parts)
    assert list(networks.generator_parameters()) == [
        parts["generator_a2b"].weight,
        parts["encoder_a"].weight,
    ]
    assert list(networks.discriminator_parameters()) == [
        parts["discriminator_b"].weight,
        parts["discriminator_latent_a"].weight,
    ]
    assert networks["encoder_a"] is networks.encoder_a is parts["encoder_a"]


# --- games ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(ADVERSARIAL_LOSSES))
def test_losses_of_several_scales_are_summed(name: str) -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [0.5 * x, 0.3 * x[..., ::2, ::2]]

    class One(nn.Module):
        def __init__(self, scale: int) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: Tensor) -> Tensor:
            return Twice()(x)[self.scale]

    game = ADVERSARIAL_LOSSES[name]()
    real, fake = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)

    def discriminator(judge: nn.Module) -> float:
        torch.manual_seed(0)  # of the points where gradients are penalised
        return game.discriminator(judge, real, fake).item()

    both = [discriminator(One(scale)) for scale in (0, 1)]
    assert discriminator(Twice()) == pytest.approx(sum(both), rel=1e-5)
    each = [game.generator(One(scale)(fake)).item() for scale in (0, 1)]
    assert game.generator(Twice()(fake)).item() == pytest.approx(sum(each), rel=1e-5)


def test_each_game_has_a_history_of_its_own_that_resumes_exactly() -> None:
    histories = Histories(size=4, seed=7)
    for k in range(20):
        histories["discriminator_a"](torch.tensor([[float(k)]]))
        histories["discriminator_cycle_a"](torch.tensor([[100.0 + k]]))
    copy = Histories(size=4, seed=7)
    copy.load_state_dict(histories.state_dict())
    for name, low, high in (("discriminator_a", 0, 100), ("discriminator_cycle_a", 100, 200)):
        new = [torch.tensor([[high - 1.0 - k]]) for k in range(50)]
        ours = [histories[name](each).item() for each in new]
        assert ours == [copy[name](each).item() for each in new]
        assert all(low <= value < high for value in ours)


def test_histories_draw_independently_but_repeatably() -> None:
    def swapped(seed: int, game: str) -> list[float]:
        history = Histories(size=2, seed=seed)[game]
        return [history(torch.tensor([[float(k)]])).item() for k in range(40)]

    assert swapped(1, "discriminator_a") == swapped(1, "discriminator_a")
    assert swapped(1, "discriminator_a") != swapped(1, "discriminator_b")
    assert swapped(1, "discriminator_a") != swapped(2, "discriminator_a")


def test_a_game_is_played_in_full_while_its_weight_is_not_0() -> None:
    def losses(weight: Weight, step: int) -> dict[str, float]:
        networks = CycleGAN(nn.Identity(), nn.Identity(), nn.Identity(), nn.Identity())
        t = Translation(networks, torch.full((1, 1), 3.0), torch.full((1, 1), 5.0), step=step)
        goal = Objective({"adversarial": (TERMS["adversarial"](), weight)})
        played = goal.discriminators(t, Histories(size=0))
        return {name: value.item() for name, value in played.items()}

    full = {
        "discriminator_a": 0.5 * ((3 - 1) ** 2 + 5**2),
        "discriminator_b": 0.5 * ((5 - 1) ** 2 + 3**2),
    }
    assert losses(Weight(1.0), 0) == losses(Weight(0.25), 0) == full
    assert losses(Weight(1.0, until=10), 10) == {}


def test_two_games_for_one_discriminator_are_refused() -> None:
    networks = CycleGAN(*(nn.Identity() for _ in range(4)))
    term = TERMS["adversarial"]()
    goal = Objective({"adversarial": (term, Weight(1.0)), "again": (term, Weight(1.0))})
    t = Translation(networks, torch.ones(1, 1), torch.ones(1, 1))
    with pytest.raises(ValueError, match="discriminator_a: two terms bring it a game"):
        goal.discriminators(t, Histories())


# --- objectives -----------------------------------------------------------------------------


def objective(method: str, *terms: str, **options: dict[str, Any]) -> Objective:
    built = {name: (TERMS[name](**options.get(name, {})), Weight(1.0)) for name in terms}
    return Objective(built, METHODS[method])


@pytest.mark.parametrize(
    ("method", "terms", "message"),
    [
        ("cyclegan", ["cycle"], "needs a term that brings games"),
        ("one_sided", ["adversarial", "cycle"], "cycle: reads cycle_a, cycle_b"),
        ("augmented", ["adversarial", "identity"], "identity: reads identity_b"),
        ("cyclegan", ["adversarial", "latent_cycle"], "latent_cycle: reads latent_a"),
        ("cyclegan", ["adversarial", "temporal"], "temporal: reads clip"),
        ("clips", ["adversarial", "recycle"], "recycle: reads recycle_a"),
    ],
)
def test_combinations_without_sense_are_refused(
    method: str, terms: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        objective(method, *terms)


def test_the_roster_names_each_network_and_where_a_recipe_states_it() -> None:
    goal = objective("one_sided", "adversarial", "patch_nce")
    assert {name: part.role for name, part in goal.roster.items()} == {
        "generator_a2b": "generator",
        "discriminator_b": "discriminator",
        "projection_a2b": "projection",
    }
    second = objective("cyclegan", "second_adversarial").roster["discriminator_second_a"]
    assert (second.role, second.section) == ("discriminator", "second_discriminator")


# --- one training step for all --------------------------------------------------------------

RESNET = {"name": "resnet", "width": 4, "blocks": 1}
PATCH = {"name": "patchgan", "width": 4, "layers": 1}
SYSTEMS: dict[str, tuple[Objective, dict[str, dict[str, Any]], tuple[int, ...]]] = {
    "better cycles": (
        objective(
            "cyclegan",
            "adversarial",
            "feature_cycle",
            feature_cycle={"gamma": Weight(0.1, final=0.9, end=3), "quality": "generated"},
        ),
        {"generator": RESNET, "discriminator": PATCH},
        IMAGE,
    ),
    "face-off": (
        objective(
            "cyclegan", "adversarial", "second_adversarial", "cycle", "masked_cycle", "ssim_cycle"
        ),
        {"generator": RESNET, "discriminator": PATCH},
        IMAGE,
    ),
    "pix2pixHD": (
        objective("cyclegan", "adversarial", "cycle", "feature_matching"),
        {
            "generator": {
                "name": "pix2pixhd_enhancer",
                "width": 2,
                "downsamplings": 1,
                "blocks": 1,
            },
            "discriminator": {"name": "multiscale_patchgan", "width": 4, "scales": 2, "layers": 1},
        },
        IMAGE,
    ),
    "augmented": (
        objective("augmented", "adversarial", "latent_adversarial", "cycle", "latent_cycle"),
        {
            "generator": {"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 3},
            "discriminator": PATCH,
            "encoder": {"name": "latent_encoder", "width": 4, "latent": 3, "layers": 2},
            "latent_discriminator": {"name": "latent_discriminator", "width": 4, "latent": 3},
        },
        IMAGE,
    ),
    "CUT": (
        objective(
            "one_sided",
            "adversarial",
            "patch_nce",
            "identity_nce",
            patch_nce={"layers": (0, 4)},
            identity_nce={"layers": (0, 4)},
        ),
        {
            "generator": RESNET,
            "discriminator": PATCH,
            "projection": {"name": "projection", "inputs": [3, 8], "width": 8},
        },
        IMAGE,
    ),
    "Recycle-GAN": (
        objective("recycle", "adversarial", "recurrent", "recycle", "temporal"),
        {
            "generator": RESNET,
            "discriminator": PATCH,
            "predictor": {"name": "predictor", "width": 4, "downsamplings": 4, "dropout": False},
        },
        CLIP,
    ),
    "CycleGAN-VC2": (
        objective("cyclegan", "adversarial", "two_step_adversarial", "cycle", "identity"),
        {
            "generator": {"name": "vc2", "coefficients": 8, "width": 4},
            "discriminator": {"name": "vc2_discriminator", "coefficients": 8, "width": 4},
        },
        VOICE,
    ),
    "MaskCycleGAN-VC": (
        objective("masked", "adversarial", "two_step_adversarial", "cycle", "identity"),
        {
            "generator": {"name": "mask_vc", "coefficients": 8, "width": 4},
            "discriminator": {"name": "mask_vc_discriminator", "coefficients": 8, "width": 4},
        },
        VOICE,
    ),
}


def system(name: str) -> tuple[CycleGAN, Objective, Optimisers, tuple[int, ...]]:
    goal, model, shape = SYSTEMS[name]
    networks = CycleGAN(
        **{
            network: build(model.get(part.section, model[part.role]), role=part.role)  # type: ignore[arg-type]
            for network, part in goal.roster.items()
        }
    )
    optimisers = Optimisers(
        torch.optim.Adam(networks.generator_parameters(), lr=1e-3, betas=(0.5, 0.999)),
        torch.optim.Adam(networks.discriminator_parameters(), lr=1e-3, betas=(0.5, 0.999)),
    )
    return networks, goal, optimisers, shape


def extras(shape: tuple[int, ...]) -> dict[str, Tensor]:
    given = {"face_mask": (2, 1, 16, 16), "mask": (2, 1, 32), "flow": (2, 2, 2, 16, 16)}
    return {f"{name}_{x}": torch.rand(size).round() for name, size in given.items() for x in "ab"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_trains_all_its_networks_by_the_one_step(name: str) -> None:
    networks, goal, optimisers, shape = system(name)
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    histories = Histories(size=2)
    for step in range(2):
        real_a, real_b = torch.rand(shape) * 2 - 1, torch.rand(shape) * 2 - 1
        values, t = training_step(
            networks,
            goal,
            optimisers,
            histories,
            real_a,
            real_b,
            step,
            extras=extras(shape),
        )
        assert all(math.isfinite(value) for value in values.values())
        assert isinstance(t, OneSided | Augmented)
    after = networks.state_dict()
    moved = {
        key.split(".")[0] for key, value in before.items() if not torch.equal(value, after[key])
    }
    assert moved == set(goal.roster)
    judged = {key for key in goal.roster if key.startswith("discriminator")}
    assert judged <= set(values)


def test_frozen_parts_keep_their_values_and_then_train() -> None:
    networks, goal, optimisers, shape = system("pix2pixHD")
    freeze = {"generator_a2b.global_body": 2, "generator_b2a": 1}
    bare = dict(networks.named_children())
    held = [networks.generator_a2b.global_body, networks.generator_b2a]
    moved: list[list[bool]] = []
    for step in range(3):
        before = [
            [p.clone() for p in part.parameters()] for part in (*held, networks.generator_a2b.head)
        ]
        training_step(
            networks,
            goal,
            optimisers,
            Histories(size=0),
            torch.rand(shape) * 2 - 1,
            torch.rand(shape) * 2 - 1,
            step,
            frozen=frozen_parameters(bare, freeze, step),
        )
        moved.append(
            [
                any(not torch.equal(*pair) for pair in zip(old, part.parameters(), strict=True))
                for old, part in zip(before, (*held, networks.generator_a2b.head), strict=True)
            ]
        )
    assert moved == [[False, False, True], [False, True, True], [True, True, True]]


@pytest.mark.parametrize("path", ["generator_a2c", "generator_a2b.nothing"])
def test_freezing_what_does_not_exist_is_refused(path: str) -> None:
    networks = {"generator_a2b": nn.Sequential(nn.Linear(1, 1))}
    with pytest.raises(ValueError, match=f"{path}: there is no such network"):
        frozen_parameters(networks, {path: 10}, 0)
