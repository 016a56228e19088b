"""Only the faces of pictures and videos translated, and put back where they were.

Jin, Qi, Wu 2017, "CycleGAN Face-off", arXiv 1712.03451: the networks work on aligned crops of
faces. Each crop is taken where the tracks say, which are smoothed over time; its translation takes
the mean colour and contrast of the face it replaces, and is blended in through a soft mask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.faces import FaceDetector
from cyclegan_media.faces.blend import match_colours, soft_mask
from cyclegan_media.faces.placement import DEFAULT_MARGIN, Placement
from cyclegan_media.faces.track import FaceTracks, TrackedFace, Which, track_picture, track_video
from cyclegan_media.faces.warp import as_tensor, crop_face, inside_picture, paste_face
from cyclegan_media.files import check_output
from cyclegan_media.media import VideoReader, read_image, write_image
from cyclegan_media.media.image_writer import image_format
from cyclegan_media.media.provenance import Provenance
from cyclegan_media.translate.image import Apply


@dataclass(frozen=True)
class FaceOptions:
    """How faces are translated; as the model's training data was cut out."""

    size: int = 256
    """Side of the crops that the model gets, in pixels."""
    margin: float = DEFAULT_MARGIN
    """What they show around a face on each side, as a share of its size."""
    which: Which = "largest"
    """``largest``: one face at a time, the one that is seen longest and largest; or ``all``."""
    match_colours: bool = True
    """Whether a translated face takes the mean colour and contrast of the one it replaces."""

    def __post_init__(self) -> None:
        if self.size < 16 or not 0 <= self.margin <= 4:
            raise UserError(
                f"face size {self.size}, margin {self.margin:g}: a crop has at least 16 pixels a"
                " side, and the margin is in 0…4"
            )

    @classmethod
    def for_model(cls, analysis: Mapping[str, Any] | None, **chosen: Any) -> FaceOptions:
        """As the crops were cut out that a model was trained on, where it says so.

        Args:
            analysis: of the model's :class:`~cyclegan_media.pretrained.ModelConfig`.
            chosen: fields that are to be otherwise; ``None`` leaves one to the model.

        Raises:
            UserError: what the model says is no size or margin of a crop.
        """
        stated = (analysis or {}).get("faces") or {}
        if not isinstance(stated, Mapping) or set(stated) - {"size", "margin"}:
            raise UserError("the model's config.json: analysis.faces: needs a size and a margin")
        for name, value in stated.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(
                    f"the model's config.json: analysis.faces.{name}: {value!r} is no number"
                )
        wanted = {name: value for name, value in chosen.items() if value is not None}
        return cls(**{**stated, **wanted})


@dataclass(frozen=True)
class Faces:
    """Asks a :class:`~cyclegan_media.translate.Translator` for faces alone."""

    detector: FaceDetector
    options: FaceOptions | None = None
    """``None``: as the model says, by :meth:`FaceOptions.for_model`."""


