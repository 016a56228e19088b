"""How large media may be: what protects the memory from files that are made to fill it.

Each limit is an environment variable, so that it holds in all processes of a batch and can be
raised, or lowered, without a word in a recipe or a manifest, which others may have written.
"""

from __future__ import annotations

import math
import os

from cyclegan_media.errors import UserError

MAX_MEGAPIXELS_VARIABLE = "CYCLEGAN_MEDIA_MAX_MEGAPIXELS"
"""Of a picture, in millions of pixels."""
DEFAULT_MAX_MEGAPIXELS = 200.0

MAX_FRAME_VARIABLE = "CYCLEGAN_MEDIA_MAX_FRAME_MEGAPIXELS"
"""Of a frame of a video, in millions of pixels. Less than of a picture, since decoding, translating
and encoding hold a few dozen frames at once."""
DEFAULT_MAX_FRAME_MEGAPIXELS = 100.0

MAX_HOURS_VARIABLE = "CYCLEGAN_MEDIA_MAX_HOURS"
"""Of a recording that is held in memory, and of a gap of silence in a video's sound."""
DEFAULT_MAX_HOURS = 6.0

SAMPLE_RATES = (1_000, 1_000_000)
"""Hz: the lowest and the highest rate of recordings that are read."""


def max_megapixels() -> float:
    """Of a picture.

    Raises:
        UserError: the variable is not a number above 0, as in all functions here.
    """
    return _number(MAX_MEGAPIXELS_VARIABLE, DEFAULT_MAX_MEGAPIXELS)


def max_frame_pixels() -> int:
    """Of a frame of a video."""
    return int(1e6 * _number(MAX_FRAME_VARIABLE, DEFAULT_MAX_FRAME_MEGAPIXELS))


def max_samples(rate: int) -> int:
    """Of each channel of a recording with ``rate`` Hz."""
    return int(_number(MAX_HOURS_VARIABLE, DEFAULT_MAX_HOURS) * 3600 * rate)


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable)
    try:
        number = default if text is None else float(text)
    except ValueError as error:
        raise UserError(f"{variable}: {text!r} is not a number") from error
    if not 0 < number < math.inf:
        raise UserError(f"{variable}: {text!r} is not a number above 0")
    return number
