"""A trained model, ready to use: one object with one method, for files and for arrays."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone, Modality
from cyclegan_media.device import Device, choose_device
from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media.provenance import Provenance, comment_tags
from cyclegan_media.pretrained import Direction, ModelConfig, PretrainedModel, load_model
from cyclegan_media.pretrained.hub import download_model, is_hub_name, parse_hub_name
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.folder import Job, check_kind, plan, run
from cyclegan_media.translate.image import Apply, make_apply, translate_image, translate_pictures
from cyclegan_media.translate.latent import Codes
from cyclegan_media.translate.options import Example, FileOptions, Options, StrPath
from cyclegan_media.translate.precision import Precision
from cyclegan_media.translate.provenance import provenance_of
from cyclegan_media.translate.tiles import Tile
from cyclegan_media.translate.video_plan import VideoPlan, plan_video

if TYPE_CHECKING:
    from cyclegan_media.media.sound_track import NewSound
    from cyclegan_media.speech.conversion import Conversion
    from cyclegan_media.speech.vocoder import Vocoder
    from cyclegan_media.translate.face import Faces

logger = logging.getLogger("cyclegan_media")


class Translator:
    """A model on a device.

    Args:
        model: as :func:`cyclegan_media.pretrained.load_model` gives it.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        precision: of the networks' arithmetic: see :mod:`.precision`.

    Raises:
        UserError: this machine lacks the device or the precision.
    """

    def __init__(
        self, model: PretrainedModel, *, device: Device = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = choose_device(device)
        self._engine = Engine(self.device, precision)
        self.precision, self.dtype = self._engine.precision, self._engine.dtype
        self.model = model
        self._where = "the model"
        self.name = "unnamed"
        """What outputs call the model: its folder's own name."""
        self._codes = Codes(model)
        self._vocoders: dict[Any, Vocoder] = {}
        for network in (*model.generators.values(), *model.networks.values()):
            network.to(self.device).eval()

    @classmethod
    def load(
        cls, path: StrPath, *, device: Device = "auto", precision: Precision = "auto"
    ) -> Translator:
        """Load a model folder. See :func:`cyclegan_media.load`."""
        if is_hub_name(path):
            translator = cls.load(download_model(str(path)), device=device, precision=precision)
            translator._where, translator.name = str(path), parse_hub_name(str(path)).model
            return translator
        folder = Path(path)
        if not (folder / "config.json").exists() and (folder / "model").is_dir():
            folder /= "model"  # the folder of a training
        chosen = choose_device(device)
        translator = cls(load_model(folder, device=chosen), device=device, precision=precision)
        translator._where = str(folder)
        named = folder.resolve()
        translator.name = named.parent.name if named.name == "model" else named.name
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
        **options: Unpack[FileOptions],
    ) -> Path: ...

    @overload
    def translate(
        self,
        source: NDArray[Any],
        *,
        direction: Direction = "a2b",
        batch_size: int | None = None,
        tile: Tile = "auto",
        sample_rate: int | None = None,
        vocoder: Vocoder | StrPath | None = None,
        conversion: Conversion | None = None,
        samples: int | None = None,
        seed: int | None = None,
        latent_from: Example | None = None,
    ) -> NDArray[Any]: ...

    @overload
    def translate(
        self,
        source: Tensor,
        *,
        direction: Direction = "a2b",
        batch_size: int | None = None,
        tile: Tile = "auto",
        sample_rate: int | None = None,
        vocoder: Vocoder | StrPath | None = None,
        conversion: Conversion | None = None,
        samples: int | None = None,
        seed: int | None = None,
        latent_from: Example | None = None,
    ) -> Tensor: ...

    @overload
    def translate(
        self,
        source: PIL.Image.Image,
        *,
        direction: Direction = "a2b",
        tile: Tile = "auto",
        seed: int | None = None,
        latent_from: Example | None = None,
    ) -> PIL.Image.Image: ...

    def translate(
        self,
        source: StrPath | NDArray[Any] | Tensor | PIL.Image.Image,
        target: StrPath | None = None,
        *,
        sample_rate: int | None = None,
        **options: Unpack[FileOptions],
    ) -> Path | NDArray[Any] | Tensor | PIL.Image.Image:
        """Translate a file into another, or an array or tensor into one of its kind.

        Args:
            source: a picture, a video, a recording, or a folder of such; or, in memory,

                - pictures as a numpy array ``(height, width, 3)`` or ``(n, height, width, 3)``,
                  uint8, uint16 or float in 0…1; as a tensor ``(3, height, width)`` or
                  ``(n, 3, height, width)``, uint8 or float in −1…1; or as a PIL picture;
                - a voice as an array or tensor ``(samples,)`` in −1…1, with ``sample_rate``.
            target: where a file goes; a folder for a folder. Not for arrays.
            sample_rate: Hz, of a voice in memory.
            options: the fields of :class:`cyclegan_media.translate.options.Options`. In memory
                those that concern files do not apply.

        Returns:
            The path of the target, after which ``samples`` are named (``out-1.jpg``, …); or what
            ``source`` was: of the same type, shape and range, with ``samples`` in a first dimension
            of their own.

        Raises:
            UserError: the source cannot be read, is of the wrong kind for the model, or the
                target exists or cannot be written.
            RunError: the disk is full, or there is not enough memory.
        """
        chosen = Options(**options)
        if not isinstance(source, str | os.PathLike):
            if target is not None:
                raise UserError("a target goes with a file; what an array becomes is returned")
            return self._translate_in_memory(source, chosen, sample_rate)
        if target is None:
            raise UserError(f"{source}: name the target that it is translated to")
        self.check(chosen)
        jobs = plan(
            [source],
            target,
            self.modality,
            overwrite=chosen.overwrite,
            samples=chosen.samples,
        )
        run(jobs, lambda job: self.translate_file(job, chosen), _log_failure)
        return Path(target)

    def check(self, options: Options) -> None:
        """Check that the model can do what is asked of it, before any file is begun.

        Raises:
            UserError: it has no generator for the direction, or no latent code where one is asked
                for; or the example that the style is borrowed from, or the vocoder, cannot be read
                or does not fit.
        """
        self.generator(options.direction)
        self._codes.check(options, self._where)
        self._vocoder(options)
        self._conversion(options)
        self._apply(options)

    def translate_file(self, job: Job, options: Options) -> None:
        """Translate one file of a plan. See :meth:`translate`."""
        if options.credentials is not None:
            from cyclegan_media.media.credentials import signed_output

            with signed_output(
                job.target, options.credentials, overwrite=options.overwrite
            ) as unsigned:
                self.translate_file(
                    replace(job, target=unsigned), replace(options, credentials=None)
                )
            return
        kind = check_kind(job.source, self.modality)
        self.generator(options.direction)
        self._codes.check(options, self._where)
        if self.modality == "voice":
            self._convert_recording(job, options)
        elif kind == "image":
            self._translate_picture(job, options)
        else:
            self._translate_video(job, options)

    def _convert_recording(self, job: Job, options: Options) -> None:
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
            provenance=self.provenance("voice", options),
            vocoder=self._vocoder(options),
            conversion=self._conversion(options),
            engine=self._engine,
        )

    def _translate_picture(self, job: Job, options: Options) -> None:
        apply = self._apply(options, job.sample)
        provenance = self.provenance("picture", options)
        if options.faces is None:
            translate_image(
                apply,
                job.source,
                job.target,
                overwrite=options.overwrite,
                provenance=provenance,
            )
            return
        from cyclegan_media.translate.face import translate_face_image

        translate_face_image(
            apply,
            job.source,
            job.target,
            self._faces(options.faces),
            overwrite=options.overwrite,
            provenance=provenance,
        )

    def translate_clip(
        self, job: Job, options: Options, sound: NewSound | None, records: Sequence[Provenance]
    ) -> None:
        """Translate a video that gets other sound, too.

        Args:
            records: what it says of that sound's making, beside its own.
        """
        self.generator(options.direction)
        self._codes.check(options, self._where)
        self._translate_video(job, options, sound, records)

    def _translate_video(
        self,
        job: Job,
        options: Options,
        sound: NewSound | None = None,
        records: Sequence[Provenance] = (),
    ) -> None:
        from cyclegan_media.translate.video import translate_video

        if options.faces is not None:
            options = replace(options, faces=self._faces(options.faces))
        with self._video_plan(options, job.source) as video:
            apply, untouched = self._apply(options, job.sample, video), None
            batch_size = video.batch_size or 1
            if options.faces is not None or options.steady:  # which work batch by batch
                batch_size = video.at_once
            if options.faces is not None:
                from cyclegan_media.translate.face import video_faces

                in_frames = video_faces(apply, job.source, options.faces, stream=options.stream)
                apply, untouched = in_frames, in_frames.untouched
            if options.steady:
                from cyclegan_media.translate.steady import SteadyApply

                apply = SteadyApply(apply, options.steady)
            result = translate_video(
                apply,
                job.source,
                job.target,
                batch_size=batch_size,
                codec=options.codec,
                crf=options.crf,
                preset=options.preset,
                stream=options.stream,
                decoder=options.decoder,
                overwrite=options.overwrite,
                progress=options.progress,
                provenance=comment_tags([*self.provenance("video", options), *records]),
                untouched=untouched,
                sound=sound,
            )
        if options.timed is not None:
            options.timed(result.times)

    def _video_plan(self, options: Options, source: StrPath) -> VideoPlan:
        return plan_video(self._engine, self.generator(options.direction), options, source)

    def provenance(self, medium: str, options: Options, *, parts: bool = False) -> list[Provenance]:
        """What a ``picture``, ``video`` or ``voice`` says of its making; nothing if so asked.

        Args:
            parts: whether parts of it stay what they were; where faces alone change, they do.
        """
        if not options.provenance:
            return []
        parts = parts or (options.faces is not None and medium != "voice")
        return [provenance_of(self.config, self.name, options.direction, medium, parts=parts)]

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

    def _faces(self, faces: Faces) -> Faces:
        from cyclegan_media.translate.face import FaceOptions

        if faces.options is not None:
            return faces
        return replace(faces, options=FaceOptions.for_model(self.config.analysis))

    def _vocoder(self, options: Options) -> Vocoder | None:
        """What is to make waveforms; a file is read once."""
        wanted = options.vocoder
        if wanted is None:
            return None
        if self.modality != "voice":
            raise UserError(f"{self._where}: translates pictures; a vocoder is for voices")
        if wanted not in self._vocoders:
            from cyclegan_media.translate.voice import find_vocoder

            self._vocoders[wanted] = find_vocoder(self.model, wanted, self.device)
        return self._vocoders[wanted]

    def _conversion(self, options: Options) -> Conversion:
        from cyclegan_media.speech.conversion import PLAIN

        wanted = options.conversion or PLAIN
        if wanted == PLAIN:
            return wanted
        if self.modality != "voice":
            raise UserError(
                f"{self._where}: translates pictures; variance, retrieval, pitch and synthesis are"
                " for voices"
            )
        from cyclegan_media.translate.voice import check_conversion

        check_conversion(self.model, options.direction, wanted)
        return wanted

    def _apply(
        self,
        options: Options,
        sample: int = 1,
        video: VideoPlan | None = None,
    ) -> Apply:
        """What translates pictures, or the frames of a video by its plan."""
        self.generator(options.direction)
        way = video or VideoPlan(options.batch_size, bool(options.compile))

        def make(network: Backbone) -> Apply:
            return make_apply(
                network,
                self.device,
                self.dtype,
                way.batch_size,
                options.tile,
                self._engine,
                compiled=way.compiled,
                streams=way.streams,
            )

        return make(self._codes.generator(options, sample, make))

    def _translate_in_memory(
        self,
        source: NDArray[Any] | Tensor | PIL.Image.Image,
        options: Options,
        sample_rate: int | None,
    ) -> NDArray[Any] | Tensor | PIL.Image.Image:
        if options.faces is not None:
            raise UserError("faces: are looked for in files only")
        self.check(options)
        if self.modality == "voice":
            return self._convert_array(source, options, sample_rate)
        if sample_rate is not None:
            raise UserError("sample_rate: this model translates pictures, not voices")
        if options.samples is None:
            return translate_pictures(self._apply(options), source)
        if isinstance(source, PIL.Image.Image):
            raise UserError("samples: of a picture in memory are for arrays and tensors")
        numbers = range(1, options.samples + 1)
        each: list[Any] = [translate_pictures(self._apply(options, k), source) for k in numbers]
        return torch.stack(each) if isinstance(source, Tensor) else np.stack(each)

    def convert_samples(
        self, samples: NDArray[np.float32], sample_rate: int, options: Options
    ) -> NDArray[np.float32]:
        """Convert a voice ``(n,)`` in memory by the options that files have."""
        converted = self._convert_array(samples, options, sample_rate)
        assert isinstance(converted, np.ndarray)
        return converted

    def _convert_array(
        self, voice: Any, options: Options, sample_rate: int | None
    ) -> NDArray[Any] | Tensor:
        if not isinstance(voice, np.ndarray | Tensor) or voice.ndim != 1:
            raise UserError(
                "this model converts voices: pass a file, or an array or tensor shaped (samples,)"
            )
        if sample_rate is None:
            raise UserError("sample_rate: is needed with a voice in memory (Hz)")
        from cyclegan_media.translate.voice import convert_voice

        self.generator(options.direction)
        samples = voice.detach().cpu().numpy() if isinstance(voice, Tensor) else voice
        converted, _ = convert_voice(
            self.model,
            samples,
            sample_rate,
            options.direction,
            vocoder=self._vocoder(options),
            conversion=self._conversion(options),
            engine=self._engine,
        )
        if isinstance(voice, Tensor):
            return torch.from_numpy(converted).to(voice)
        return converted.astype(voice.dtype)


def _log_failure(job: Job, error: CycleganMediaError) -> None:
    logger.error("%s", error)
