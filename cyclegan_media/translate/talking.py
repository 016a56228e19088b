"""A clip in which somebody talks: its picture and its voice translated in one pass.

The voice comes first, since converting it needs the whole track: mixed to one channel, it is held
in memory (:func:`convert_sound`) while the clip is then read once, its frames translated, and its
sound decoded, mixed with the new voice and encoded beside them, sample for sample.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.files import check_output
from cyclegan_media.media.kinds import kind_of
from cyclegan_media.media.provenance import Provenance, comment_tags
from cyclegan_media.media.sound_track import Block, NewSound, SoundReader
from cyclegan_media.pretrained import Direction
from cyclegan_media.speech import limit
from cyclegan_media.speech.activity import measure_activity, speech_of
from cyclegan_media.translate.folder import Job
from cyclegan_media.translate.options import Options

if TYPE_CHECKING:
    from cyclegan_media.translate.translator import Translator

logger = logging.getLogger("cyclegan_media")

Samples = NDArray[np.float32]

_NO_PICTURE = (
    "direction",
    "overwrite",
    "batch_size",
    "tile",
    "progress",
    "provenance",
    "credentials",
)
"""Options that mean nothing, or the same, where the picture is copied."""
_PART_SECONDS = 60.0
"""Of what is converted at once, where there are pauses to cut it at."""
_FADE_SECONDS = 0.02
"""From the original sound to the new voice and back."""


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


def convert_sound(
    voice: Translator,
    source: str | os.PathLike[str],
    options: Options | None = None,
    *,
    stream: int | None = None,
    gate: bool = True,
) -> NewSound | None:
    """Convert the voice in a clip, to take the place of its sound.

    All channels are mixed to one (their mean), which is converted, and the new voice is laid into
    each channel at the level that the old one has there (the factor by which the mix comes nearest
    to the channel while somebody speaks).

    With a gate, only what :mod:`cyclegan_media.speech.activity` takes for speech goes through the
    model. Between the stretches of speech the original samples stay; the change from one to the
    other takes 20 ms. Background under speech is not kept: it is part of what is converted.

    Returns:
        The new sound; ``None`` where a gate finds no speech at all, which is logged.

    Raises:
        UserError: the clip has no such sound, or it is too long.
        RunError: the sound is damaged.
    """
    reader = SoundReader(source, stream)
    rate = reader.sample_rate
    track = _mixed(reader)
    if not len(track):
        raise UserError(f"{source}: holds no sound that can be decoded")
    seconds = speech_of(measure_activity([track], rate), len(track) / rate)
    stretches = [(round(start * rate), round(stop * rate)) for start, stop in seconds]
    if gate and not stretches:
        logger.warning("%s: no speech is found; its sound stays as it is", source)
        return None
    fades = _Fades([(0, len(track))], 0)
    if gate:
        fades = _Fades(stretches, round(_FADE_SECONDS * rate))
    gains = _gains(reader, fades)
    loudest = np.float32(max(1.0, float(np.abs(gains).max())))
    longest = round(_PART_SECONDS * rate)
    for start, stop in parts_of(stretches, longest, None if gate else len(track)):
        part = track[start:stop] * fades.weights(start, stop - start)
        converted = voice.convert_samples(part, rate, options or Options())
        track[start:stop] = limit(converted * loudest, rate) / loudest

    def change(block: Block) -> Samples:
        length = block.samples.shape[1]
        new = np.zeros(length, dtype=np.float32)
        there = track[block.number : block.number + length]
        new[: len(there)] = there
        share = fades.weights(block.number, length)
        return (1 - share) * block.samples + share * (gains[:, None] * new)

    return NewSound(reader.stream, rate, change)


def parts_of(
    stretches: Sequence[tuple[int, int]], longest: int, total: int | None = None
) -> list[tuple[int, int]]:
    """Starts and stops of what is converted at once: stretches that lie within ``longest``.

    So memory does not grow with what converting takes. A single longer stretch is a part.

    Args:
        stretches: of speech, in order.
        total: of samples, where the parts are to cover all; they then meet in the middle of pauses.
    """
    parts: list[tuple[int, int]] = []
    for start, stop in stretches:
        if parts and stop - parts[-1][0] <= longest:
            parts[-1] = (parts[-1][0], stop)
        else:
            parts.append((start, stop))
    if total is None:
        return parts
    cuts = [(stop + start) // 2 for (_, stop), (start, _) in pairwise(parts)]
    return list(pairwise([0, *cuts, total]))


def _mixed(reader: SoundReader) -> Samples:
    """``(n,)``: the mean of the channels."""
    blocks = deque(_mix(block) for block in reader)
    track = np.empty(sum(map(len, blocks)), dtype=np.float32)
    place = 0
    while blocks:  # each is freed as it is copied, so that memory holds the track once
        block = blocks.popleft()
        track[place : place + len(block)] = block
        place += len(block)
    return track


def _mix(block: Block) -> Samples:
    return block.samples.mean(axis=0, dtype=np.float32)


def _gains(reader: SoundReader, fades: _Fades) -> Samples:
    """``(channels,)``: the factors by which the mix comes nearest to each channel, where speech is.

    By least squares, ⟨channel, mix⟩ / ⟨mix, mix⟩; another pass through the sound.
    """
    if reader.channels == 1:
        return np.ones(1, dtype=np.float32)
    products, square = np.zeros(reader.channels), 0.0
    for block in reader:
        share = fades.weights(block.number, block.samples.shape[1])
        mixed = (_mix(block) * share).astype(np.float64)
        products += (block.samples * share) @ mixed
        square += float(mixed @ mixed)
    if square == 0:
        return np.ones(reader.channels, dtype=np.float32)
    return (products / square).astype(np.float32)


class _Fades:
    """The share of the new voice at each sample: 1 in stretches, rising and falling at their ends.

    The slopes are those of a raised cosine, and lie within the stretches.
    """

    def __init__(self, stretches: Sequence[tuple[int, int]], length: int) -> None:
        self._stretches, self._length = stretches, length
        self._stops = [stop for _, stop in stretches]

    def weights(self, start: int, count: int) -> Samples:
        """``(count,)``, 0…1, from sample ``start``."""
        share = np.zeros(count, dtype=np.float32)
        for first, last in self._stretches[bisect_right(self._stops, start) :]:
            left, right = max(first, start), min(last, start + count)
            if left >= right:
                break
            place = np.arange(left, right)
            # From the middle of a sample to the nearer end of the stretch.
            inside = np.minimum(place - first, last - 1 - place) + 0.5
            part = np.clip(inside / self._length, 0, 1) if self._length else np.ones(right - left)
            share[left - start : right - start] = 0.5 - 0.5 * np.cos(np.pi * part)
        return share
