"""Several models of the same media → one, whose output is the mean of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from cyclegan_media.backbones.ensemble import Ensemble
from cyclegan_media.backbones.registry import Backbone, build, spec_of
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.folder import Direction, ModelConfig, PretrainedModel


def combine_models(models: Mapping[str, PretrainedModel]) -> PretrainedModel:
    """One model of several; see :mod:`cyclegan_media.backbones.ensemble`.

    Args:
        models: by the names that messages and the result's ``origin`` call them.

    Raises:
        UserError: fewer than two; or they translate different media or in different directions,
            or (voices) spectra that are analysed or standardised differently; or one takes latent
            codes. Names the models.
    """
    if len(models) < 2:
        raise UserError("name two models or more to combine")
    (name, first), *others = models.items()
    for other_name, other in others:
        _check_alike(name, first, other_name, other)
    for one, model in models.items():
        if model.networks or any(each.latent for each in model.generators.values()):
            raise UserError(f"{one}: takes latent codes, which cannot be combined")
    generators = {
        way: _ensemble([model.generators[way] for model in models.values()])
        for way in first.generators
    }
    config = first.config
    combined = ModelConfig(
        modality=config.modality,
        domains=config.domains,
        generators={way: spec_of(network) for way, network in generators.items()},
        recipe=" + ".join(_unique(m.config.recipe for m in models.values())) or None,
        paper="; ".join(_unique(m.config.paper for m in models.values())) or None,
        origin=f"combined from {', '.join(models)}",
        analysis=config.analysis,
    )
    return PretrainedModel(combined, generators, dict(first.statistics))


def _ensemble(networks: list[Backbone]) -> Backbone:
    members = [member for network in networks for member in _members(network)]
    specs = [spec_of(member) for member in members]
    network = build({"name": "ensemble", "members": specs}, where="the combined model")
    for part, member in zip(_members(network), members, strict=True):
        part.load_state_dict(member.state_dict())
    return network.eval().requires_grad_(False)


def _members(network: Backbone) -> list[Backbone]:
    """A network alone, or what it consists of where it is an ensemble: all count alike then."""
    return list(network.members) if isinstance(network, Ensemble) else [network]  # type: ignore[arg-type]


def _check_alike(name: str, one: PretrainedModel, other_name: str, other: PretrainedModel) -> None:
    both = f"{name} and {other_name}"
    if one.config.modality != other.config.modality:
        raise UserError(
            f"{both}: one is for {one.config.modality}s and the other for {other.config.modality}s"
        )
    ways: tuple[list[Direction], list[Direction]] = (
        sorted(one.generators),
        sorted(other.generators),
    )
    if ways[0] != ways[1]:
        raise UserError(
            f"{both}: have generators for {' and '.join(ways[0])} and for {' and '.join(ways[1])}"
        )
    if one.config.analysis != other.config.analysis or not _equal(one.statistics, other.statistics):
        raise UserError(
            f"{both}: were trained on other media, or with another `data`, so what they make has"
            " no mean"
        )


def _equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.allclose(one[name], other[name])
        for name in one
    )


def _unique(texts: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
