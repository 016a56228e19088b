"""Several generators as one: the mean of what they make.

Networks of several seeds, or of several architectures, err in ways of their own, of which a mean
keeps the part that they share (Hansen & Salamon 1990, "Neural Network Ensembles", section II). It
costs the time of all of them, and is smoother than each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import nn

from cyclegan_media.backbones.registry import (
    Backbone,
    BackboneConfig,
    Modality,
    build,
    parse_config,
    register,
)
from cyclegan_media.errors import UserError


class EnsembleConfig(BackboneConfig):
    members: tuple[dict[str, Any], ...] = Field(min_length=2, max_length=16)
    """What each generator is, as for :func:`.registry.build`: of one modality, none of them an
    ensemble, none with latent codes."""

    @field_validator("members")
    @classmethod
    def _fit_together(cls, members: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        kinds = {_modality(spec, number) for number, spec in enumerate(members)}
        if len(kinds) > 1:
            raise ValueError("are for pictures and for voices; all must be of one kind")
        return members

    @property
    def coefficients(self) -> int | None:
        """Of a spectrum's frame; ``None`` for pictures."""
        _, config = parse_config(self.members[0], where="members.0")
        return getattr(config, "coefficients", None)


@register("ensemble")
class Ensemble(Backbone):
    """The mean of its members' outputs, ``(batch, …)`` as theirs."""

    Config = EnsembleConfig
    modality = "any"
    role = "generator"

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__(config)
        members = [build(spec, where=f"members.{k}") for k, spec in enumerate(config.members)]
        for number, member in enumerate(members):
            if member.latent:
                raise UserError(f"members.{number}: takes latent codes, of which there is no mean")
        self.members = nn.ModuleList(members)
        self.modality = members[0].modality  # type: ignore[assignment, misc]  # of this one, not of the class
        self.multiple = math.lcm(*(member.multiple for member in members))
        self.minimum = max(member.minimum for member in members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each member refuses what it cannot take."""
        total = self.members[0](x)
        for member in self.members[1:]:
            total = total + member(x)
        return total / len(self.members)


def _modality(spec: Mapping[str, Any], number: int) -> Modality:
    if spec.get("name") == Ensemble.name:  # before it is looked into: they could be nested deeply
        raise ValueError(f"members.{number}: is an ensemble itself; list its members instead")
    try:
        cls, _ = parse_config(spec, where=f"members.{number}", role="generator")
    except UserError as error:
        raise ValueError(str(error)) from error
    if cls.modality == "any":
        raise ValueError(f"members.{number}.name: {spec['name']!r} cannot be a member")
    return cls.modality
