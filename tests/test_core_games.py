"""Networks on two sides, the games between them, and objectives that have sense."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cyclegan_media.core import (
    ADVERSARIAL_LOSSES,
    METHODS,
    TERMS,
    CycleGAN,
    Histories,
    Objective,
    Translation,
    Weight,
)

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
