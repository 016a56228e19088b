"""Translated faces put back into pictures and videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import training_runs
from faces_world import RATE, background, frame_at, photograph, truth_at, write_clip
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.faces import Face, load_detector
from cyclegan_media.faces.placement import TEMPLATE
from cyclegan_media.faces.track import FaceTracks, TrackedFace
from cyclegan_media.faces.warp import as_tensor
from cyclegan_media.media import Image, VideoReader, read_image, write_image
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.training import train
from cyclegan_media.translate import Translator
from cyclegan_media.translate.face import (
    FaceApply,
    FaceOptions,
    Faces,
    translate_face_image,
    translate_face_pixels,
    video_faces,
)
from cyclegan_media.translate.video import translate_video

WITHOUT, WITH = 4, 8


def unchanged(crops: Tensor) -> Tensor:
    return crops


def negative(crops: Tensor) -> Tensor:
    return -crops


class Truth:
    """A detector that knows the path of the photograph."""

    def __init__(self, first: int = -WITHOUT) -> None:
        self._number = first

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        time = self._number / RATE
        self._number += 1
        if time < 0:
            return []
        place = truth_at(time)
        turn = np.exp(1j * place.angle) * place.size
        marks = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]) * turn
        corner = place.x - place.size / 2, place.y - place.size / 2
        landmarks = np.stack([marks.real + place.x, marks.imag + place.y], axis=1)
        return [Face((*corner, place.size, place.size), landmarks)]


def tracks_of(times: list[float]) -> FaceTracks:
    faces = {k: [TrackedFace(0, truth_at(time), 1.0, None)] for k, time in enumerate(times)}
    return FaceTracks(faces, len(times), 1)


def frames_of(pictures: list[NDArray[np.uint8]]) -> Tensor:
    return torch.stack([as_tensor(picture) for picture in pictures])


def read(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as video:
        return [frame.pixels for frame in video]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = [background()] * WITHOUT + [frame_at(k / RATE) for k in range(WITH)]
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mkv", pictures)


@pytest.fixture(scope="module")
def pictures(clip: Path) -> list[NDArray[np.uint8]]:
    return read(clip)


def test_frames_without_a_face_come_back_to_the_bit() -> None:
    frames = frames_of([background(), frame_at(0.2)])
    tracks = FaceTracks({1: [TrackedFace(0, truth_at(0.2), 1.0, None)]}, 2, 1)
    result = FaceApply(negative, tracks)(frames)
    assert torch.equal(result[0], frames[0])
    assert not torch.equal(result[1], frames[1])


def test_an_unchanged_face_leaves_the_frame_as_it_was() -> None:
    frames = frames_of([frame_at(0.3)])
    result = FaceApply(unchanged, tracks_of([0.3]))(frames)
    changed = (result != frames).any(dim=1)[0]
    assert 0.03 < changed.float().mean() < 0.35, "the face and no more"
    error = (result - frames)[0][:, changed].square().mean()
    assert 10 * torch.log10(4 / error) > 38


def test_only_the_face_changes_and_it_does() -> None:
    frames = frames_of([frame_at(0.3)])
    place = truth_at(0.3)
    options = FaceOptions(match_colours=False)
    result = FaceApply(negative, tracks_of([0.3]), options)(frames)[0]
    y, x = np.mgrid[: frames.shape[2], : frames.shape[3]] + 0.5
    distance = np.hypot(x - place.x, y - place.y) / place.size
    far, near = torch.from_numpy(distance > 0.85), torch.from_numpy(distance < 0.3)
    assert torch.equal(result[:, far], frames[0][:, far])
    assert (result + frames[0])[:, near].abs().mean() < 0.03


def test_a_translation_in_other_tones_takes_those_of_the_frame() -> None:
    frames, place = frames_of([frame_at(0.3)]), truth_at(0.3)

    def darker(crops: Tensor) -> Tensor:
        return crops * 0.6 - 0.3

    def change(options: FaceOptions) -> float:
        result = FaceApply(darker, tracks_of([0.3]), options)(frames)
        y, x = int(place.y), int(place.x)
        return float((result - frames)[0, :, y - 20 : y + 20, x - 20 : x + 20].abs().mean())

    assert change(FaceOptions()) < 0.03
    assert change(FaceOptions(match_colours=False)) > 0.3


def test_the_model_gets_crops_of_the_size_it_was_trained_on() -> None:
    shapes = []

    def record(crops: Tensor) -> Tensor:
        shapes.append(tuple(crops.shape))
        assert crops.abs().max() <= 1
        return crops

    frames = frames_of([frame_at(k / RATE) for k in range(3)])
    FaceApply(record, tracks_of([k / RATE for k in range(3)]), FaceOptions(size=64))(frames)
    assert shapes == [(3, 3, 64, 64)]


def test_batches_of_any_size_give_the_same_frames() -> None:
    times = [k / RATE for k in range(4)]
    frames = frames_of([frame_at(time) for time in times])
    whole = FaceApply(negative, tracks_of(times))(frames)
    parts = FaceApply(negative, tracks_of(times))
    assert torch.equal(torch.cat([parts(frames[:1]), parts(frames[1:])]), whole)
    assert torch.equal(FaceApply(negative, tracks_of(times)).at(frames[2:3], [2])[0], whole[2])


def test_a_face_that_the_edge_cuts_is_put_back_as_far_as_it_is_there() -> None:
    whole = frame_at(0.0)
    place = truth_at(0.0)
    cut = int(place.x)  # the frame ends in the middle of the face
    frames = frames_of([np.ascontiguousarray(whole[:, :cut])])
    result = FaceApply(negative, tracks_of([0.0]), FaceOptions(match_colours=False))(frames)
    y = int(place.y)
    assert (result + frames)[0, :, y - 5 : y + 5, cut - 10 :].abs().mean() < 0.05
    same = FaceApply(unchanged, tracks_of([0.0]))(frames)
    assert (same - frames).abs().mean() < 0.01


def test_a_picture_keeps_every_bit_outside_its_face() -> None:
    pixels = photograph()
    place = (224, 114)

    class There:
        def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
            return [Face((place[0] - 50, place[1] - 50, 100, 100))]

    deep = pixels.astype(np.uint16) * 257
    y, x = np.mgrid[:512, :512]
    outside = np.hypot(x - place[0], y - place[1]) > 85
    for picture in (pixels, deep):
        result = translate_face_pixels(negative, picture, Faces(There()))
        assert result.dtype == picture.dtype
        assert np.array_equal(result[outside], picture[outside])
        assert not np.array_equal(result[~outside], picture[~outside])


def test_a_picture_without_a_face_is_written_as_it_is(tmp_path: Path) -> None:
    class Blind:
        def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
            return []

    write_image(tmp_path / "in.png", Image(background()))
    translate_face_image(negative, tmp_path / "in.png", tmp_path / "out.png", Faces(Blind()))
    assert np.array_equal(read_image(tmp_path / "out.png").pixels, background())


def test_a_video_is_translated_where_its_faces_are(
    clip: Path, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    faces = video_faces(negative, clip, Faces(Truth()))
    result = translate_video(faces, clip, tmp_path / "out.mkv", batch_size=3, codec="ffv1")
    assert result.frames == WITHOUT + WITH
    frames = read(tmp_path / "out.mkv")
    for got, before in zip(frames[:WITHOUT], pictures[:WITHOUT], strict=True):
        assert np.array_equal(got, before), "frames without a face are the same to the bit"
    # Colours of the photograph that no RGB has are clipped wherever frames are translated.
    translate_video(unchanged, clip, tmp_path / "same.mkv", batch_size=3, codec="ffv1")
    clipped = read(tmp_path / "same.mkv")[WITHOUT:]
    for number, (got, before) in enumerate(zip(frames[WITHOUT:], clipped, strict=True)):
        place = truth_at(number / RATE)
        y, x = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
        outside = np.hypot(x - place.x, y - place.y) > 0.9 * place.size
        assert np.array_equal(got[outside], before[outside])
        assert not np.array_equal(got[~outside], before[~outside])


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_frame_without_a_face_keeps_even_colours_that_no_rgb_has(
    clip: Path, tmp_path: Path, suffix: str
) -> None:
    class Blind:
        def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
            return []

    faces = video_faces(negative, clip, Faces(Blind()))
    target = tmp_path / f"out{suffix}"
    translate_video(faces, clip, target, codec="ffv1", untouched=faces.untouched)
    with VideoReader(clip) as source, VideoReader(target) as result:
        pairs = list(zip(source, result, strict=True))
    assert len(pairs) == WITHOUT + WITH
    for before, after in pairs:
        for stored, wanted in zip(after.planes(), before.planes(), strict=True):
            assert torch.equal(stored, wanted)


def test_a_real_detector_on_a_clip_puts_an_unchanged_face_back(
    clip: Path, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    faces = video_faces(unchanged, clip, Faces(load_detector()))
    translate_video(faces, clip, tmp_path / "out.mkv", codec="ffv1")
    frames = read(tmp_path / "out.mkv")
    assert all(np.array_equal(frames[k], pictures[k]) for k in range(WITHOUT))
    for got, before in zip(frames[WITHOUT:], pictures[WITHOUT:], strict=True):
        changed = (got != before).any(axis=2)
        assert changed.any(), "the face was found"
        error = np.square(got[changed].astype(float) - before[changed]).mean()
        assert 10 * np.log10(255**2 / error) > 35


SPEC = {"name": "resnet", "width": 2, "blocks": 1}


@pytest.fixture
def model() -> PretrainedModel:
    config = ModelConfig(modality="image", generators={"a2b": SPEC})
    return PretrainedModel(config, {"a2b": build(SPEC)})


def test_the_command_translates_faces_of_pictures_and_videos(
    model: PretrainedModel, clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    save_model(tmp_path / "model", model)
    pixels = photograph()[:256, 100:356]
    write_image(tmp_path / "photo.png", Image(np.ascontiguousarray(pixels)))
    options = ["-m", str(tmp_path / "model"), "--face-size", "64", "--quiet"]
    picture, video = tmp_path / "faces.png", tmp_path / "faces.mkv"
    source = str(tmp_path / "photo.png")
    assert main(["translate", source, "-o", str(picture), "--all-faces", *options]) == 0
    changed = (read_image(picture).pixels != pixels).any(axis=2)
    assert 0.05 < changed.mean() < 0.3
    assert not changed[:10].any()
    video_options = ["-o", str(video), "--faces", "--codec", "ffv1", *options]
    assert main(["translate", str(clip), *video_options]) == 0
    frames, before = read(video), read(clip)
    assert all(np.array_equal(frames[k], before[k]) for k in range(WITHOUT))
    assert not np.array_equal(frames[WITHOUT], before[WITHOUT])


def test_faces_are_for_files_and_pictures(model: PretrainedModel) -> None:
    translator = Translator(model, device="cpu")
    with pytest.raises(UserError, match="in files only"):
        translator.translate(photograph(), faces=Faces(Truth()))  # type: ignore[call-overload]


def test_a_model_remembers_how_the_faces_were_cut_out_that_it_was_trained_on(
    tmp_path: Path,
) -> None:
    files = training_runs.pictures(tmp_path)
    for side in ("a", "b"):
        line = {"file": "0.png", "size": 48, "margin": 0.7}
        (tmp_path / side / "faces.jsonl").write_text(json.dumps(line) + "\n")
    train(training_runs.recipe(steps=1, decay_steps=0), files, tmp_path / "run", device="cpu")
    config = load_model(tmp_path / "run" / "model").config
    assert config.analysis == {"faces": {"size": 48, "margin": 0.7}}
    options = FaceOptions.for_model(config.analysis, margin=0.5, size=None)
    assert (options.size, options.margin) == (48, 0.5)
    assert FaceOptions.for_model(None) == FaceOptions()

    seen: list[tuple[int, ...]] = []
    translator = Translator.load(tmp_path / "run", device="cpu")
    translator.generator("a2b").register_forward_pre_hook(
        lambda network, inputs: seen.append(tuple(inputs[0].shape[2:]))
    )
    write_image(tmp_path / "photo.png", Image(frame_at(0.2)))
    translator.translate(tmp_path / "photo.png", tmp_path / "out.png", faces=Faces(Truth(0)))
    assert seen == [(48, 48)]


@pytest.mark.parametrize("faces", [{"size": "big"}, {"width": 3}, [1]])
def test_what_a_model_says_of_its_faces_is_checked(faces: object) -> None:
    with pytest.raises(UserError, match=r"analysis\.faces"):
        FaceOptions.for_model({"faces": faces})
