"""A clip in which somebody talks: its picture and its voice translated in one pass.

The voice comes first (:mod:`.talking_voice`), since where somebody speaks shows only in the whole
track. The clip is then read once: its frames are translated, and its sound is decoded, mixed with
the new voice and encoded beside them, sample for sample.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan_media.errors import UserError
from cyclegan_media.files import check_output
from cyclegan_media.media.kinds import kind_of
from cyclegan_media.media.provenance import Provenance, comment_tags
from cyclegan_media.media.sound_track import NewSound
from cyclegan_media.pretrained import Direction
from cyclegan_media.translate.folder import Job
from cyclegan_media.translate.options import Options
from cyclegan_media.translate.talking_voice import convert_sound

if TYPE_CHECKING:
    from cyclegan_media.translate.translator import Translator

_NO_PICTURE = (
    "direction",
    "overwrite",
    "batch_size",
    "tile",
    "progress",
    "timed",
    "provenance",
    "credentials",
)
"""Options that mean nothing, or the same, where the picture is copied."""


@dataclass(frozen=True)
class Talking:
    """How the two models work on a clip, beside :class:`Options`."""

    video: Translator | None = None
    """Translates the picture; ``None`` leaves it as it is, copied."""
    voice: Translator | None = None
    """Converts the voice; ``None`` leaves the sound as it is, copied."""
    video_direction: Direction | None = None
    """Where it is not :attr:`Options.direction`."""
    voice_direction: Direction | None = None
    audio_stream: int | None = None
    """Which sound stream is converted, counted from 0; ``None`` for the one players choose."""
    gate: bool = True
    """Keep the original sound where nobody speaks; else all of it goes through the model."""

    def __post_init__(self) -> None:
        for name, model, modality in (
            ("video", self.video, "image"),
            ("voice", self.voice, "voice"),
        ):
            if model is not None and model.modality != modality:
                raise UserError(
                    f"{name} model: is for {model.modality}s, but one for {modality}s is needed"
                )
        if self.video is None and self.voice is None:
            raise UserError("a talking clip: needs a model of pictures, or of voices, or both")

    def options(self, options: Options) -> tuple[Options, Options]:
        """Those of the picture, and those of the voice."""
        way = options.direction
        picture = replace(
            options, direction=self.video_direction or way, vocoder=None, conversion=None
        )
        voice = Options(
            direction=self.voice_direction or way,
            provenance=options.provenance,
            vocoder=options.vocoder,
            conversion=options.conversion,
        )
        return picture, voice

    def check(self, options: Options) -> None:
        """Whether the models can do what is asked, before any work.

        Raises:
            UserError: a model has no generator for its direction, or cannot be asked for what the
                options say.
        """
        picture, voice = self.options(options)
        if self.video is not None:
            self.video.check(picture)
        elif picture != Options(**{name: getattr(picture, name) for name in _NO_PICTURE}):
            raise UserError(
                "options of pictures (faces, steady, samples, codec and the like): go with a video"
                " model; without one the picture is copied as it is"
            )
        if self.voice is not None:
            self.voice.check(voice)


def translate_talking(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    talking: Talking,
    options: Options | None = None,
    *,
    sample: int = 1,
) -> Path:
    """Translate a clip; ``target`` is complete or absent.

    Timestamps, other tracks, chapters and tags stay, as do the start and the length of the sound,
    to the sample. With a gate, sound without speech is the original's; see :func:`convert_sound`.

    Args:
        options: those of pictures go for the picture, those of voices for the sound.
        sample: see :attr:`cyclegan_media.translate.folder.Job.sample`.

    Memory holds the sound of the clip in one channel, and what converting a minute of it takes.

    Raises:
        UserError: the source cannot be read or holds no sound to convert, the target cannot be
            written, or a model lacks the direction; or the sound is longer than
            ``$CYCLEGAN_MEDIA_MAX_HOURS``, else 6.
        RunError: a frame or the sound is damaged, or the disk is full.
    """
    options = options or Options()
    talking.check(options)
    source, target = Path(source), check_output(target, overwrite=options.overwrite)
    for path in (source, target):
        if kind_of(path) != "video":
            raise UserError(f"{path}: is no video, as a talking clip is; use --model for it")
    if options.credentials is not None:
        from cyclegan_media.media.credentials import signed_output

        with signed_output(target, options.credentials, overwrite=options.overwrite) as unsigned:
            unsealed = replace(options, credentials=None)
            translate_talking(source, unsigned, talking, unsealed, sample=sample)
        return target
    picture, voice = talking.options(options)
    sound, records = None, []
    if talking.voice is not None:
        sound = convert_sound(
            talking.voice, source, voice, stream=talking.audio_stream, gate=talking.gate
        )
        if sound is not None:
            records = talking.voice.provenance("voice", voice, parts=talking.gate)
    if talking.video is not None:
        talking.video.translate_clip(Job(source, target, sample), picture, sound, records)
    else:
        _copy(source, target, sound, records, options)
    return target


def _copy(
    source: Path,
    target: Path,
    sound: NewSound | None,
    records: Sequence[Provenance],
    options: Options,
) -> None:
    from cyclegan_media.media.video_copy import copy_with_sound

    copy_with_sound(source, target, sound, tags=comment_tags(records), overwrite=options.overwrite)
