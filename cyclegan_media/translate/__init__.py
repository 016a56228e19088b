"""A trained model applied to files and arrays.

The translator is imported when it is first used: planning which files to translate needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclegan_media.translate.translator import Translator

__all__ = ["Translator"]


def __getattr__(name: str) -> Any:
    if name != "Translator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cyclegan_media.translate.translator import Translator

    return Translator
