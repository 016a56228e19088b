"""Backbones by name: what a recipe may ask for, and how third parties add to it.

A backbone is a module class with a typed configuration:

    @register("my_generator")
    class MyGenerator(Backbone):
        Config = MyConfig           # a BackboneConfig: typed, unknown keys refused
        modality = "image"          # or "voice", or "any"
        role = "generator"          # or another Role

        def __init__(self, config: MyConfig) -> None: ...

An installed package adds its own through the entry-point group ``cyclegan_media.backbones``; the
entry point's name is the backbone's name and its value the class. It is imported only when a
recipe or a model folder names it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from cyclegan_media.errors import UserError

ENTRY_POINT_GROUP = "cyclegan_media.backbones"

Modality = Literal["image", "voice"]
Role = Literal[
    "generator",  # a batch of one domain → the same shape
    "discriminator",  # a batch → raw scores
    "encoder",  # an example of each domain → a latent code
    "latent_discriminator",  # a latent code → raw scores
    "predictor",  # past frames → the next frame
    "projection",  # features of a generator → unit vectors, for contrastive losses
]


class BackboneConfig(BaseModel):
    """Base of every backbone's configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Backbone(nn.Module):
    """Base of every network a recipe can name.

    A generator maps a batch to a batch of the same shape, a discriminator maps a batch to raw
    scores (no sigmoid) of any shape with the batch first, or to a list of such tensors, one per
    scale, the full scale first. Image batches are ``(batch, 3, height, width)`` in −1…1, spectra
    are ``(batch, coefficients, frames)``. What it computes of an example must not depend on the
    others of the batch but by ``nn.BatchNorm…``, which a training knows of: without it, batches go
    through in one pass.

    Some generators take a second argument, and say so by ``latent`` or ``masked``. It may be left
    out, so each of them is an ordinary generator, too.
    """

    Config: ClassVar[type[BackboneConfig]]
    modality: ClassVar[Modality | Literal["any"]]
    role: ClassVar[Role]
    name: ClassVar[str]

    masked: ClassVar[bool] = False
    """Whether ``forward(x, mask)`` takes a mask that broadcasts to x: 1 known, 0 to fill in."""

    latent: int = 0
    """Length of the latent code that ``forward(x, z)`` takes, z ~ N(0, 1) shaped
    ``(batch, latent)``; 0 where there is none. Without z, a generator takes the prior's mean."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config

    multiple: int = 1
    """The caller pads height and width (or frames) to a multiple of this."""

    minimum: int = 1
    """The smallest height and width (or number of frames) accepted, in training mode too."""

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse, in one sentence, a batch that this network cannot take.

        Raises:
            UserError: the number of dimensions, of channels (or coefficients, where the
                configuration states them; ``input_channels`` if they differ from the output's)
                or a size is wrong.
        """
        image = self.modality == "image"
        axes, field = ("height, width", "channels") if image else ("frames", "coefficients")
        wanted = getattr(self.config, "input_channels", getattr(self.config, field, None))
        if x.dim() != (4 if image else 3) or wanted not in (None, x.shape[1]):
            raise UserError(
                f"backbone {self.name!r}: needs a batch shaped (batch, {wanted or field}, {axes}),"
                f" not {tuple(x.shape)}"
            )
        sizes = x.shape[2:]
        if any(size < self.minimum for size in sizes):
            raise UserError(
                f"backbone {self.name!r}: needs {axes} of at least {self.minimum}, not"
                f" {' × '.join(map(str, sizes))}; pad the input or use larger crops"
            )
        if any(size % self.multiple for size in sizes):
            raise UserError(
                f"backbone {self.name!r}: needs {axes} in multiples of {self.multiple}, not"
                f" {' × '.join(map(str, sizes))}; pad the input and crop the output"
            )

    def features(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """What a discriminator computes on its way to the scores of ``x``.

        Returns:
            Per scale, the full scale first (a single one in most discriminators), the output of
            each layer block after its activation, in order; the last are the raw scores.

        Raises:
            UserError: this backbone gives no features.
        """
        raise UserError(f"backbone {self.name!r}: gives no features of its layers; choose another")

    def encode_features(self, x: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
        """What a generator computes on its way to the translation of ``x``, for PatchNCE.

        Args:
            layers: numbers of the layers, counted from 0 as in the published implementation.

        Returns:
            The output of each of ``layers``, in their order; nothing beyond is computed.

        Raises:
            UserError: no such layer, or this backbone gives none.
        """
        raise UserError(f"backbone {self.name!r}: gives no features of its layers; choose another")


_BUILT_IN = {
    # name: module that registers it, imported on first use
    "resnet": "cyclegan_media.backbones.resnet",
    "unet": "cyclegan_media.backbones.unet",
    "patchgan": "cyclegan_media.backbones.patchgan",
    "pixelgan": "cyclegan_media.backbones.pixelgan",
    "gated_cnn": "cyclegan_media.backbones.gated_cnn",
    "gated_cnn_discriminator": "cyclegan_media.backbones.gated_cnn",
    "vc2": "cyclegan_media.backbones.vc2",
    "vc2_discriminator": "cyclegan_media.backbones.vc2",
    "mask_vc": "cyclegan_media.backbones.mask_vc",
    "mask_vc_discriminator": "cyclegan_media.backbones.mask_vc",
    "pix2pixhd_global": "cyclegan_media.backbones.pix2pixhd",
    "pix2pixhd_enhancer": "cyclegan_media.backbones.pix2pixhd",
    "multiscale_patchgan": "cyclegan_media.backbones.multiscale",
    "cin_resnet": "cyclegan_media.backbones.augmented",
    "latent_encoder": "cyclegan_media.backbones.augmented",
    "latent_discriminator": "cyclegan_media.backbones.augmented",
    "predictor": "cyclegan_media.backbones.predictor",
    "projection": "cyclegan_media.backbones.projection",
    "ensemble": "cyclegan_media.backbones.ensemble",
}
_registered: dict[str, type[Backbone]] = {}

B = TypeVar("B", bound=type[Backbone])


def register(name: str) -> Callable[[B], B]:
    """Class decorator: make a backbone known under ``name``."""

    def add(cls: B) -> B:
        known = _registered.get(name)
        if known is not None and known is not cls:
            raise ValueError(f"two backbones are registered as {name!r}: {known} and {cls}")
        cls.name = name
        _registered[name] = cls
        return cls

    return add


def available() -> list[str]:
    """Names of all backbones: built in, registered, and those of installed packages."""
    plugged = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return sorted({*_BUILT_IN, *_registered, *plugged})


def backbone_class(name: str) -> type[Backbone]:
    """The class registered under ``name``.

    Raises:
        UserError: no backbone has that name, or an installed package's one cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        import_module(_BUILT_IN[name])
        return _registered[name]
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            cls = point.load()
        except Exception as error:
            raise UserError(
                f"backbone {name!r} ({point.value}) cannot be imported: {error}"
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, Backbone)):
            raise UserError(f"backbone {name!r} ({point.value}) is not a Backbone class")
        return register(name)(cls)
    raise UserError(f"no backbone is called {name!r}; there are: {', '.join(available())}")


def parse_config(
    spec: Mapping[str, Any],
    *,
    where: str,
    modality: Modality | None = None,
    role: Role | None = None,
) -> tuple[type[Backbone], BackboneConfig]:
    """Check ``spec`` (``name`` plus the backbone's own keys) without building the network.

    Args:
        spec: for instance ``{"name": "resnet", "blocks": 9, "width": 64}``.
        where: the path of ``spec`` in its file, for messages (``model.generator``).
        modality, role: what the backbone must be, if given; a backbone for "any" modality fits.

    Raises:
        UserError: unknown name or key, wrong type, wrong modality or role.
    """
    keys = dict(spec)
    name = keys.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{where}: needs a 'name', one of: {', '.join(available())}")
    try:
        cls = backbone_class(name)
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    for wanted, got in ((modality, cls.modality), (role, cls.role)):
        if wanted is not None and got not in (wanted, "any"):
            raise UserError(f"{where}.name: {name!r} is for {got}, but {wanted} is needed here")
    try:
        config = cls.Config.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(cls.Config.model_fields)
            raise UserError(f"{key}: unknown key; {name!r} knows: {known}") from error
        # Of bounded depth: what a file nests deeply could not be shown otherwise.
        raise UserError(f"{key}: {first['msg']} (got {reprlib.repr(first['input'])})") from error
    return cls, config


def build(
    spec: Mapping[str, Any],
    *,
    where: str = "backbone",
    modality: Modality | None = None,
    role: Role | None = None,
) -> Backbone:
    """Build the network that ``spec`` names, with random weights. See :func:`parse_config`."""
    cls, config = parse_config(spec, where=where, modality=modality, role=role)
    return cls(config)


def spec_of(backbone: Backbone) -> dict[str, Any]:
    """The inverse of :func:`build`: a JSON-able mapping that rebuilds this architecture."""
    return {"name": backbone.name, **backbone.config.model_dump(mode="json")}
