"""Face detection by OpenCV: Haar cascades, which it carries, and YuNet, whose model is a file.

Haar cascades: Viola & Jones 2001, "Rapid object detection using a boosted cascade of simple
features"; they find upright faces that look at the camera. YuNet: Wu, Peng, Yu 2023, "YuNet: a
tiny millisecond-level face detector"; it also finds turned and partly hidden ones, and gives five
landmarks.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.faces.detector import LANDMARKS, Face
from cyclegan_media.media.kinds import check_input

_LONGER_SIDE = 640
"""Pixels that larger pictures are reduced to for detection: the time would grow with them."""
_BORDER = 0.15
"""Share of the shorter side by which a picture is continued, to find faces that its edge cuts."""
_SMALLEST = 0.08
"""Of the faces that the cascades look for, as a share of the picture's shorter side."""
_MOST_TILTED = math.tan(math.radians(25))
"""Of the line between two eyes: beyond, one of them is a nostril or a brow."""


class HaarDetector:
    """The frontal-face cascade, and the eye cascade for the eyes' places within each face.

    Raises:
        UserError: OpenCV, or one that still has these cascades (version 4), is not installed.
    """

    def __init__(self) -> None:
        self._cv2 = _opencv("CascadeClassifier")
        folder = Path(self._cv2.data.haarcascades)
        self._face, self._eye = (
            self._cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml"))
            for name in ("frontalface_alt2", "eye_tree_eyeglasses")
        )

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """See :meth:`.detector.FaceDetector.detect`; the landmarks are the eyes."""
        view = _View(self._cv2, pixels)
        # The cascades' decisions depend on the contrast as well.
        grey = self._cv2.equalizeHist(self._cv2.cvtColor(view.pixels, self._cv2.COLOR_RGB2GRAY))
        smallest = max(24, round(min(grey.shape) * _SMALLEST))
        boxes, _, scores = self._face.detectMultiScale3(
            grey,
            scaleFactor=1.1,
            minNeighbors=5,
            minSize=(smallest, smallest),
            outputRejectLevels=True,
        )
        found = []
        for box, score in zip(boxes, scores, strict=True):
            left, top, width, height = (int(value) for value in box)
            face = grey[top : top + height, left : left + width]
            found.append(view.face((left, top, width, height), self._eyes(face), float(score)))
        return view.visible(found)

    def _eyes(self, face: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Landmarks in pixels of ``face`` where exactly one plausible pair of eyes is found."""
        side = len(face)
        smallest = max(12, side // 6)
        boxes = self._eye.detectMultiScale(
            face[: side * 6 // 10], scaleFactor=1.05, minNeighbors=4, minSize=(smallest, smallest)
        )
        centres = sorted((float(x + w / 2), float(y + h / 2)) for x, y, w, h in boxes)
        if len(centres) != 2:
            return None
        (left, left_y), (right, right_y) = centres
        distance = right - left
        apart = left < side / 2 < right and 0.25 * side < distance < 0.65 * side
        if not apart or abs(right_y - left_y) > _MOST_TILTED * distance:
            return None
        landmarks = np.full((len(LANDMARKS), 2), np.nan)
        landmarks[:2] = centres
        return landmarks


class YuNetDetector:
    """YuNet, from the ONNX file ``model`` (``face_detection_yunet_….onnx`` of OpenCV's model zoo).

    Args:
        threshold: the least score of a face, in 0…1.

    Raises:
        UserError: OpenCV is not installed, or the file is missing or no such model.
    """

    def __init__(self, model: str | os.PathLike[str], threshold: float = 0.7) -> None:
        self._cv2 = _opencv("FaceDetectorYN")
        path = check_input(model)
        wrong = f"{path}: is not a YuNet face detection model that OpenCV can read"
        try:
            self._net = self._cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold)
            self._find(np.zeros((320, 320, 3), np.uint8))
        except self._cv2.error as error:
            raise UserError(wrong) from error

    def _find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows of a box (4 values), five landmarks (10) and a score."""
        self._net.setInputSize(bgr.shape[1::-1])
        rows = self._net.detect(bgr)[1]
        return np.zeros((0, 15), np.float32) if rows is None else rows

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """See :meth:`.detector.FaceDetector.detect`."""
        view = _View(self._cv2, pixels)
        rows = self._find(self._cv2.cvtColor(view.pixels, self._cv2.COLOR_RGB2BGR))
        found = []
        for row in rows.astype(np.float64):
            box = (row[0], row[1], row[2], row[3])
            points = row[4:14].reshape(5, 2) - row[:2]
            found.append(view.face(box, points, float(row[14])))
        return view.visible(found)


class _View:
    """A picture as detectors get it: reduced if it is large, and continued beyond its edges."""

    def __init__(self, cv2: Any, pixels: NDArray[np.uint8]) -> None:
        self._size = pixels.shape[1::-1]
        self._scale = min(1.0, _LONGER_SIDE / max(self._size))
        if self._scale < 1:
            size = [max(1, round(side * self._scale)) for side in self._size]
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        self._border = round(min(pixels.shape[:2]) * _BORDER)
        self.pixels = cv2.copyMakeBorder(pixels, *[self._border] * 4, cv2.BORDER_REPLICATE)

    def face(
        self,
        box: tuple[float, float, float, float],
        points: NDArray[np.float64] | None,
        score: float,
    ) -> Face:
        """A face of the picture from its box here and landmarks relative to the box's corner."""
        corner = np.array(box[:2])
        left, top = (corner - self._border) / self._scale
        landmarks = None if points is None else (points + corner - self._border) / self._scale
        size = float(box[2] / self._scale), float(box[3] / self._scale)
        return Face((float(left), float(top), *size), landmarks, score)

    def visible(self, faces: list[Face]) -> list[Face]:
        """Those whose middle lies in the picture itself."""
        inside = []
        for face in faces:
            left, top, width, height = face.box
            x, y = left + width / 2, top + height / 2
            if 0 <= x < self._size[0] and 0 <= y < self._size[1]:
                inside.append(face)
        return inside


def _opencv(needed: str) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "finding faces needs OpenCV, which is not installed; install it by"
            " pip install 'cyclegan-media[faces]'"
        ) from error
    if not hasattr(cv2, needed):
        raise UserError(
            f"this OpenCV ({cv2.__version__}) has no {needed}; install version 4 by"
            " pip install 'cyclegan-media[faces]', or name a YuNet model file"
        )
    return cv2
