"""Networks that plug into the core: one file per published architecture, and the registry."""

from cyclegan_media.backbones.registry import (
    Backbone,
    BackboneConfig,
    available,
    backbone_class,
    build,
    parse_config,
    register,
    spec_of,
)

__all__ = [
    "Backbone",
    "BackboneConfig",
    "available",
    "backbone_class",
    "build",
    "parse_config",
    "register",
    "spec_of",
]
