"""What scripts/fuzz.py damages: small files of each kind, how they are damaged, and their use.

A mutant is a pure function of its number and the seed: which original, and what is done to it.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import PIL.Image
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.media import Image, write_audio, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.recipe import load_recipe
from cyclegan_media.recipe.load import dump_recipe
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics

PICTURES = ("png", "jpg", "webp", "tif", "avif", "gif", "bmp", "jp2", "ppm")
VIDEOS = ("mp4", "mkv", "webm", "ts", "avi", "mov")
RECORDINGS = ("wav", "flac", "ogg", "mp3", "m4a")
_RECIPE = """\
name: tiny
modality: image
model:
  generator: {name: resnet, width: 2, blocks: 1}
  discriminator: {name: patchgan, width: 2, layers: 1}
objective:
  adversarial: {loss: lsgan}
  cycle: {weight: 10}
data: {load_size: 18, crop_size: 16}
trainer: {steps: 3, checkpoint_every: 1, keep: 3, workers: 0, batch_size: 1}
"""
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62)


class Original(NamedTuple):
    """A file that is damaged, and how it is then used."""

    kind: str
    name: str
    """Of the file in the folder of originals; for a folder, of the file in it that is damaged."""
    arguments: tuple[str, ...]
    """Of the command line; MUTANT, OUT and ORIGINALS stand for paths."""
    folder: str | None = None
    """A folder of originals that is copied whole, MUTANT being the copy."""
    output: bool = True
    """Whether OUT must be there after a success."""


def make_originals(folder: Path) -> list[Original]:
    """Write the originals; in an order that is always the same."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    media = [*_pictures(folder), *_videos(folder), *_recordings(folder)]
    return [
        *media,
        *(
            Original("medium described", name, ("info", "MUTANT", "--json"), output=False)
            for name in dict.fromkeys(original.name for original in media)
        ),
        *_models(folder),
        *_recipes(folder),
        *_training(folder),
        *_manifests(folder),
    ]


def _pictures(folder: Path) -> list[Original]:
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    for suffix in PICTURES:
        if suffix == "ppm":
            PIL.Image.fromarray(noise).save(folder / "a.ppm")
        else:
            write_image(folder / f"a.{suffix}", Image(noise))
    for suffix in ("png", "tif"):
        write_image(folder / f"deep.{suffix}", Image(noise.astype(np.uint16) * 257))
    names = [*(f"a.{suffix}" for suffix in PICTURES), "deep.png", "deep.tif"]
    return [Original("picture", name, _translate("image", "png")) for name in names]


def _translate(model: str, suffix: str) -> tuple[str, ...]:
    return ("translate", "MUTANT", "-m", f"ORIGINALS/{model}", "-o", f"OUT.{suffix}")


def _videos(folder: Path) -> list[Original]:
    codecs = {"webm": ("libvpx-vp9", "libopus"), "avi": ("mpeg4", "libmp3lame")}
    for suffix in VIDEOS:
        picture_codec, sound_codec = codecs.get(suffix, ("libx264", "aac"))
        with av.open(str(folder / f"a.{suffix}"), "w") as out:
            video = out.add_stream(picture_codec, rate=25)
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
            sound = out.add_stream(sound_codec, rate=48000, layout="stereo")
            assert isinstance(sound, av.AudioStream)
            for k in range(6):
                noise = np.random.default_rng(k).integers(0, 256, (32, 32, 3)).astype(np.uint8)
                out.mux(video.encode(av.VideoFrame.from_ndarray(noise)))
            samples = np.tile(0.5 * (np.arange(11520) % 320 == 0).astype(np.float32), (2, 1))
            tone = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
            tone.sample_rate, tone.pts = 48000, 0
            resampled = av.AudioResampler(
                format=sound.codec_context.format, frame_size=sound.codec_context.frame_size or 1024
            )
            for frame in [*resampled.resample(tone), *resampled.resample(None)]:
                out.mux(sound.encode(frame))
            for stream in (video, sound):
                out.mux(stream.encode(None))
    fast = ("--preset", "ultrafast")
    talk = ("translate", "MUTANT", "--voice-model", "ORIGINALS/voice", "-o", "OUT.mkv")
    return [
        *(Original("video", f"a.{s}", (*_translate("image", "mkv"), *fast)) for s in VIDEOS),
        *(Original("voice of a video", f"a.{s}", talk) for s in VIDEOS),
    ]


def _recordings(folder: Path) -> list[Original]:
    samples = 0.5 * (np.arange(4000) % 107 == 0).astype(np.float32)
    for suffix in RECORDINGS:
        write_audio(folder / f"a.{suffix}", samples, 16000)
    return [
        Original("recording", f"a.{suffix}", _translate("voice", "wav")) for suffix in RECORDINGS
    ]


