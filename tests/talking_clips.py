"""Clips with sound that tests make for themselves, and models that change nothing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from video_files import plain

from cyclegan_media.backbones.registry import Backbone, BackboneConfig, build, register
from cyclegan_media.demo.voices import say
from cyclegan_media.pretrained import ModelConfig, PretrainedModel
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse
from cyclegan_media.translate import Translator


class SameConfig(BackboneConfig):
    pass


class _Same(Backbone):
    Config = SameConfig
    role = "generator"

    def __init__(self, config: SameConfig) -> None:
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


@register("test_same_voice")
class SameVoice(_Same):
    """Each spectrum becomes itself, so that speech is analysed and synthesised, and no more."""

    modality = "voice"


@register("test_same_picture")
class SamePicture(_Same):
    modality = "image"


def same_voice() -> Translator:
    analysis = AnalysisConfig(f0="dio")
    speaker = SpeakerStatistics.from_features([analyse(say(10, "a"), analysis)])
    spec = {"name": "test_same_voice"}
    config = ModelConfig(
        modality="voice",
        domains={"a": "anna", "b": "ben"},
        generators={"a2b": spec},
        analysis=analysis.model_dump(mode="json"),
    )
    statistics = {**speaker.to_tensors("a"), **speaker.to_tensors("b")}
    return Translator(PretrainedModel(config, {"a2b": build(spec)}, statistics), device="cpu")


def same_picture() -> Translator:
    spec: dict[str, Any] = {"name": "test_same_picture"}
    ways: Any = {"a2b": spec, "b2a": spec}
    config = ModelConfig(modality="image", generators=ways)
    return Translator(PretrainedModel(config, {way: build(spec) for way in ways}), device="cpu")


def write_clip(
    path: Path,
    tracks: list[np.ndarray],
    *,
    rate: int = 48000,
    codec: str = "pcm_s16le",
    start: Fraction = Fraction(0),
    seconds: float | None = None,
    flash: float | None = None,
    title: str = "A talk",
) -> Path:
    """A dark video of 25 frames a second with sound tracks ``(channels, n)``, from ``start``.

    Args:
        seconds: of the picture; ``None`` for as long as the first track.
        flash: when one frame is bright.
    """
    with av.open(str(path), "w", container_options={"movie_timescale": "48000"}) as out:
        out.metadata["title"] = title
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 700, "time_base": Fraction(1, 1000),
              "metadata": {"title": "Opening"}}]
        )  # fmt: skip
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2"})
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        layouts = {1: "mono", 2: "stereo", 6: "5.1"}
        sounds = [out.add_stream(codec, rate=rate, layout=layouts[len(t)]) for t in tracks]
        for number, sound in enumerate(sounds):
            sound.metadata["language"] = ("eng", "deu", "fra")[number]
        length = tracks[0].shape[1] / rate if seconds is None else seconds
        out.start_encoding()
        for k in range(round(length * 25)):
            bright = flash is not None and k == round(flash * 25)
            frame = plain((220 if bright else 30, 128, 128), (32, 32))
            frame.pts, frame.time_base = k, Fraction(1, 25)
            out.mux(video.encode(frame))
            for sound, samples in zip(sounds, tracks, strict=True):
                part = samples[:, k * rate // 25 : (k + 1) * rate // 25].astype(np.float32)
                if part.shape[1]:
                    made = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(part), "fltp", sound.layout.name
                    )
                    made.sample_rate, made.time_base = rate, Fraction(1, rate)
                    made.pts = round(start * rate) + k * rate // 25
                    out.mux(sound.encode(made))
        for stream in (video, *sounds):
            out.mux(stream.encode(None))
    return path


def heard(path: Path, number: int = 0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """A sound stream as a player plays it, ``(channels, n)`` from time 0 on, by FFmpeg alone."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        rate = stream.rate
        parts = []
        for frame in container.decode(stream):
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            if samples.dtype != np.float32:
                samples = samples / np.iinfo(samples.dtype).max
            parts.append((round(frame.pts * frame.time_base * rate), samples))
    end = max(place + part.shape[1] for place, part in parts)
    length = end if seconds is None else max(end, round(seconds * rate))
    line = np.zeros((parts[0][1].shape[0], length))
    for place, part in parts:
        left = max(0, -place)
        line[:, max(0, place) : place + part.shape[1]] = part[:, left:]
    return line, rate
