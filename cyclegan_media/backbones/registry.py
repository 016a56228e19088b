"""Backbones by name: what a recipe may ask for, and how third parties add to it.

A backbone is a module class with a typed configuration:

    @register("my_generator")
    class MyGenerator(Backbone):
        Config = MyConfig           # a BackboneConfig: typed, unknown keys refused
        modality = "image"          # or "voice"
        role = "generator"          # or "discriminator"

        def __init__(self, config: MyConfig) -> None: ...

An installed package adds its own through the entry-point group ``cyclegan_media.backbones``; the
entry point's name is the backbone's name and its value the class. It is imported only when a
recipe or a model folder names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from cyclegan_media.errors import UserError

ENTRY_POINT_GROUP = "cyclegan_media.backbones"

Modality = Literal["image", "voice"]
Role = Literal["generator", "discriminator"]


class BackboneConfig(BaseModel):
    """Base of every backbone's configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Backbone(nn.Module):
    """Base of every network a recipe can name.

    A generator maps a batch to a batch of the same shape, a discriminator maps a batch to raw
    scores (no sigmoid) of any shape with the batch first. Image batches are
    ``(batch, 3, height, width)`` in −1…1, spectra are ``(batch, coefficients, frames)``.
    """

    Config: ClassVar[type[BackboneConfig]]
    modality: ClassVar[Modality]
    role: ClassVar[Role]
    name: ClassVar[str]

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
                configuration states them) or a size is wrong.
        """
        image = self.modality == "image"
        axes, field = ("height, width", "channels") if image else ("frames", "coefficients")
        wanted = getattr(self.config, field, None)
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


_BUILT_IN = {
    # name: module that registers it, imported on first use
    "resnet": "cyclegan_media.backbones.resnet",
    "unet": "cyclegan_media.backbones.unet",
    "patchgan": "cyclegan_media.backbones.patchgan",
    "pixelgan": "cyclegan_media.backbones.pixelgan",
    "gated_cnn": "cyclegan_media.backbones.gated_cnn",
    "gated_cnn_discriminator": "cyclegan_media.backbones.gated_cnn",
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
        modality, role: what the backbone must be, if given.

    Raises:
        UserError: unknown name or key, wrong type, wrong modality or role.
    """
    keys = dict(spec)
    name = keys.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{where}: needs a 'name', one of: {', '.join(available())}")
    cls = backbone_class(name)
    for wanted, got in ((modality, cls.modality), (role, cls.role)):
        if wanted is not None and wanted != got:
            raise UserError(f"{where}.name: {name!r} is for {got}, but {wanted} is needed here")
    try:
        config = cls.Config.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(cls.Config.model_fields)
            raise UserError(f"{key}: unknown key; {name!r} knows: {known}") from error
        raise UserError(f"{key}: {first['msg']} (got {first['input']!r})") from error
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