def _models(folder: Path) -> list[Original]:
    image = {"name": "resnet", "width": 2, "blocks": 1}
    network = build(image)
    save_model(
        folder / "image",
        PretrainedModel(ModelConfig(modality="image", generators={"a2b": image}), {"a2b": network}),
    )
    voice = {"name": "gated_cnn", "coefficients": 8, "width": 2, "residual_blocks": 1}
    statistics = SpeakerStatistics(np.zeros(8, np.float32), np.ones(8, np.float32), 5.0, 0.2)
    analysis = AnalysisConfig(f0="dio", coefficients=8).model_dump()
    save_model(
        folder / "voice",
        PretrainedModel(
            ModelConfig(modality="voice", generators={"a2b": voice}, analysis=analysis),
            {"a2b": build(voice)},
            statistics.to_tensors("a") | statistics.to_tensors("b"),
        ),
    )
    published = _published()
    torch.save(published, folder / "new.pth")
    torch.save(published, folder / "old.pth", _use_new_zipfile_serialization=False)
    use = ("translate", "ORIGINALS/a.png", "-m", "MUTANT", "-o", "OUT.png")
    say = ("translate", "ORIGINALS/a.wav", "-m", "MUTANT", "-o", "OUT.wav")
    return [
        Original("model", "config.json", use, "image"),
        Original("model", "generator_a2b.safetensors", use, "image"),
        Original("model", "config.json", say, "voice"),
        Original("model", "statistics.safetensors", say, "voice"),
        *(
            Original("checkpoint", name, ("import", "MUTANT", "-o", "OUT"))
            for name in ("new.pth", "old.pth")
        ),
    ]


def _published() -> dict[str, torch.Tensor]:
    """A ResNet with one block, by the names of the CycleGAN release."""
    shapes = {
        **{"1": (2, 3, 7, 7), "4": (4, 2, 3, 3), "7": (8, 4, 3, 3)},
        **{"10.conv_block.1": (8, 8, 3, 3), "10.conv_block.5": (8, 8, 3, 3)},
        **{"11": (8, 4, 3, 3), "14": (4, 2, 3, 3), "18": (3, 2, 7, 7)},
    }
    biases = {k: shape[1 if k in ("11", "14") else 0] for k, shape in shapes.items()}
    return {
        **{f"model.{k}.weight": torch.rand(shape) for k, shape in shapes.items()},
        **{f"model.{k}.bias": torch.rand(count) for k, count in biases.items()},
    }


def _recipes(folder: Path) -> list[Original]:
    (folder / "tiny.yaml").write_text(_RECIPE)
    (folder / "voice.yaml").write_text(dump_recipe(load_recipe("cyclegan_vc")))
    return [
        Original("recipe", name, ("info", "MUTANT"), output=False)
        for name in ("tiny.yaml", "voice.yaml")
    ]


def _training(folder: Path) -> list[Original]:
    from cyclegan_media.datasets.discover import find_files
    from cyclegan_media.training import train

    for side in "ab":
        (folder / side).mkdir()
        noise = np.random.default_rng(ord(side)).integers(0, 256, (20, 20, 3)).astype(np.uint8)
        write_image(folder / side / "0.png", Image(noise))
    files = find_files(folder / "a", folder / "b", ("image", "video"))
    recipe = load_recipe(folder / "tiny.yaml")
    train(recipe, files, folder / "run", device="cpu", progress=False)
    for path in ("model", "checkpoints/step-00000003"):  # so that there is a step to be made
        shutil.rmtree(folder / "run" / path)
    data = ("--data-a", "ORIGINALS/a", "--data-b", "ORIGINALS/b")
    use = ("train", "ORIGINALS/tiny.yaml", *data, "--out", "MUTANT", "--resume")
    last = "checkpoints/step-00000002"
    names = (f"{last}/training.pt", f"{last}/rank-0.pt", "recipe.yaml", f"{last}/score.json")
    (folder / "run" / last / "score.json").write_text('{"score": 0.5}\n')
    return [Original("training state", name, use, "run", output=False) for name in names]


def _manifests(folder: Path) -> list[Original]:
    row = '{"crf": 18, "preset": "slow"}'
    quoted = row.replace('"', '""')
    (folder / "jobs.csv").write_text(
        f'input,output,options\na.png,x/1.png,\na.mp4,clip.mp4,"{quoted}"\n'
    )
    (folder / "jobs.jsonl").write_text(
        f'{{"input": "a.png", "output": "x/1.png"}}\n{{"input": "a.mp4", "options": {row}}}\n'
    )
    # Beside the media that the rows name: a folder that is copied.
    for name in ("jobs.csv", "jobs.jsonl"):
        part = folder / f"of-{name}"
        part.mkdir()
        for file in (name, "a.png", "a.mp4"):
            shutil.copy(folder / file, part / file)
    return [
        Original("manifest", name, ("PLAN", f"MUTANT/{name}", "OUT"), f"of-{name}", output=False)
        for name in ("jobs.csv", "jobs.jsonl")
    ]


def mutate(rng: random.Random, content: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
    """How a file is damaged, and what is in it then."""
    data = bytearray(content)
    how = rng.choice(("bits", "bits", "cut", "splice", "header", "number", "number", "zeros"))
    at = rng.randrange(len(data))
    if how == "bits":
        for _ in range(rng.choice((1, 1, 4, 16, 64))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[at:]
    elif how == "splice":
        other = rng.choice([content, *others])
        begin = rng.randrange(len(other))
        length = rng.randint(1, max(1, min(4096, len(other) - begin)))
        kept = at if rng.random() < 0.5 else at + length  # inserted, or in the place of as much
        data[at:kept] = other[begin : begin + length]
    elif how == "zeros":
        data[at : at + rng.choice((4, 64, 1024))] = bytes(rng.choice((4, 64, 1024)))
    else:
        place = rng.randrange(min(64, len(data))) if how == "header" else at
        size, order = rng.choice((1, 2, 4, 8)), rng.choice("<>")
        number = rng.choice(_EXTREMES) & (1 << 8 * size) - 1
        data[place : place + size] = struct.pack(
            f"{order}{ {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}[size] }", number
        )
    return how, bytes(data)
