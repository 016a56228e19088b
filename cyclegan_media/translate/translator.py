"""A trained model, ready to use: one object with one method, for files and for arrays."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone, Modality
from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.pretrained import Direction, ModelConfig, PretrainedModel, load_model
from cyclegan_media.translate.folder import Job, check_kind, plan, run
from cyclegan_media.translate.image import Apply, make_apply, translate_image, translate_pictures

if TYPE_CHECKING:
    from cyclegan_media.translate.face import Faces

logger = logging.getLogger("cyclegan_media")

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
StrPath = str | os.PathLike[str]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Options:
    """How files are translated; see :meth:`Translator.translate`."""

    direction: Direction = "a2b"
    overwrite: bool = False
    batch_size: int | None = None
    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    stream: int | None = None
    progress: bool = False
    faces: Faces | None = None


class Translator:
    """A model on a device.

    Args:
        model: as :func:`cyclegan_media.pretrained.load_model` gives it.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        precision: of the networks' arithmetic; ``auto`` is fp32.

    Raises:
        UserError: this machine lacks the device.
    """

    def __init__(
        self, model: PretrainedModel, *, device: Device = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = choose_device(device)
        self.dtype = _DTYPES["fp32" if precision == "auto" else precision]
        self.model = model
        self._where = "the model"
        for network in model.generators.values():
            network.to(self.device).eval()

    @classmethod
    def load(
        cls, path: StrPath, *, device: Device = "auto", precision: Precision = "auto"
    ) -> Translator:
        """Load a model folder. See :func:`cyclegan_media.load`."""
        folder = Path(path)
        if not (folder / "config.json").exists() and (folder / "model").is_dir():
            folder /= "model"  # the folder of a training
        chosen = choose_device(device)
        translator = cls(load_model(folder, device=chosen), device=device, precision=precision)
        translator._where = str(folder)
        return translator

    @property
    def config(self) -> ModelConfig:
        """What the model is."""
        return self.model.config

    @property
    def modality(self) -> Modality:
        return self.model.config.modality

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What the model can do: ``a2b``, ``b2a`` or both."""
        return tuple(self.model.generators)

    @overload
    def translate(
        self,
        source: StrPath,
        target: StrPath,
        *,
        direction: Direction = "a2b",
        overwrite: bool = False,
        batch_size: int | None = None,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        stream: int | None = None,
        progress: bool = False,
        faces: Faces | None = None,
    ) -> Path: ...

    @overload
    def translate(
        self,
        source: NDArray[Any],
        *,
        direction: Direction = "a2b",
        batch_size: int | None = None,
        sample_rate: int | None = None,
    ) -> NDArray[Any]: ...

    @overload
    def translate(
        self,
        source: Tensor,
        *,
        direction: Direction = "a2b",
        batch_size: int | None = None,
        sample_rate: int | None = None,
    ) -> Tensor: ...

    @overload
    def translate(
        self,
        source: PIL.Image.Image,
        *,
        direction: Direction = "a2b",
    ) -> PIL.Image.Image: ...

    def translate(
        self,
        source: StrPath | NDArray[Any] | Tensor | PIL.Image.Image,
        target: StrPath | None = None,
        *,
        direction: Direction = "a2b",
        overwrite: bool = False,
        batch_size: int | None = None,
        sample_rate: int | None = None,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        stream: int | None = None,
        progress: bool = False,
        faces: Faces | None = None,
    ) -> Path | NDArray[Any] | Tensor | PIL.Image.Image:
        """Translate a file into another, or an array or tensor into one of its kind.

        Args:
            source: a picture, a video, a recording, or a folder of such; or, in memory,

                - pictures as a numpy array ``(height, width, 3)`` or ``(n, height, width, 3)``,
                  uint8, uint16 or float in 0…1; as a tensor ``(3, height, width)`` or
                  ``(n, 3, height, width)``, uint8 or float in −1…1; or as a PIL picture;
                - a voice as an array or tensor ``(samples,)`` in −1…1, with ``sample_rate``.
            target: where a file goes; a folder for a folder. Not for arrays.
            direction: ``a2b`` or ``b2a``.
            overwrite: replace files that exist.
            batch_size: pictures or frames at once; ``None`` chooses by the device.
            sample_rate: Hz, of a voice in memory.
            codec, crf, preset, stream: see :func:`cyclegan_media.translate.video.translate_video`.
            progress: show a bar with the time left.
            faces: translate nothing but the faces in picture and video files.

        Returns:
            The path of the target; or what ``source`` was: of the same type, shape and range.

        Raises:
            UserError: the source cannot be read, is of the wrong kind for the model, or the
                target exists or cannot be written.
            RunError: the disk is full, or there is not enough memory.
        """
        if not isinstance(source, str | os.PathLike):
            if target is not None:
                raise UserError("a target goes with a file; what an array becomes is returned")
            if faces is not None:
                raise UserError("faces: are looked for in files only")
            if self.modality == "voice":
                return self._convert_array(source, direction, sample_rate)
            if sample_rate is not None:
                raise UserError("sample_rate: this model translates pictures, not voices")
            return translate_pictures(self._apply(direction, batch_size), source)
        if target is None:
            raise UserError(f"{source}: name the target that it is translated to")
        options = Options(
            direction, overwrite, batch_size, codec, crf, preset, stream, progress, faces
        )
        jobs = plan([source], target, self.modality, overwrite=overwrite)
        run(jobs, lambda job: self.translate_file(job, options), _log_failure)
        return Path(target)

    def translate_file(self, job: Job, options: Options) -> None:
        """Translate one file of a plan. See :meth:`translate`."""
        kind = check_kind(job.source, self.modality)
        if self.modality == "voice":
            if options.faces is not None:
                raise UserError(f"{self._where}: converts voices; a voice has no face")
            from cyclegan_media.translate.voice import translate_recording

            self.generator(options.direction)
            translate_recording(
                self.model,
                job.source,
                job.target,
                options.direction,
                stream=options.stream,
                overwrite=options.overwrite,
            )
        elif kind == "image":
            apply = self._apply(options.direction, options.batch_size)
            if options.faces is None:
                translate_image(apply, job.source, job.target, overwrite=options.overwrite)
                return
            from cyclegan_media.translate.face import translate_face_image

            translate_face_image(
                apply, job.source, job.target, options.faces, overwrite=options.overwrite
            )
        else:
            from cyclegan_media.translate.video import translate_video

            apply, untouched = self._apply(options.direction, options.batch_size), None
            if options.faces is not None:
                from cyclegan_media.translate.face import video_faces

                faces = video_faces(apply, job.source, options.faces, stream=options.stream)
                apply, untouched = faces, faces.untouched
            translate_video(
                apply,
                job.source,
                job.target,
                batch_size=options.batch_size or self._batch_size(),
                codec=options.codec,
                crf=options.crf,
                preset=options.preset,
                stream=options.stream,
                overwrite=options.overwrite,
                progress=options.progress,
                untouched=untouched,
            )

    def generator(self, direction: Direction) -> Backbone:
        """The network of a direction.

        Raises:
            UserError: the model has none for it.
        """
        network = self.model.generators.get(direction)
        if network is None:
            known = " and ".join(self.directions) or "none"
            raise UserError(
                f"{self._where}: has no generator for the direction {direction}, only for {known}"
            )
        return network

    def _batch_size(self) -> int:
        return 1 if self.device.type == "cpu" else 8

    def _apply(self, direction: Direction, batch_size: int | None) -> Apply:
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size: must be at least 1, not {batch_size}")
        network = self.generator(direction)
        return make_apply(network, self.device, self.dtype, batch_size or self._batch_size())

    def _convert_array(
        self, voice: Any, direction: Direction, sample_rate: int | None
    ) -> NDArray[Any] | Tensor:
        if not isinstance(voice, np.ndarray | Tensor) or voice.ndim != 1:
            raise UserError(
                "this model converts voices: pass a file, or an array or tensor shaped (samples,)"
            )
        if sample_rate is None:
            raise UserError("sample_rate: is needed with a voice in memory (Hz)")
        from cyclegan_media.translate.voice import convert_voice

        self.generator(direction)
        samples = voice.detach().cpu().numpy() if isinstance(voice, Tensor) else voice
        converted, _ = convert_voice(self.model, samples, sample_rate, direction)
        if isinstance(voice, Tensor):
            return torch.from_numpy(converted).to(voice)
        return converted.astype(voice.dtype)


def choose_device(device: Device) -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UserError: this machine lacks it.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    if not has.get(device, True):
        raise UserError(f"device {device}: this machine or this build of torch has none")
    return torch.device(device)


def _log_failure(job: Job, error: CycleganMediaError) -> None:
    logger.error("%s", error)
