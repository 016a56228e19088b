"""The core says what the papers' equations say, and updates exactly what it should."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cyclegan_media.core import (
    ADVERSARIAL_LOSSES,
    TERMS,
    CycleGAN,
    DivergedError,
    Histories,
    History,
    MovingAverage,
    Objective,
    Optimisers,
    Translation,
    Weight,
    learning_rate_factor,
    normal_init,
    training_step,
)
from cyclegan_media.core.adversarial import gradient_penalty
from cyclegan_media.core.terms import Adversarial, Cycle, Identity


class Scale(nn.Module):
    """A generator or discriminator simple enough to do by hand: y = w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.weight * x


def scales(g: float = 2.0, f: float = 0.25, d_a: float = 3.0, d_b: float = -1.0) -> CycleGAN:
    return CycleGAN(Scale(g), Scale(f), Scale(d_a), Scale(d_b))


def full(value: float) -> Tensor:
    return torch.full((1, 3, 2, 2), value)


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        # scores: real 0.5, fake −2
        ("lsgan", 9.0, 0.5 * (0.25 + 4.0)),
        (
            "bce",
            math.log1p(math.exp(2)),
            0.5 * (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(-2))),
        ),
        ("hinge", 2.0, 0.5 + 0.0),
        # D(x) = 0.25 x over 12 elements has a gradient of norm 0.25 √12 everywhere
        ("wgan-gp", 2.0, -2.0 - 0.5 + 10 * (0.25 * math.sqrt(12) - 1) ** 2),
    ],
)
def test_adversarial_losses_by_hand(name: str, generator: float, discriminator: float) -> None:
    game = ADVERSARIAL_LOSSES[name]()
    judge = Scale(0.25)
    assert game.generator(full(-2.0)).item() == pytest.approx(generator)
    loss = game.discriminator(judge, real=full(2.0), fake=full(-8.0))
    assert loss.item() == pytest.approx(discriminator, rel=1e-5)


