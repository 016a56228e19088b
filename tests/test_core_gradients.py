"""Each term's gradient reaches exactly the networks that it should, by real networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cyclegan_media.backbones import build
from cyclegan_media.core import METHODS, TERMS, Batch, CycleGAN, Term, Translation, Weight
from cyclegan_media.core.methods import Clips
from cyclegan_media.core.terms import FeatureCycle

IMAGE = {"name": "resnet", "width": 4, "blocks": 1}
PARTS = {
    "generator": IMAGE,
    "discriminator": {"name": "multiscale_patchgan", "width": 4, "layers": 1, "scales": 2},
    "encoder": {"name": "latent_encoder", "width": 4, "latent": 3, "layers": 2},
    "latent_discriminator": {"name": "latent_discriminator", "width": 4, "latent": 3},
    "predictor": {"name": "predictor", "width": 4, "downsamplings": 4, "dropout": False},
    "projection": {"name": "projection", "inputs": [3, 8, 16], "width": 8},
}
CIN = {"name": "cin_resnet", "width": 4, "blocks": 1, "latent": 3}


def translated(method: str, term: Term) -> Batch:
    """A translation by tiny real networks, as a term of that method meets it."""
    cls = METHODS[method]
    roster = {**cls.roster, **term.roster(cls)}
    parts = {**PARTS, "generator": CIN if method == "augmented" else IMAGE}
    networks = CycleGAN(**{name: build(parts[part.role]) for name, part in roster.items()})
    shape = (2, 3, 3, 16, 16) if issubclass(cls, Clips) else (2, 3, 16, 16)
    extras = {}
    for side in ("a", "b"):
        extras[f"face_mask_{side}"] = torch.rand(2, 1, 16, 16)
        extras[f"flow_{side}"] = torch.rand(2, 2, 2, 16, 16)
    return cls(networks, torch.rand(shape) * 2 - 1, torch.rand(shape) * 2 - 1, extras, 0)


def reached(networks: CycleGAN) -> set[str]:
    return {
        name
        for name, network in networks.named_children()
        if any(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
    }


G, F_ = "generator_a2b", "generator_b2a"
BOTH = {G, F_}


@pytest.mark.parametrize(
    ("method", "term", "options", "expected"),
    [
        ("cyclegan", "cycle", {}, {"cycle_a": BOTH, "cycle_b": BOTH}),
        ("cyclegan", "identity", {}, {"identity_a2b": {G}, "identity_b2a": {F_}}),
        ("one_sided", "identity", {}, {"identity_a2b": {G}}),
        ("cyclegan", "masked_cycle", {}, {"masked_cycle_a": BOTH, "masked_cycle_b": BOTH}),
        ("cyclegan", "ssim_cycle", {}, {"ssim_cycle_a": BOTH, "ssim_cycle_b": BOTH}),
        *(
            ("cyclegan", "feature_cycle", options, {f"feature_cycle_{x}": BOTH for x in "ab"})
            for options in (
                {"gamma": Weight(1.0)},
                {"quality": "real"},
                {"gamma": Weight(0.5), "quality": "generated", "loss": "bce"},
            )
        ),
        ("cyclegan", "feature_matching", {}, {f"feature_matching_{x}": BOTH for x in "ab"}),
        (
            "cyclegan",
            "adversarial",
            {},
            {
                "adversarial_a2b": {G, "discriminator_b"},
                "adversarial_b2a": {F_, "discriminator_a"},
            },
        ),
        ("one_sided", "adversarial", {}, {"adversarial_a2b": {G, "discriminator_b"}}),
        (
            "cyclegan",
            "second_adversarial",
            {},
            {
                "second_adversarial_a2b": {G, "discriminator_second_b"},
                "second_adversarial_b2a": {F_, "discriminator_second_a"},
            },
        ),
        (
            "cyclegan",
            "two_step_adversarial",
            {},
            {
                "two_step_adversarial_a": {*BOTH, "discriminator_cycle_a"},
                "two_step_adversarial_b": {*BOTH, "discriminator_cycle_b"},
            },
        ),
        (
            "augmented",
            "latent_adversarial",
            {},
            {
                "latent_adversarial_a": {G, "encoder_a", "discriminator_latent_a"},
                "latent_adversarial_b": {F_, "encoder_b", "discriminator_latent_b"},
            },
        ),
        (
            "augmented",
            "latent_cycle",
            {},
            {"latent_cycle_a": {F_, "encoder_a"}, "latent_cycle_b": {G, "encoder_b"}},
        ),
        (
            "augmented",
            "cycle",
            {},
            {"cycle_a": {*BOTH, "encoder_a"}, "cycle_b": {*BOTH, "encoder_b"}},
        ),
        (
            "one_sided",
            "patch_nce",
            {"layers": (0, 4, 7)},
            {"patch_nce_a2b": {G, "projection_a2b"}},
        ),
        (
            "cyclegan",
            "patch_nce",
            {"layers": (0, 4, 7)},
            {"patch_nce_a2b": {G, "projection_a2b"}, "patch_nce_b2a": {F_, "projection_b2a"}},
        ),
        (
            "one_sided",
            "identity_nce",
            {"layers": (0, 4, 7)},
            {"identity_nce_a2b": {G, "projection_a2b"}},
        ),
        (
            "recycle",
            "recurrent",
            {},
            {"recurrent_a": {"predictor_a"}, "recurrent_b": {"predictor_b"}},
        ),
        (
            "recycle",
            "recycle",
            {},
            {"recycle_a": {*BOTH, "predictor_b"}, "recycle_b": {*BOTH, "predictor_a"}},
        ),
        ("clips", "temporal", {}, {"temporal_a2b": {G}, "temporal_b2a": {F_}}),
    ],
)
def test_gradients_reach_exactly_the_right_networks(
    method: str, term: str, options: dict[str, object], expected: dict[str, set[str]]
) -> None:
    built: Term = TERMS[term](**options)
    t = translated(method, built)
    if not any(name.startswith("discriminator") for names in expected.values() for name in names):
        # A term that only looks through discriminators must not train them, nor does it in a
        # training step, where they are fixed.
        for parameter in t.networks.discriminator_parameters():
            parameter.requires_grad_(False)
    values = built(t)
    assert list(values) == list(expected)
    for name, networks in expected.items():
        t.networks.zero_grad(set_to_none=True)
        values[name].backward(retain_graph=True)
        assert reached(t.networks) == networks, name


def test_no_term_is_left_out_above() -> None:
    marked = test_gradients_reach_exactly_the_right_networks.pytestmark[0]  # type: ignore[attr-defined]
    assert {case[1] for case in marked.args[1]} == set(TERMS)


@pytest.mark.parametrize("generator", ["gated_cnn", "vc2"])
def test_better_cycles_serve_voices_too(generator: str) -> None:
    spec = {"coefficients": 8, "width": 4}
    make: Callable[[str], nn.Module] = lambda name: build({"name": name, **spec})  # noqa: E731
    networks = CycleGAN(
        make(generator),
        make(generator),
        make(f"{generator}_discriminator"),
        make(f"{generator}_discriminator"),
    )
    t = Translation(networks, torch.randn(2, 8, 32), torch.randn(2, 8, 32))
    values = FeatureCycle(gamma=Weight(0.5), quality="generated")(t)
    torch.stack(list(values.values())).sum().backward()
    assert {G, F_} <= reached(networks)
