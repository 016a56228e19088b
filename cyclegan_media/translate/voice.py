"""A recording in one voice → the same recording in another, with a trained voice model.

Either WORLD analysis, the model's generator on the standardised mel-cepstra, log-Gaussian F0
transformation, WORLD synthesis (Kaneko & Kameoka 2017, arXiv 1711.11293, section 4.1); or log-mel
analysis, the generator on the standardised bands, and a vocoder (Kaneko 2021, arXiv 2102.12841).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import UserError
from cyclegan_media.files import check_output
from cyclegan_media.media.audio import read_audio, read_tags, resample
from cyclegan_media.media.audio_blocks import measure_levels
from cyclegan_media.media.audio_writer import check_audio_output, write_audio, write_audio_blocks
from cyclegan_media.media.provenance import Provenance
from cyclegan_media.pretrained import Direction, PretrainedModel
from cyclegan_media.speech import (
    GriffinLim,
    SpeakerStatistics,
    Vocoder,
    VoiceAnalysis,
    check_vocoder,
    convert_signal,
    limit,
    parse_analysis,
)
from cyclegan_media.speech.conversion import PLAIN, Conversion
from cyclegan_media.speech.log_mel import LogMelConfig
from cyclegan_media.speech.statistics import ACTIVE_RANGE_DB
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.long_voice import WHOLE_SECONDS, convert_sections
from cyclegan_media.translate.voice_network import VoiceNetwork

logger = logging.getLogger("cyclegan_media")


def convert_voice(
    model: PretrainedModel,
    samples: NDArray[Any],
    sample_rate: int,
    direction: Direction = "a2b",
    device: torch.device | str | None = None,
    vocoder: Vocoder | None = None,
    conversion: Conversion = PLAIN,
    engine: Engine | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Convert a recording of any length and sample rate.

    A voice is one channel: several are mixed first (their mean), and one comes out. The output
    has the sample rate, the number of samples and the level of speech of the input, so it can
    take its place; it holds no frequencies beyond half the model's rate. No sample exceeds ±0.99:
    where one would exceed ±1, that is logged as a warning. Pauses stay as they are.

    Args:
        samples: ``(n,)`` or ``(channels, n)``, nominally −1…1.
        sample_rate: of ``samples``, in Hz; they are resampled to the model's and back.
        device: where the generator is moved to; ``None`` leaves it where it is.
        vocoder: what makes the waveform, for a model on log-mel spectra; ``None`` for Griffin-Lim.
        conversion: what is done beside applying the network.
        engine: what runs the generator, on its device; ``None`` for the generator itself.

    Returns:
        ``(n,)`` and its sample rate.

    Raises:
        UserError: ``model`` converts no voices, or not in this direction, or lacks statistics;
            or ``samples`` are of another shape, none, or not finite; or ``vocoder`` does not fit.
        RunError: what an engine computed is not finite.
    """
    out = _convert(
        model, samples, sample_rate, direction, device, vocoder, conversion, engine, ACTIVE_RANGE_DB
    )
    _warn_of_peak(float(np.abs(out).max()))
    return limit(out, sample_rate), sample_rate


def _convert(
    model: PretrainedModel,
    samples: NDArray[Any],
    sample_rate: int,
    direction: Direction,
    device: torch.device | str | None,
    vocoder: Vocoder | None,
    conversion: Conversion,
    engine: Engine | None,
    range_db: float,
) -> NDArray[np.float32]:
    """As :func:`convert_voice`, before peaks are turned down."""
    generator, source, target, config = _parts(model, direction)
    if vocoder is not None:
        vocoder = find_vocoder(model, vocoder)
    _check_conversion(conversion, source, target, config)
    if conversion.synthesis != PLAIN.synthesis and vocoder is not None:
        raise UserError("vocoder: differential synthesis uses none; leave out one of the two")
    signal = np.asarray(samples, dtype=np.float32)
    if signal.ndim not in (1, 2) or signal.size == 0:
        raise UserError(f"samples: need shape (n,) or (channels, n), not {np.shape(samples)}")
    if device is not None:
        generator.to(device)
    signal = np.atleast_2d(signal).mean(axis=0, keepdims=True)
    at_model_rate = resample(signal, sample_rate, config.sample_rate)[0]
    network = generator if engine is None else VoiceNetwork(generator, engine)
    converted = convert_signal(
        at_model_rate, network, source, target, config, vocoder, conversion, range_db
    )
    out = resample(converted[None], config.sample_rate, sample_rate)[0]
    wanted = signal.shape[1]
    return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]


def _warn_of_peak(peak: float) -> None:
    if peak > 1:
        logger.warning(
            "the converted voice exceeds full scale by %.1f dB: its peaks are turned down",
            20 * np.log10(peak),
        )


