"""Published checkpoints of Vocos: ``pytorch_model.bin`` and ``config.yaml``, the variant for mels.

Siuzdak 2023, arXiv 2306.00814. The networks are those of the package ``vocos``. Its configuration
names Python classes; they are looked up here, and nothing that a file names is imported.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained.neural_vocoder import NeuralVocoder, check_state, checked
from cyclegan_media.pretrained.published import plain_state, read_checkpoint
from cyclegan_media.speech.log_mel import LogMelConfig

Size = Annotated[int, Field(ge=1, le=16384)]
Padding = Literal["center", "same"]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _MelArguments(_Arguments):
    sample_rate: int = 24000
    n_fft: int = 1024
    hop_length: int = 256
    n_mels: int = 100
    padding: Padding = "center"


class _BackboneArguments(_Arguments):
    input_channels: Size
    dim: Size
    intermediate_dim: Size
    num_layers: Annotated[int, Field(ge=1, le=256)]
    layer_scale_init_value: float | None = None


class _HeadArguments(_Arguments):
    dim: Size
    n_fft: Size
    hop_length: Size
    padding: Padding = "same"


class _Mel(_Arguments):
    class_path: Literal["vocos.feature_extractors.MelSpectrogramFeatures"]
    init_args: _MelArguments = _MelArguments()


class _Backbone(_Arguments):
    class_path: Literal["vocos.models.VocosBackbone"]
    init_args: _BackboneArguments


class _Head(_Arguments):
    class_path: Literal["vocos.heads.ISTFTHead"]
    init_args: _HeadArguments


class VocosConfig(BaseModel):
    """What of a published ``config.yaml`` is understood: the variant that takes mel spectra."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    feature_extractor: _Mel
    backbone: _Backbone
    head: _Head

    @model_validator(mode="after")
    def _consistent(self) -> VocosConfig:
        mel, head = self.feature_extractor.init_args, self.head.init_args
        backbone = self.backbone.init_args
        for one, other, names in (
            (backbone.input_channels, mel.n_mels, "backbone.input_channels and n_mels"),
            (backbone.dim, head.dim, "backbone.dim and head.dim"),
            (mel.n_fft, head.n_fft, "n_fft of feature_extractor and head"),
            (mel.hop_length, head.hop_length, "hop_length of feature_extractor and head"),
            (mel.padding, head.padding, "padding of feature_extractor and head"),
        ):
            if one != other:
                raise ValueError(f"{names} must be the same, not {one} and {other}")
        return self

    @property
    def mel_settings(self) -> dict[str, Any]:
        """Of the spectra that it takes: torchaudio's by default."""
        mel = self.feature_extractor.init_args
        return {
            "sample_rate": mel.sample_rate,
            "n_fft": mel.n_fft,
            "hop": mel.hop_length,
            "bands": mel.n_mels,
            "f_max": None,
            "filters": "htk",
            "floor": 1e-7,
            "centred": mel.padding == "center",
        }


def load_vocos(weights: Path, path: Path, settings: Mapping[str, Any]) -> NeuralVocoder:
    """The vocoder of a checkpoint and of the ``settings`` in its configuration.

    Args:
        path: the configuration, for messages.

    Raises:
        UserError: names the first key of either that is wrong; or the package is not installed.
    """
    config = checked(VocosConfig, settings, str(path))
    convention = checked(LogMelConfig, config.mel_settings, str(path))
    state = plain_state(read_checkpoint(weights), str(weights))
    # What analyses, which is done here, holds its window and its filters.
    state = {key: t for key, t in state.items() if not key.startswith("feature_extractor.")}
    try:
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone
    except ImportError as error:
        raise UserError(
            f"{weights}: is a vocoder of Vocos, which needs the package 'vocos'; install it with"
            " pip install 'cyclegan-media[vocoder]'"
        ) from error

    def make() -> nn.Sequential:
        backbone = VocosBackbone(**config.backbone.init_args.model_dump())
        head = ISTFTHead(**config.head.init_args.model_dump())
        return nn.Sequential(OrderedDict(backbone=backbone, head=head))

    with torch.device("meta"):
        expected = make()
    check_state(state, expected.state_dict(), weights, path)
    network = make()
    network.load_state_dict(state)
    return NeuralVocoder(f"{weights} (Vocos)", convention, network)
