"""A trained model applied to files and arrays."""

from cyclegan_media.translate.translator import Translator

__all__ = ["Translator"]
