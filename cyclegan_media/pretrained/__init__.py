"""Trained models on disk: this project's model folders, and published checkpoints."""

from cyclegan_media.pretrained.folder import (
    FORMAT_VERSION,
    Direction,
    ModelConfig,
    PretrainedModel,
    check_target,
    load_model,
    read_config,
    save_model,
)
from cyclegan_media.pretrained.published import convert_published_state, import_published

__all__ = [
    "FORMAT_VERSION",
    "Direction",
    "ModelConfig",
    "PretrainedModel",
    "check_target",
    "convert_published_state",
    "import_published",
    "load_model",
    "read_config",
    "save_model",
]
