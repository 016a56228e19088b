"""A recipe's ``model`` section ↔ the networks that its method and its terms need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from cyclegan_media.backbones import Backbone, build, spec_of
from cyclegan_media.backbones.projection import feature_channels
from cyclegan_media.core import CycleGAN, Objective, Part, Roster, frozen_parameters
from cyclegan_media.core.terms.contrastive import Contrastive
from cyclegan_media.errors import UserError
from cyclegan_media.recipe.schema import ModelSection, Recipe, VoiceRecipe


def build_networks(recipe: Recipe, roster: Roster) -> CycleGAN:
    """All networks of a training, with random weights; those of one section are built alike.

    The recipe is one that was read and found to be complete.
    """
    networks = {}
    for name, part in roster.items():
        key = _section(recipe.model, part)
        networks[name] = build(
            recipe.model.specs[key],
            where=f"model.{key}",
            modality=recipe.modality,
            role=part.role,  # type: ignore[arg-type]
        )
    return CycleGAN(**networks)


def complete_model(recipe: Recipe, objective: Objective) -> ModelSection:
    """The section with every key of its networks, which must be able to take the data's batches.

    Raises:
        UserError: a network is missing or not needed, has an unknown name or key or a wrong type
            or role, or does not fit the data, the method or another network.
    """
    roles = {_section(recipe.model, part): part.role for part in objective.roster.values()}
    for key in recipe.model.specs:
        if key not in roles:
            known = ", ".join(roles)
            raise UserError(f"model.{key}: unknown key; this recipe's networks are: {known}")
    networks: dict[str, Backbone] = {}
    with torch.device("meta"):  # architecture without weights
        for key in sorted(roles, key=lambda key: key != "generator"):
            where, role = f"model.{key}", roles[key]
            spec = recipe.model.specs.get(key)
            if spec is None:
                raise UserError(f"{where}: is missing")
            if role == "projection":
                spec = {"inputs": _projected(objective, networks["generator"]), **spec}
            networks[key] = build(spec, where=where, modality=recipe.modality, role=role)  # type: ignore[arg-type]
            _check_coefficients(recipe, networks[key], where)
            with _told_at(where):
                _CHECKS.get(role, _no_check)(networks[key], recipe, objective, networks)
        _check_latents(networks)
        named = {
            name: networks[_section(recipe.model, part)] for name, part in objective.roster.items()
        }
    try:
        frozen_parameters(named, recipe.trainer.freeze, step=0)
    except ValueError as error:
        raise UserError(f"trainer.freeze: {error}") from error
    return recipe.model.model_copy(
        update={key: spec_of(network) for key, network in networks.items()}
    )


def _section(model: ModelSection, part: Part) -> str:
    """The key of the section that states ``part``."""
    return part.section if part.section in model.specs else part.role


Check = Callable[[Backbone, Recipe, Objective, Mapping[str, Backbone]], None]


def _example(recipe: Recipe) -> torch.Tensor:
    return torch.empty(1, *recipe.data.example_shape)


def _check_generator(
    network: Backbone, recipe: Recipe, objective: Objective, networks: Mapping[str, Backbone]
) -> None:
    taken = objective.method.generators_take
    if taken and not getattr(network, taken, False):
        raise UserError(
            f"{network.name!r} is not a {taken} generator, which method {recipe.method!r} needs"
        )
    network.check_input(_example(recipe))


def _check_example(
    network: Backbone, recipe: Recipe, objective: Objective, networks: Mapping[str, Backbone]
) -> None:
    network.check_input(_example(recipe))


def _check_predictor(
    network: Backbone, recipe: Recipe, objective: Objective, networks: Mapping[str, Backbone]
) -> None:
    past = getattr(recipe.data, "clip_frames", 1) - 1
    network.check_input(_example(recipe).repeat(1, max(past, 1), 1, 1))


def _check_projection(
    network: Backbone, recipe: Recipe, objective: Objective, networks: Mapping[str, Backbone]
) -> None:
    wanted = _projected(objective, networks["generator"])
    if getattr(network, "inputs", wanted) != wanted:
        raise UserError(
            f"its inputs must be {list(wanted)}, the channels of the generator's layers; leave"
            " 'inputs' out to have them follow"
        )


def _no_check(*_: object) -> None: ...


_CHECKS: dict[str, Check] = {
    "generator": _check_generator,
    "discriminator": _check_example,
    "encoder": _check_example,
    "predictor": _check_predictor,
    "projection": _check_projection,
}


def _projected(objective: Objective, generator: Backbone) -> tuple[int, ...]:
    """Channels of the layers that the contrastive terms compare."""
    terms = {
        name: term for name, (term, _) in objective.terms.items() if isinstance(term, Contrastive)
    }
    (first, term), *others = terms.items()
    for name, other in others:
        if other.layers != term.layers:
            raise UserError(f"objective.{name}.layers: must be those of {first}")
    with _told_at(f"objective.{first}.layers"):
        return feature_channels(generator, term.layers)


def _check_coefficients(recipe: Recipe, network: Backbone, where: str) -> None:
    if isinstance(recipe, VoiceRecipe):
        wanted = recipe.data.analysis.coefficients
        got = getattr(network.config, "coefficients", wanted)
        if got != wanted:
            raise UserError(
                f"{where}.coefficients: is {got}, but data.analysis.{recipe.data.analysis.size_key}"
                f" is {wanted}; make them equal"
            )


def _check_latents(networks: Mapping[str, Backbone]) -> None:
    coded = {key: network.latent for key, network in networks.items() if network.latent}
    for key, length in coded.items():
        if length != coded.get("generator", length):
            raise UserError(
                f"model.{key}.latent: is {length}, but model.generator.latent is"
                f" {coded['generator']}; make them equal"
            )


@contextmanager
def _told_at(where: str) -> Iterator[None]:
    """Put the path of a section before a problem with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
