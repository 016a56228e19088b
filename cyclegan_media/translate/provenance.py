"""What the outputs of a model say of their making."""

from __future__ import annotations

from cyclegan_media.media.provenance import Provenance
from cyclegan_media.pretrained import Direction, ModelConfig
from cyclegan_media.pretrained.folder import toolkit_version


def provenance_of(
    config: ModelConfig, name: str, direction: Direction, medium: str, *, parts: bool = False
) -> Provenance:
    """The record of a model on a file that it makes.

    Args:
        name: of the model; its folder's own name, since a path would tell of the machine.
        medium: ``picture``, ``video`` or ``voice``.
        parts: whether parts of the medium stay what they were.
    """
    return Provenance(
        version=toolkit_version(),
        model=name,
        medium=medium,
        direction=direction,
        source=config.domains[direction[0]],
        target=config.domains[direction[2]],
        recipe=config.recipe,
        source_type="compositeWithTrainedAlgorithmicMedia" if parts else "trainedAlgorithmicMedia",
    )
