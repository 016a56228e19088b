"""How files are translated: every choice that a command or a caller can make."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import Direction
from cyclegan_media.translate.image import Pictures
from cyclegan_media.translate.tiles import Tile, check_tile

if TYPE_CHECKING:
    from cyclegan_media.media.credentials import Credentials
    from cyclegan_media.media.video import Decoder
    from cyclegan_media.speech.conversion import Conversion
    from cyclegan_media.speech.vocoder import Vocoder
    from cyclegan_media.translate.face import Faces
    from cyclegan_media.translate.stages import StageTimes
    from cyclegan_media.translate.video import Progress

StrPath = str | os.PathLike[str]
Example = StrPath | Pictures
"""A picture file, or a picture in memory as :meth:`Translator.translate` takes it."""


@dataclass(frozen=True)
class Options:
    """How files are translated.

    Raises:
        UserError: a value that no translation can have.
    """

    direction: Direction = "a2b"
    """``a2b`` or ``b2a``."""
    overwrite: bool = False
    """Replace files that exist."""
    batch_size: int | None = None
    """Pictures or frames at once; ``None`` chooses by the device and its free memory."""
    compile: bool | None = None
    """Whether to compile the network; ``None`` for videos that are long enough to earn it back."""
    tile: Tile = "auto"
    """Compute pictures larger than this in tiles of so many pixels, to the result of the whole;
    ``auto`` does so where the whole might not fit into memory, ``off`` never."""
    codec: str | None = None
    """See :func:`cyclegan_media.translate.video.translate_video`, as for the next three."""
    crf: float | None = None
    preset: str | None = None
    stream: int | None = None
    decoder: Decoder = "cpu"
    progress: Progress | bool = False
    """Show a bar with the time left; or be told of a video's frames, as :func:`translate_video`."""
    timed: Callable[[StageTimes], object] | None = None
    """Told of each video how long its stages took."""
    steady: float = 0.0
    """β of :class:`cyclegan_media.translate.steady.SteadyApply`, at least 0 and below 1: how much a
    frame of a video takes over from the one before; 0 translates each by itself."""
    faces: Faces | None = None
    """Translate nothing but the faces in picture and video files."""
    provenance: bool = True
    """Say in the tags of what is written that it is synthetic, and by which model."""
    credentials: Credentials | None = None
    """Sign that, too, by C2PA."""
    vocoder: Vocoder | StrPath | None = None
    """What makes the waveform, for a model on log-mel spectra: ``griffin_lim``, the file or folder
    of a published vocoder (:func:`cyclegan_media.pretrained.vocoders.load_vocoder`), or one of
    yours; ``None`` for Griffin-Lim."""
    conversion: Conversion | None = None
    """What the conversion of a voice does beside: a postfilter, and how F0 is matched."""
    samples: int | None = None
    """So many translations of each input, each by another latent code, where the model takes one;
    sample k has the same code for every input. ``None`` for one, which is the first."""
    seed: int | None = None
    """What the codes are drawn from; ``None`` for 0."""
    latent_from: Example | None = None
    """A picture of the domain translated to, whose code is borrowed instead."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"batch_size: must be at least 1, not {self.batch_size}")
        check_tile(self.tile)
        if not 0 <= self.steady < 1:
            raise UserError(f"steady: must be at least 0 and below 1, not {self.steady:g}")
        if self.credentials is not None and not self.provenance:
            raise UserError("credentials: sign what is said of the making; leave provenance on")
        if self.samples is not None and self.samples < 1:
            raise UserError(f"samples: must be at least 1, not {self.samples}")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise UserError(f"seed: must be in 0…2⁶⁴ − 1, not {self.seed}")
        if self.latent_from is not None and (self.samples, self.seed) != (None, None):
            raise UserError(
                "latent_from: an example has one code, so neither samples nor a seed goes with it"
            )


class FileOptions(TypedDict, total=False):
    """The fields of :class:`Options` as keywords of :meth:`Translator.translate`."""

    direction: Direction
    overwrite: bool
    batch_size: int | None
    compile: bool | None
    tile: Tile
    codec: str | None
    crf: float | None
    preset: str | None
    stream: int | None
    decoder: Decoder
    progress: Progress | bool
    timed: Callable[[StageTimes], object] | None
    steady: float
    faces: Faces | None
    provenance: bool
    credentials: Credentials | None
    vocoder: Vocoder | StrPath | None
    conversion: Conversion | None
    samples: int | None
    seed: int | None
    latent_from: Example | None
