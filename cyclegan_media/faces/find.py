"""Videos and pictures → a data set of aligned faces, each with a mask, and where each came from.

The folder holds ``NAME.png`` (crops, whose alpha channel is the soft mask of the face: the colours
around it are kept) and ``faces.jsonl`` (a line a crop). It can be named as ``--data-a`` or
``--data-b`` of a training; ``data.face_masks`` of a recipe reads the masks.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.faces.blend import sharpness, soft_mask
from cyclegan_media.faces.detector import FaceDetector
from cyclegan_media.faces.placement import DEFAULT_MARGIN
from cyclegan_media.faces.track import FaceTracks, TrackedFace, Which, track_picture, track_video
from cyclegan_media.faces.warp import as_tensor, crop_face, inside_picture
from cyclegan_media.files import atomic_directory
from cyclegan_media.media import Image, VideoReader, kind_of, list_media, read_image, write_image

logger = logging.getLogger("cyclegan_media")

INDEX = "faces.jsonl"
"""Also read by :mod:`cyclegan_media.datasets.face_crops`."""


@dataclass(frozen=True)
class FindOptions:
    """Which crops are written."""

    size: int = 256
    """Side of the crops, in pixels."""
    margin: float = DEFAULT_MARGIN
    """What is shown around a face on each side, as a share of its size."""
    every: int = 1
    """One in so many frames of a video gives crops; all of them are looked at."""
    which: Which = "largest"
    """``largest``: one face at a time, the one that is seen longest and largest."""
    min_size: float = 48.0
    """Pixels from brows to chin in the video: smaller faces are left out."""
    min_sharpness: float = 30.0
    """See :func:`.blend.sharpness`: more blurred faces are left out; 0 keeps all."""
    min_inside: float = 0.9
    """Share of the face that must lie within the frame."""

    def __post_init__(self) -> None:
        if self.size < 16 or self.every < 1 or not 0 <= self.margin <= 4:
            raise UserError(
                f"size {self.size}, every {self.every}, margin {self.margin:g}: a crop has at least"
                " 16 pixels a side, every is at least 1, and the margin is in 0…4"
            )


@dataclass
class FindResult:
    """What :func:`find_faces` did."""

    written: int = 0
    frames: int = 0
    """Frames and pictures that were looked at."""
    faces: int = 0
    """Different faces, where each shot counts its own."""
    too_small: int = 0
    blurred: int = 0
    cut_off: int = 0
    failed: list[Path] = field(default_factory=list)
    """Sources that could not be read; each was logged."""


class _Frame(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def time(self) -> Any: ...

    def tensor(self) -> Tensor: ...


def find_faces(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    detector: FaceDetector,
    options: FindOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[Path], None] | None = None,
) -> FindResult:
    """Write the faces of videos and pictures into the folder ``target``, complete or absent.

    Each video is gone through twice: to find and follow the faces, and to cut them out where the
    smoothed tracks say. Memory holds one frame, and a few numbers for each face and frame. Of
    several sources, one that cannot be read is logged and left out.

    Args:
        sources: videos, pictures, and folders of them.
        progress: is told of each file before it is looked at.

    Raises:
        UserError: a source is missing or of another kind, the only one cannot be read, no face
            was found, or ``target`` exists and ``overwrite`` is false.
        RunError: the disk is full, or no source could be read.
    """
    options = options or FindOptions()
    paths = [path for source in sources for path in _files(Path(source))]
    result = FindResult()
    with atomic_directory(target, overwrite=overwrite) as folder:
        writer = _Writer(folder, options, result)
        for name, path in zip(_names(paths), paths, strict=True):
            if progress is not None:
                progress(path)
            try:
                _cut_out(path, name, detector, writer)
            except CycleganMediaError as error:
                if len(paths) == 1:
                    raise
                logger.error("%s", error)
                result.failed.append(path)
        if len(result.failed) == len(paths):
            raise RunError(f"none of {len(paths)} files could be read")
        if not result.written:
            raise UserError(_none_found(result))
        writer.finish()
    return result


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        files = [path for kind in ("video", "image") for path in list_media(source, kind)]
        if not files:
            raise UserError(f"{source}: holds no videos or pictures to find faces in")
        return files
    if kind_of(source) not in ("video", "image"):
        raise UserError(f"{source}: is no video or picture by its name; faces are found in those")
    return [source]


def _names(paths: list[Path]) -> Iterator[str]:
    """What the crops of each file are called by: its own name, numbered where it comes again."""
    taken: set[str] = set()
    for path in paths:
        name, count = path.stem, 1
        while name.lower() in taken:
            count += 1
            name = f"{path.stem}-{count}"
        taken.add(name.lower())
        yield name


def _cut_out(path: Path, name: str, detector: FaceDetector, writer: _Writer) -> None:
    if kind_of(path) == "image":
        pixels = read_image(path).pixels
        writer.begin(path, name, track_picture(pixels, detector))
        writer.add(_Still(pixels))
        return
    with VideoReader(path) as video:
        writer.begin(path, name, track_video(video, detector))
        for frame in video:
            writer.add(frame)


@dataclass(frozen=True, eq=False)
class _Still:
    """A picture as the only frame of a video."""

    pixels: NDArray[Any]
    number: int = 0
    time: float = 0.0

    def tensor(self) -> Tensor:
        return as_tensor(self.pixels)


class _Writer:
    """Writes the crops of one source after the other."""

    def __init__(self, folder: Path, options: FindOptions, result: FindResult) -> None:
        self._folder, self._options, self._result = folder, options, result
        self._mask = soft_mask(options.size, options.margin)
        self._lines: list[str] = []

    def begin(self, source: Path, name: str, tracks: FaceTracks) -> None:
        self._source, self._name, self._tracks = source, name, tracks
        self._result.frames += tracks.count
        self._result.faces += tracks.number

    def add(self, frame: _Frame) -> None:
        if frame.number % self._options.every:
            return
        picture = None
        for face in self._tracks.at(frame.number, self._options.which):
            if face.seen is None:
                continue  # smoothing bridges the gap, but what is seen there may be a hand
            if face.placement.size < self._options.min_size:
                self._result.too_small += 1
                continue
            picture = frame.tensor() if picture is None else picture
            self._add(frame, picture, face)

    def _add(self, frame: _Frame, picture: Tensor, face: TrackedFace) -> None:
        size = self._options.size
        matrix = face.placement.crop_matrix(size, self._options.margin)
        inside = inside_picture(picture.shape, matrix, size)
        mask = self._mask * inside
        if mask.sum() < self._options.min_inside * self._mask.sum():
            self._result.cut_off += 1
            return
        crop = crop_face(picture, matrix, size)
        sharp = sharpness(crop, self._mask)
        if sharp < self._options.min_sharpness:
            self._result.blurred += 1
            return
        name = f"{self._name}_{frame.number:06d}"
        if self._options.which == "all":
            name += f"_{face.track}"
        pixels, alpha = (crop + 1).mul(127.5).round().byte(), mask.mul(255).round().byte()
        image = Image(pixels.permute(1, 2, 0).numpy(), alpha.numpy())
        write_image(self._folder / f"{name}.png", image)
        assert face.seen is not None
        line = {
            "file": f"{name}.png",
            "source": str(self._source),
            "frame": frame.number,
            "time": float(frame.time),
            "track": face.track,
            "placement": asdict(face.placement),
            "crop_to_frame": matrix.tolist(),
            "box": list(face.seen.box),
            "score": face.seen.score,
            "sharpness": sharp,
            "size": size,
            "margin": self._options.margin,
        }
        self._lines.append(json.dumps(line, ensure_ascii=False))
        self._result.written += 1

    def finish(self) -> None:
        text = "".join(f"{line}\n" for line in self._lines)
        (self._folder / INDEX).write_text(text, encoding="utf-8")


def _none_found(result: FindResult) -> str:
    left_out = {
        "too small": result.too_small,
        "blurred": result.blurred,
        "cut off by the frame": result.cut_off,
    }
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    if not reasons:
        return f"no face was found in {result.frames} frames; another detector may find some"
    return (
        f"no face was good enough of those found ({reasons}); lower --min-size or --min-sharpness"
    )