def translate_recording(
    model: PretrainedModel,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    direction: Direction = "a2b",
    *,
    stream: int | None = None,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    vocoder: Vocoder | None = None,
    conversion: Conversion = PLAIN,
    provenance: Sequence[Provenance] = (),
    engine: Engine | None = None,
) -> Path:
    """Convert a file; ``target`` is complete or absent. See :func:`convert_voice`.

    What is longer than 30 s is converted in sections (:mod:`.long_voice`), each at its own level.

    Args:
        source: a recording, or a video, whose sound is taken.
        target: its suffix chooses the format.
        stream: see :func:`cyclegan_media.media.audio.read_audio`.
        provenance: what the target is to say of its making, beside the source's tags.
        engine: see :func:`convert_voice`.

    Raises:
        UserError: as :func:`convert_voice`; or ``source`` cannot be read, or ``target`` not
            written, or exists and ``overwrite`` is false.
        RunError: the disk is full, or what an engine computed is not finite.
    """
    check_audio_output(target)
    check_output(target, overwrite=overwrite)
    levels = measure_levels(source, stream)
    if levels is not None and levels.samples > WHOLE_SECONDS * levels.sample_rate:
        rate, peak = levels.sample_rate, 0.0

        def convert(samples: NDArray[np.float32], range_db: float) -> NDArray[np.float32]:
            nonlocal peak
            try:
                out = _convert(
                    *(model, samples, rate, direction, device, vocoder, conversion, engine),
                    range_db,
                )
            except UserError as error:
                raise UserError(f"{source}: {error}") from error
            peak = max(peak, float(np.abs(out).max()))
            return limit(out, rate)

        written = write_audio_blocks(
            target,
            convert_sections(convert, source, levels, stream),
            rate,
            overwrite,
            tags=read_tags(source),
            provenance=provenance,
        )
        _warn_of_peak(peak)
        return written
    audio = read_audio(source, mono=True, stream=stream)
    try:
        samples, rate = convert_voice(
            model, audio.samples, audio.sample_rate, direction, device, vocoder, conversion, engine
        )
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    tags = read_tags(source)
    return write_audio(target, samples, rate, overwrite, tags=tags, provenance=provenance)


def check_conversion(model: PretrainedModel, direction: Direction, conversion: Conversion) -> None:
    """Check that a voice model can be used so.

    Raises:
        UserError: its spectra hold what is to be changed, or it keeps no frames to retrieve.
    """
    _, source, target, config = _parts(model, direction)
    _check_conversion(conversion, source, target, config)


def _check_conversion(
    conversion: Conversion,
    source: SpeakerStatistics,
    target: SpeakerStatistics,
    config: VoiceAnalysis,
) -> None:
    on_log_mel = isinstance(config, LogMelConfig)
    if conversion.pitch != PLAIN.pitch and on_log_mel:
        raise UserError("pitch: the model's spectra hold the pitch, so the network converts it")
    if conversion.retrieval and on_log_mel:
        raise UserError("retrieval: is for models on mel-cepstra, not on log-mel spectra")
    if conversion.retrieval and (source.frames is None or target.frames is None):
        raise UserError(
            "retrieval: the model keeps no frames of its speakers; train it again with"
            " data.keep_frames above 0"
        )


def find_vocoder(
    model: PretrainedModel,
    vocoder: Vocoder | str | os.PathLike[str],
    device: torch.device | str = "cpu",
) -> Vocoder:
    """A vocoder that takes the spectra of ``model``.

    Args:
        vocoder: ``griffin_lim``, the file or folder of a published one, or one in memory.
        device: where a published one computes.

    Raises:
        UserError: it cannot be read; or it does not fit: says what the model has and what the
            vocoder takes.
    """
    config = _analysis(model)
    if not isinstance(config, LogMelConfig):
        name = vocoder if isinstance(vocoder, str | os.PathLike) else vocoder.name
        raise UserError(
            f"vocoder {name}: takes log-mel spectra, but this model's analysis is {config.kind!r},"
            " which makes waveforms itself; leave the vocoder out"
        )
    if vocoder == GriffinLim.name:
        return GriffinLim(config)
    if isinstance(vocoder, str | os.PathLike):
        from cyclegan_media.pretrained.vocoders import load_vocoder

        vocoder = load_vocoder(vocoder, device=device)
    check_vocoder(vocoder, config)
    return vocoder


def _analysis(model: PretrainedModel) -> VoiceAnalysis:
    if model.config.modality != "voice":
        raise UserError(
            f"model: is for {model.config.modality}s, but a voice model is needed to convert a"
            " recording"
        )
    return parse_analysis(model.config.analysis or {}, "model: config.json: analysis")


def _parts(
    model: PretrainedModel, direction: Direction
) -> tuple[Backbone, SpeakerStatistics, SpeakerStatistics, VoiceAnalysis]:
    """The generator, the statistics of its input and of its output, and the analysis."""
    config = _analysis(model)
    generator = model.generators.get(direction)
    if generator is None:
        known = " and ".join(model.generators) or "none"
        raise UserError(f"model: has no generator for the direction {direction}, only for {known}")
    speakers = {side: SpeakerStatistics.from_tensors(model.statistics, side) for side in ("a", "b")}
    for side, statistics in speakers.items():
        if len(statistics.mean) != config.coefficients:
            raise UserError(
                f"statistics: {side}.mean holds {len(statistics.mean)} {config.size_key}, but the"
                f" analysis has {config.coefficients}; train or export the model again"
            )
    return generator, speakers[direction[0]], speakers[direction[2]], config
