"""The kinds of analysis that a recipe or a model folder may state, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from cyclegan_media.errors import UserError
from cyclegan_media.speech.analysis import AnalysisConfig
from cyclegan_media.speech.log_mel import LogMelConfig

VoiceAnalysis = AnalysisConfig | LogMelConfig

ANALYSIS_KINDS: dict[str, type[AnalysisConfig] | type[LogMelConfig]] = {
    "world": AnalysisConfig,
    "log_mel": LogMelConfig,
}


def _kind(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return settings.get("kind", "world")  # the only one there was at first
    return getattr(settings, "kind", None)


AnySettings = Annotated[
    Annotated[AnalysisConfig, Tag("world")] | Annotated[LogMelConfig, Tag("log_mel")],
    Discriminator(
        _kind,
        custom_error_type="analysis_kind",
        custom_error_message="kind must be 'world' or 'log_mel'",
    ),
]
"""For typed sections: settings without a ``kind`` are WORLD's."""

_ADAPTER: TypeAdapter[VoiceAnalysis] = TypeAdapter(AnySettings)


def parse_analysis(settings: Mapping[str, Any], where: str = "analysis") -> VoiceAnalysis:
    """Settings as plain data, for instance those of a model folder.

    Args:
        where: what to call them in messages.

    Raises:
        UserError: an unknown kind or key, or a wrong value; names the key.
    """
    try:
        return _ADAPTER.validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"][1:])])
        raise UserError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from error
