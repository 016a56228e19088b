"""Projection head of contrastive unpaired translation: features to unit vectors.

Park, Efros, Zhang, Zhu: "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV
2020, arXiv 2007.15651, section 3: ``z_l = H_l(G_enc^l(x))``, where H_l is a perceptron with one
hidden layer of 256 units for each chosen layer l of the generator, and equation 4 compares the
normalised z_l at sampled locations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from cyclegan_media.backbones.registry import Backbone, BackboneConfig, register
from cyclegan_media.errors import UserError


class ProjectionConfig(BackboneConfig):
    inputs: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(min_length=1)
    """Channels of each feature map, as :func:`feature_channels` tells them."""
    width: int = Field(256, ge=1, le=4096)
    """Hidden units, and length of the vectors."""


@register("projection")
class Projection(Backbone):
    """Maps feature maps to unit vectors at given locations."""

    Config = ProjectionConfig
    modality = "any"
    role = "projection"

    def __init__(self, config: ProjectionConfig) -> None:
        super().__init__(config)
        self.inputs = config.inputs
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(inputs, config.width),
                nn.ReLU(inplace=True),
                nn.Linear(config.width, config.width),
            )
            for inputs in config.inputs
        )

    def forward(
        self, features: Sequence[torch.Tensor], locations: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Unit vectors ``(batch, count, width)`` per feature map.

        Args:
            features: what ``Backbone.encode_features`` gives, ``(batch, channels, …)`` each.
            locations: per map, the ``(count,)`` numbers of the locations to take, row by row;
                the same in every example.

        Raises:
            UserError: the number of maps or their channels are not those of the configuration.
        """
        got = tuple(feature.shape[1] for feature in features)
        if got != self.inputs or len(locations) != len(got):
            raise UserError(
                f"backbone {self.name!r}: needs feature maps of {self.inputs} channels and"
                f" locations for each, not {got} and {len(locations)}"
            )
        return [
            F.normalize(head(feature.flatten(2)[:, :, where].transpose(1, 2)), dim=2)
            for head, feature, where in zip(self.heads, features, locations, strict=True)
        ]


def feature_channels(generator: Backbone, layers: Sequence[int]) -> tuple[int, ...]:
    """Channels of each of the generator's ``layers``: the ``inputs`` of its projection head.

    Raises:
        UserError: see :meth:`Backbone.encode_features`.
    """
    channels, size = getattr(generator.config, "channels", 3), generator.minimum
    with torch.no_grad():
        picture = next(generator.parameters()).new_zeros(1, channels, size, size)
        return tuple(feature.shape[1] for feature in generator.encode_features(picture, layers))