class FaceApply:
    """Translates the faces in whole frames, where ``apply`` translates crops.

    Can stand wherever an :data:`~cyclegan_media.translate.image.Apply` for whole frames does: the
    frames of a video are then given in order, each once. A frame without a face comes back as it
    is, and outside the masks of its faces every frame does, to the bit.

    Args:
        apply: maps float32 ``(n, 3, size, size)`` in −1…1 to the same shape.
        tracks: the faces of the frames that will come.
    """

    def __init__(
        self, apply: Apply, tracks: FaceTracks, options: FaceOptions | None = None
    ) -> None:
        self._apply, self._tracks = apply, tracks
        self.options = options or FaceOptions()
        self._mask = soft_mask(self.options.size, self.options.margin)
        self._next = 0

    def __call__(self, frames: Tensor) -> Tensor:
        """The next frames ``(n, 3, height, width)``, −1…1."""
        numbers = range(self._next, self._next + len(frames))
        self._next = numbers.stop
        return self.at(frames, numbers)

    def untouched(self, number: int) -> bool:
        """Whether the frame of this number has no face: see :func:`.video.translate_video`."""
        return not self._tracks.at(number, self.options.which)

    def at(self, frames: Tensor, numbers: Sequence[int]) -> Tensor:
        """Frames ``(n, 3, height, width)``, −1…1, that have these numbers in their video."""
        faces = [
            (k, face)
            for k, number in enumerate(numbers)
            for face in self._tracks.at(number, self.options.which)
        ]
        if not faces:
            return frames
        matrices = [self._matrix(face.placement) for _, face in faces]
        crops = [
            crop_face(frames[k], matrix, self.options.size)
            for (k, _), matrix in zip(faces, matrices, strict=True)
        ]
        translated = self._apply(torch.stack(crops)).to(frames)
        results = list(frames)
        for (k, face), crop, new, matrix in zip(faces, crops, translated, matrices, strict=True):
            results[k] = self._put_back(results[k], face, crop, new, matrix)
        return torch.stack(results)

    def _matrix(self, placement: Placement) -> NDArray[np.float64]:
        return placement.crop_matrix(self.options.size, self.options.margin)

    def _put_back(
        self,
        frame: Tensor,
        face: TrackedFace,
        crop: Tensor,
        new: Tensor,
        matrix: NDArray[np.float64],
    ) -> Tensor:
        if self.options.match_colours:
            # Beyond the frame's edge the crop is made up, and its colours say nothing.
            inside = inside_picture(frame.shape, matrix, self.options.size)
            seen = self._mask * inside
            if seen.sum() > 0:
                new = match_colours(new, crop, seen.to(new))
        return paste_face(frame, new, self._mask * face.strength, matrix)


def video_faces(
    apply: Apply,
    source: str | os.PathLike[str],
    faces: Faces,
    *,
    stream: int | None = None,
) -> FaceApply:
    """Find and follow the faces of a video, so that its frames can then be translated in order.

    Goes through the whole video once; memory holds one frame, and a few numbers for each face and
    frame. Give the result to :func:`.video.translate_video` as its ``apply``, and its method
    ``untouched`` as the argument of that name.

    Args:
        stream: which of its video streams, as for :func:`.video.translate_video`.

    Raises:
        UserError: the source cannot be read.
        RunError: a frame cannot be decoded.
    """
    with VideoReader(source, stream) as video:
        return FaceApply(apply, track_video(video, faces.detector), faces.options)


def translate_face_pixels(
    apply: Apply,
    pixels: NDArray[Any],
    faces: Faces,
) -> NDArray[Any]:
    """Translate the faces of a picture ``(height, width, 3)``, uint8 or uint16.

    Pixels outside the faces are the same to the bit.
    """
    tracks = track_picture(pixels, faces.detector)
    before = as_tensor(pixels)
    after = FaceApply(apply, tracks, faces.options)(before[None])[0]
    changed = (after != before).any(dim=0).numpy()
    top = np.iinfo(pixels.dtype).max
    values = ((after + 1) * (top / 2)).round().permute(1, 2, 0).numpy().astype(pixels.dtype)
    return np.where(changed[..., None], values, pixels)


def translate_face_image(
    apply: Apply,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    faces: Faces,
    *,
    overwrite: bool = False,
    provenance: Sequence[Provenance] = (),
) -> Path:
    """Translate the faces of a picture file; its transparency, colour profile and tags are kept.

    Args:
        provenance: what the target is to say of its making.

    Raises:
        UserError: ``source`` cannot be read or ``target`` cannot be written.
        RunError: not enough memory, or the disk is full.
    """
    image_format(target)
    check_output(target, overwrite=overwrite)
    image = read_image(source)
    pixels = translate_face_pixels(apply, image.pixels, faces)
    return write_image(target, replace(image, pixels=pixels), overwrite, provenance=provenance)