def test_gradient_penalty_vanishes_for_a_unit_slope() -> None:
    unit = Scale(1 / math.sqrt(12))
    penalty = gradient_penalty(unit, torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
    assert penalty.item() == pytest.approx(0, abs=1e-10)
    penalty.backward()
    assert unit.weight.grad is not None


def test_terms_by_hand() -> None:
    t = Translation(scales(), full(1.0), full(4.0))
    # G(a) = 2, F(b) = 1; cycles 0.5 and 2; identities G(b) = 8, F(a) = 0.25
    assert {k: v.item() for k, v in Cycle()(t).items()} == {"cycle_a": 0.5, "cycle_b": 2.0}
    assert {k: v.item() for k, v in Identity()(t).items()} == {
        "identity_a2b": 4.0,
        "identity_b2a": 0.75,
    }
    # D_B(G(a)) = −2, D_A(F(b)) = 3
    assert {k: v.item() for k, v in Adversarial("lsgan")(t).items()} == {
        "adversarial_a2b": 9.0,
        "adversarial_b2a": 4.0,
    }


@pytest.mark.parametrize(
    ("summand", "reached"),
    [
        ("adversarial_a2b", {"generator_a2b", "discriminator_b"}),
        ("adversarial_b2a", {"generator_b2a", "discriminator_a"}),
        ("cycle_a", {"generator_a2b", "generator_b2a"}),
        ("cycle_b", {"generator_a2b", "generator_b2a"}),
        ("identity_a2b", {"generator_a2b"}),
        ("identity_b2a", {"generator_b2a"}),
    ],
)
def test_gradients_reach_exactly_the_right_networks(summand: str, reached: set[str]) -> None:
    networks = scales()
    t = Translation(networks, full(1.0), full(4.0))
    values = {
        k: v for name in ("adversarial", "cycle", "identity") for k, v in TERMS[name]()(t).items()
    }
    values[summand].backward()
    got = {n for n, net in networks.named_children() if net.weight.grad is not None}
    assert got == reached


def objective(**weights: Weight) -> Objective:
    return Objective({name: (TERMS[name](), weight) for name, weight in weights.items()})


def sgd(networks: CycleGAN) -> Optimisers:
    return Optimisers(
        torch.optim.SGD(networks.generator_parameters(), lr=0.01),
        torch.optim.SGD(networks.discriminator_parameters(), lr=0.01),
    )


def test_objective_is_the_weighted_sum_and_skips_what_weighs_nothing() -> None:
    networks = scales()
    goal = objective(adversarial=Weight(1.0), cycle=Weight(10.0), identity=Weight(5.0, until=100))
    early = goal.generators(Translation(networks, full(1.0), full(4.0), step=99))
    assert early["cycle_b"].item() == 20.0
    assert early["identity_b2a"].item() == 3.75
    calls = networks.generator_a2b.calls
    late = goal.generators(Translation(networks, full(1.0), full(4.0), step=100))
    assert "identity_a2b" not in late
    # G is applied to a and to F(b), but no longer to b.
    assert networks.generator_a2b.calls - calls == 2


def test_training_step_by_hand() -> None:
    """One SGD step on scalars, each derivative worked out on paper."""
    networks = scales(g=2.0, f=0.25, d_a=3.0, d_b=-1.0)
    goal = objective(adversarial=Weight(1.0), cycle=Weight(10.0))
    values, _ = training_step(
        networks, goal, sgd(networks), Histories(size=0), full(1.0), full(4.0), 0
    )
    assert values["adversarial_a2b"].item() == 9.0
    assert values["cycle_b"].item() == 20.0
    # dL/dg = 2(d_b g a − 1) d_b a + 10·sign(gfa − a)·f a + 10·sign(gfb − b)·f b
    dg = 2 * (-2 - 1) * -1 + 10 * -1 * 0.25 + 10 * -1 * 0.25 * 4
    assert networks.generator_a2b.weight.item() == pytest.approx(2.0 - 0.01 * dg)
    # D_B: ½[2(d b − 1) b + 2 d fake²] with the fake that G made before its update
    dd = 0.5 * (2 * (-4 - 1) * 4 + 2 * -1 * 4)
    assert networks.discriminator_b.weight.item() == pytest.approx(-1.0 - 0.01 * dd)


def test_discriminator_step_leaves_generators_alone_and_the_other_way_round() -> None:
    networks = scales()
    steps: list[dict[str, float]] = []

    class Recorded(torch.optim.SGD):
        def step(self, closure=None):  # type: ignore[no-untyped-def]
            super().step()
            steps.append({n: net.weight.item() for n, net in networks.named_children()})

    optimisers = Optimisers(
        Recorded(networks.generator_parameters(), lr=0.01),
        Recorded(networks.discriminator_parameters(), lr=0.01),
    )
    goal = objective(adversarial=Weight(1.0), cycle=Weight(10.0))
    before = {n: net.weight.item() for n, net in networks.named_children()}
    training_step(networks, goal, optimisers, Histories(), full(1.0), full(4.0), 0)
    moved_first = {n for n in before if steps[0][n] != before[n]}
    moved_second = {n for n in before if steps[1][n] != steps[0][n]}
    assert moved_first == {"generator_a2b", "generator_b2a"}
    assert moved_second == {"discriminator_a", "discriminator_b"}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_divergence_is_named_and_updates_nothing(bad: float) -> None:
    networks = scales(g=bad)
    optimisers = sgd(networks)
    with pytest.raises(DivergedError) as caught:
        training_step(
            networks,
            objective(adversarial=Weight(1.0)),
            optimisers,
            Histories(),
            full(1),
            full(4),
            7,
        )
    assert (caught.value.step, caught.value.term) == (7, "adversarial_a2b")
    assert networks.generator_b2a.weight.item() == 0.25


def test_divergence_limit() -> None:
    networks = scales(d_b=-1000.0)
    with pytest.raises(DivergedError, match="adversarial_a2b"):
        training_step(
            networks,
            objective(adversarial=Weight(1.0)),
            sgd(networks),
            Histories(),
            full(1),
            full(4),
            0,
            limit=1e4,
        )


def test_divergence_of_a_discriminator_is_named_and_updates_no_discriminator() -> None:
    networks = scales(g=0.0, f=0.0, d_b=1.0)
    with pytest.raises(DivergedError) as caught:
        training_step(
            networks,
            objective(adversarial=Weight(1.0)),
            sgd(networks),
            Histories(),
            full(1),
            full(1000),
            3,
            limit=1e4,
        )
    # D_B(b) = 1000: ½ (1000 − 1)²
    assert (caught.value.step, caught.value.term) == (3, "discriminator_b")
    assert caught.value.value == pytest.approx(0.5 * 999**2)
    assert networks.discriminator_b.weight.item() == 1.0
    assert networks.discriminator_a.weight.item() == 3.0


def test_discriminators_train_on_what_the_history_returns() -> None:
    class Old(History):
        def __call__(self, batch: Tensor) -> Tensor:
            return full(7.0)

    class Olds(Histories):
        def __getitem__(self, game: str) -> History:
            return Old()

    networks = scales(d_a=3.0, d_b=-1.0)
    values, _ = training_step(
        networks,
        objective(adversarial=Weight(1.0)),
        sgd(networks),
        Olds(),
        full(1.0),
        full(4.0),
        0,
    )
    # ½ [(D(real) − 1)² + D(7)²] with real a = 1, b = 4
    assert values["discriminator_a"].item() == 0.5 * ((3 - 1) ** 2 + 21**2)
    assert values["discriminator_b"].item() == 0.5 * ((-4 - 1) ** 2 + 7**2)


@given(size=st.integers(1, 8), batches=st.integers(1, 30), batch=st.integers(1, 3))
def test_history_returns_only_what_was_put_in_and_never_grows(
    size: int, batches: int, batch: int
) -> None:
    history = History(size, seed=1)
    seen: set[float] = set()
    for k in range(batches):
        new = torch.arange(k * batch, (k + 1) * batch, dtype=torch.float32)[:, None]
        seen.update(new.flatten().tolist())
        out = history(new)
        assert out.shape == new.shape
        assert set(out.flatten().tolist()) <= seen
        assert len(history) <= size


def test_history_swaps_about_half_and_resumes_exactly() -> None:
    history = History(50, seed=3)
    for k in range(50):
        assert history(torch.tensor([[float(k)]])).item() == k  # not yet full: passes through
    copy = History(50, seed=99)
    copy.load_state_dict(history.state_dict())
    ours = [history(torch.tensor([[100.0 + k]])).item() for k in range(1000)]
    theirs = [copy(torch.tensor([[100.0 + k]])).item() for k in range(1000)]
    assert ours == theirs
    swapped = sum(value != 100.0 + k for k, value in enumerate(ours))
    assert 400 < swapped < 600  # binomial(1000, ½): six standard deviations


def test_history_of_size_zero_passes_through() -> None:
    batch = torch.randn(2, 3)
    assert History(0)(batch) is batch


def test_weight_schedules() -> None:
    assert Weight(5.0, until=10)(9) == 5.0
    assert Weight(5.0, until=10)(10) == 0.0
    ramp = Weight(10.0, final=2.0, start=100, end=200)
    assert [ramp(step) for step in (0, 100, 150, 200, 10**6)] == [10, 10, 6, 2, 2]
    with pytest.raises(ValueError, match="belong together"):
        Weight(1.0, final=2.0)


@given(constant=st.integers(0, 300), decay=st.integers(0, 300))
def test_learning_rate_is_constant_then_falls_linearly_and_stays_positive(
    constant: int, decay: int
) -> None:
    rates = [learning_rate_factor(step, constant, decay) for step in range(constant + decay)]
    assert rates[:constant] == [1.0] * constant
    falls = [a - b for a, b in zip([1.0, *rates[constant:]], rates[constant:], strict=False)]
    assert all(fall == pytest.approx(1 / (decay + 1)) for fall in falls)
    assert all(rate > 0 for rate in rates)


def test_learning_rate_follows_the_release_at_100_plus_100_epochs() -> None:
    # The release's factor at epoch e (from 0): 1 − max(0, e + 1 − 100) / 101
    for epoch in (0, 99, 100, 150, 199):
        expected = 1 - max(0, epoch + 1 - 100) / 101
        assert learning_rate_factor(epoch, 100, 100) == pytest.approx(expected)


def test_moving_average_follows_its_definition() -> None:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    average = MovingAverage(network, decay=0.9)
    average.update_parameters(network)
    expected = 1.0
    for n in range(1, 200):
        network.weight.data.fill_(float(n))
        average.update_parameters(network)
        d = min(0.9, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * n
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_normal_init_draws_from_the_papers_distribution() -> None:
    network = nn.Sequential(nn.Conv2d(64, 64, 3), nn.InstanceNorm2d(64, affine=True))
    normal_init(network)
    weight = network[0].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert weight.mean().abs().item() < 3 * 0.02 / math.sqrt(weight.numel())
    assert network[0].bias.abs().max().item() == 0
    assert network[1].weight.mean().item() == pytest.approx(1.0, abs=0.02)
