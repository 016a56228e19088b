"""Begin a training with the networks of a model that was trained before."""

from __future__ import annotations

from collections.abc import Mapping

from cyclegan_media.backbones import Backbone
from cyclegan_media.backbones.pix2pixhd import GlobalGenerator, LocalEnhancer
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import PretrainedModel


def take_over(networks: Mapping[str, Backbone], model: PretrainedModel) -> None:
    """Give the networks that ``model`` holds, too, its weights.

    A local enhancer takes over a global generator as its inner part (Wang 2018, section 3.1).

    Args:
        networks: by name (``generator_a2b``).

    Raises:
        UserError: a generator is missing from the model, or is of another architecture.
    """
    trained = {
        **{f"generator_{way}": network for way, network in model.generators.items()},
        **model.networks,
    }
    for name, network in networks.items():
        if network.role == "generator" and name not in trained:
            raise UserError(f"the model to start from: has no {name}")
        if name in trained:
            _take_over(network, trained[name], name)


def _take_over(network: Backbone, trained: Backbone, name: str) -> None:
    if isinstance(network, LocalEnhancer) and isinstance(trained, GlobalGenerator):
        network.load_global(trained)
        return
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    if {key: value.shape for key, value in trained.state_dict().items()} != shapes:
        raise UserError(
            f"the model to start from: its {name} is a {trained.name!r} of another architecture"
            f" than this recipe's {network.name!r}"
        )
    network.load_state_dict(trained.state_dict())
