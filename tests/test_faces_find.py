"""Faces found by OpenCV in a clip whose faces are where we put them, and the data set of them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faces_world import RATE, background, frame_at, photograph, truth_at, write_clip
from make_yunet import BOX, LANDMARKS
from numpy.typing import NDArray

from cyclegan_media.cli import main
from cyclegan_media.datasets.images import ImageCrops
from cyclegan_media.errors import UserError
from cyclegan_media.faces import Face, FaceDetector, load_detector
from cyclegan_media.faces.find import FindOptions, FindResult, find_faces
from cyclegan_media.faces.placement import Placement, placement_of_box, placement_of_landmarks
from cyclegan_media.faces.track import FaceTracks, track_video
from cyclegan_media.media import Image, VideoReader, list_media, read_image, write_image

WITHOUT, WITH = 4, 24
"""Frames of the clip that show the background alone, and frames of the face that follow."""
YUNET = Path(__file__).parent / "golden" / "red_square.onnx"


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    return load_detector()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [background()] * WITHOUT + [frame_at(k / RATE) for k in range(WITH)]
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mkv", frames)


@pytest.fixture(scope="module")
def tracks(clip: Path, detector: FaceDetector) -> FaceTracks:
    with VideoReader(clip) as video:
        return track_video(video, detector)


def numbers(placements: list[Placement], truths: list[Placement]) -> NDArray[np.float64]:
    """Errors of x and y in sizes of the face, of the logarithm of the size, and of the angle."""
    return np.array(
        [
            (
                (got.x - truth.x) / truth.size,
                (got.y - truth.y) / truth.size,
                math.log(got.size / truth.size),
                got.angle - truth.angle,
            )
            for got, truth in zip(placements, truths, strict=True)
        ]
    )


def trembling(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of errors over time: the spread of their second differences."""
    spread: NDArray[np.float64] = np.diff(errors, 2, axis=0).std(axis=0)
    return spread


def test_a_moving_face_is_found_where_it_is(tracks: FaceTracks) -> None:
    assert tracks.count == WITHOUT + WITH
    assert tracks.number == 1
    assert sorted(tracks.frames) == list(range(WITHOUT, WITHOUT + WITH))
    placements = [tracks.at(WITHOUT + k)[0].placement for k in range(WITH)]
    # The cascades give eyes alone.
    errors = numbers(placements, [truth_at(k / RATE, points=2) for k in range(WITH)])
    assert np.abs(errors[:, :2]).max() < 0.05, "centre, in sizes of the face"
    assert np.abs(errors[:, 2]).max() < 0.15, "size"
    assert np.abs(errors[:, 3]).max() < math.radians(4), "angle"


def test_tracks_tremble_less_than_detections(tracks: FaceTracks) -> None:
    faces = [tracks.at(WITHOUT + k)[0] for k in range(WITH)]
    truths = [truth_at(k / RATE, points=2) for k in range(WITH)]
    steady = trembling(numbers([face.placement for face in faces], truths))
    seen = [face.seen for face in faces if face.seen is not None]
    assert len(seen) == WITH
    boxes = trembling(numbers([placement_of_box(face) for face in seen], truths))
    assert (steady[:3] < boxes[:3] / 3).all()
    marked = [
        (placement_of_landmarks(face), truth) for face, truth in zip(seen, truths, strict=True)
    ]
    known = [(placement, truth) for placement, truth in marked if placement is not None]
    assert len(known) > WITH / 2
    by_eyes = trembling(numbers([p for p, _ in known], [truth for _, truth in known]))
    assert (steady < by_eyes / 3).all()


def test_a_face_that_the_edge_cuts_is_found(detector: FaceDetector) -> None:
    cut = np.ascontiguousarray(photograph()[:300, 195:450])  # through the left eye's brow
    (face,) = detector.detect(cut)
    assert face.box[0] < 0


@pytest.fixture(scope="module")
def data_set(
    clip: Path, detector: FaceDetector, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FindResult]:
    target = tmp_path_factory.mktemp("data") / "faces"
    return target, find_faces([clip], target, detector, FindOptions(size=96, every=5))


def test_the_data_set_holds_aligned_crops_masks_and_where_they_came_from(
    clip: Path, data_set: tuple[Path, FindResult], tracks: FaceTracks
) -> None:
    target, result = data_set
    wanted = [k for k in range(WITHOUT + WITH) if k % 5 == 0 and k >= WITHOUT]
    assert (result.written, result.frames, result.faces) == (len(wanted), WITHOUT + WITH, 1)
    lines = [json.loads(line) for line in (target / "faces.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == wanted
    assert [line["file"] for line in lines] == [path.name for path in list_media(target, "image")]
    for line in lines:
        assert line["source"] == str(clip)
        assert line["time"] == pytest.approx(line["frame"] / RATE, abs=1e-3)
        placement = Placement(**line["placement"])
        assert placement == tracks.at(line["frame"])[0].placement
        matrix = np.array(line["crop_to_frame"])
        np.testing.assert_allclose(matrix @ [48, 48, 1], [placement.x, placement.y])
        image = read_image(target / line["file"])
        assert image.pixels.shape == (96, 96, 3)
        assert image.alpha is not None
        assert image.alpha[48, 48] == 255
        assert image.alpha[0].max() == 0
        # Colours are kept where the mask is 0: training sees the whole crop.
        assert image.pixels[0].std() > 10


def test_training_reads_pictures_with_their_masks(data_set: tuple[Path, FindResult]) -> None:
    paths = list_media(data_set[0], "image")
    crops = ImageCrops(paths, load_size=None, crop_size=96, flip=False, masks=True)
    sample = crops.sample(0, torch.Generator())
    assert isinstance(sample, dict)
    image = read_image(paths[0])
    assert image.alpha is not None
    assert torch.equal(sample["face_mask"][0], torch.from_numpy(image.alpha) / 255)
    real = torch.from_numpy(image.pixels).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(sample["real"], real)


def test_pictures_and_folders_are_sources_too(detector: FaceDetector, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_image(folder / "one.png", Image(photograph()[:256, 100:356]))
    write_image(tmp_path / "one.png", Image(photograph()[:280, 90:370]))
    sources = [folder, tmp_path / "one.png"]
    result = find_faces(sources, tmp_path / "out", detector, FindOptions(size=64))
    assert result.written == 2
    names = [path.name for path in list_media(tmp_path / "out", "image")]
    assert names == ["one-2_000000.png", "one_000000.png"]


def test_small_and_blurred_faces_are_left_out(detector: FaceDetector, tmp_path: Path) -> None:
    photo = torch.from_numpy(photograph().copy()).permute(2, 0, 1).float()
    blurred = torch.nn.functional.avg_pool2d(photo[None], 13, 1, 6)[0]
    pixels = blurred.round().byte().permute(1, 2, 0).numpy()
    write_image(tmp_path / "blurred.png", Image(np.ascontiguousarray(pixels)))
    with pytest.raises(UserError, match="1 blurred"):
        find_faces([tmp_path / "blurred.png"], tmp_path / "out", detector)
    write_image(tmp_path / "sharp.png", Image(photograph()))
    with pytest.raises(UserError, match="1 too small"):
        find_faces([tmp_path / "sharp.png"], tmp_path / "out", detector, FindOptions(min_size=300))
    assert not (tmp_path / "out").exists()
    both = [tmp_path / "sharp.png", tmp_path / "blurred.png"]
    result = find_faces(both, tmp_path / "out", detector)
    assert (result.written, result.blurred) == (1, 1)


def test_one_bad_file_does_not_stop_the_rest(detector: FaceDetector, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    write_image(tmp_path / "good.png", Image(photograph()[:256, 100:356]))
    sources = [tmp_path / "bad.png", tmp_path / "good.png"]
    result = find_faces(sources, tmp_path / "out", detector)
    assert (result.written, result.failed) == (1, [tmp_path / "bad.png"])


def test_yunet_gives_boxes_and_landmarks_in_pixels_of_the_picture() -> None:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    # The picture is reduced by 2.5 to 640 × 360 and continued by 54 pixels, and the network's
    # cells of 32 pixels begin there: the cell from (128, 96) is at (185, 105) of the picture.
    cell, left, top = 32 * 2.5, (128 - 54) * 2.5, (96 - 54) * 2.5
    pixels = np.zeros((900, 1600, 3), np.uint8)
    pixels[90:200, 170:280, 0] = 255
    (face,) = load_detector(YUNET).detect(pixels)
    x, y = left + BOX[0] * cell, top + BOX[1] * cell
    width, height = cell * math.exp(BOX[2]), cell * math.exp(BOX[3])
    assert face.box == pytest.approx((x - width / 2, y - height / 2, width, height), rel=1e-4)
    assert face.landmarks is not None
    wanted = np.array(LANDMARKS).reshape(5, 2) * cell + [left, top]
    np.testing.assert_allclose(face.landmarks, wanted, rtol=1e-4)
    assert face.score == pytest.approx(1)
    assert load_detector(YUNET).detect(pixels[..., ::-1].copy()) == [], "blue is not red"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: object) -> tuple[int, str]:
        code = main(["faces", *map(str, arguments), "-o", str(tmp_path / "out")])
        return code, capsys.readouterr().err.strip()

    return run


def test_the_command_writes_the_data_set(
    tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    write_image(tmp_path / "photo.png", Image(photograph()))
    code, error = command(tmp_path / "photo.png", "--size", 64, "--quiet")
    assert (code, error) == (0, "")
    assert read_image(tmp_path / "out" / "photo_000000.png").pixels.shape == (64, 64, 3)
    code, error = command(tmp_path / "photo.png")
    assert code == 2
    assert "exists already" in error


def test_the_command_explains_what_is_wrong(
    tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    pytest.importorskip("cv2", reason="OpenCV finds the faces")
    write_image(tmp_path / "plain.png", Image(background()))
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    for arguments, words in [
        ((tmp_path / "plain.png", "--quiet"), "no face was found in 1 frames"),
        ((tmp_path / "absent.mp4", "--quiet"), "there is no such file"),
        ((tmp_path / "voice.wav",), "is no video or picture by its name"),
        ((tmp_path / "plain.png", "--detector-model", tmp_path / "model.onnx"), "is not a YuNet"),
        ((tmp_path / "plain.png", "--detector-model", tmp_path / "no.onnx"), "there is no such"),
        ((tmp_path / "plain.png", "--size", 8), "at least 16"),
    ]:
        code, error = command(*arguments)
        assert code == 2, error
        assert error.count("\n") == 0
        assert words in error
    assert not (tmp_path / "out").exists()


def test_without_opencv_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"pip install 'cyclegan-media\[faces\]'"):
        load_detector()


def test_any_object_that_detects_will_do(tmp_path: Path) -> None:
    class Everywhere:
        def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
            height, width = pixels.shape[:2]
            return [Face((width / 4, height / 4, width / 2, height / 2))]

    write_image(tmp_path / "photo.png", Image(photograph()))
    assert find_faces([tmp_path / "photo.png"], tmp_path / "out", Everywhere()).written == 1
