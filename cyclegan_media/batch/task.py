"""One file of a batch, as a worker does it; the same in a local process and in one of Ray."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclegan_media.batch import remote
from cyclegan_media.batch.outputs import check_inside
from cyclegan_media.batch.plan import ModelInfo
from cyclegan_media.batch.settings import FileSettings
from cyclegan_media.errors import CycleganMediaError, RunError, UserError
from cyclegan_media.files import check_output
from cyclegan_media.media.kinds import kind_of
from cyclegan_media.translate.folder import Job

if TYPE_CHECKING:
    from cyclegan_media.translate import Translator
    from cyclegan_media.translate.options import Options

_MODELS_KEPT = 4
"""In each worker's memory, those last used."""
_MAX_NOTES = 20
_MAX_TEXT = 2000

Told = Callable[[int, int | None], None]
"""Is told how many frames of the present file are done, and of how many if the file says so."""


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of a file; plain data."""

    number: int
    source: str
    name: str
    """Of the output, relative to the folder or URL that follows."""
    folder: str | None
    url: str | None
    scratch: str
    """A local folder for what is fetched and sent."""
    model: str
    settings: str
    device: str
    precision: str
    threads: int
    overwrite: bool
    max_download: int
    runtime: str = "torch"
    voice: str | None = None
    """A model that converts the voice of a clip, whose picture ``model`` translates."""
    voice_direction: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a file ended; plain data."""

    number: int
    kind: Literal["done", "failed", "crashed", "late", "not begun"]
    seconds: float = 0.0
    frames: int | None = None
    notes: tuple[str, ...] = ()
    reason: str = ""
    trace: str | None = None
    """Where an unexpected error arose."""
    disk_full: bool = False


class Work:
    """The models that a worker holds, and what it does with them."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[Any, ...], Translator] = OrderedDict()

    def open(
        self, model: str, device: str, precision: str, runtime: str = "torch"
    ) -> dict[str, Any]:
        """Load a model; :class:`ModelInfo` as plain data.

        Raises:
            UserError: it is no model, this machine lacks the device or the runtime, or the runtime
                the device or the precision.
        """
        import torch

        translator = self._translator(model, device, precision, runtime)
        kind = translator.device.type
        gpus = torch.cuda.device_count() if kind == "cuda" else int(kind != "cpu")
        return asdict(
            ModelInfo(translator.modality, translator.directions, fingerprint(model), gpus)
        )

    def translate(self, task: Task, told: Told) -> Outcome:
        """Translate a file, and say how that went; never raises for what is wrong with the file."""
        start = time.monotonic()
        notes = _Notes()
        logger = logging.getLogger("cyclegan_media")
        logger.addHandler(notes)
        try:
            frames = self._translate(task, told)
        except Exception as error:
            return Outcome(
                task.number,
                "failed",
                time.monotonic() - start,
                notes=tuple(notes.lines),
                reason=_reason(error),
                trace=None if isinstance(error, CycleganMediaError) else _trace(error),
                disk_full=_is_disk_full(error),
            )
        finally:
            logger.removeHandler(notes)
        seconds = time.monotonic() - start
        return Outcome(task.number, "done", seconds, frames, tuple(notes.lines))

    def _translate(self, task: Task, told: Told) -> int | None:
        import torch

        torch.set_num_threads(task.threads)
        translator = self._translator(task.model, task.device, task.precision, task.runtime)
        settings = FileSettings.model_validate_json(task.settings)
        done = 0

        def progress(frames: int, total: int | None) -> None:
            nonlocal done
            done = frames
            told(frames, total)

        with _source(task) as source, _target(task) as target:
            options = _options(settings, translator, task.overwrite, progress)
            try:
                if task.voice is None:
                    translator.translate_file(Job(source, target), options)
                else:
                    self._translate_talking(task, source, target, options)
            except CycleganMediaError as error:
                # Who reads the report knows the names of the batch, not those of local copies.
                text = str(error)
                for path, name in ((source, task.source), (target, f"{task.url}/{task.name}")):
                    if Path(task.scratch) in path.parents:
                        text = text.replace(str(path), name)
                raise type(error)(text) from error
        kind = kind_of(source)
        if kind == "image":
            told(1, 1)
            return 1
        return done if kind == "video" and translator.modality == "image" else None

    def _translate_talking(self, task: Task, source: Path, target: Path, options: Options) -> None:
        from cyclegan_media.translate.talking import Talking, translate_talking

        video, voice = (
            self._translator(str(model), task.device, task.precision, task.runtime)
            for model in (task.model, task.voice)
        )
        way: Any = task.voice_direction
        translate_talking(
            source, target, Talking(video=video, voice=voice, voice_direction=way), options
        )

    def _translator(
        self, model: str, device: str, precision: str, runtime: str = "torch"
    ) -> Translator:
        import torch

        from cyclegan_media.export import open_model

        # ONNX Runtime takes as many threads as there are when a model is loaded.
        threads = torch.get_num_threads() if runtime == "onnx" else None
        key = (model, device, precision, runtime, threads)
        if key not in self._models:
            while len(self._models) >= _MODELS_KEPT:
                self._models.popitem(last=False)
            self._models[key] = open_model(
                model,
                runtime,  # type: ignore[arg-type]
                device=device,  # type: ignore[arg-type]
                precision=precision,  # type: ignore[arg-type]
            )
        self._models.move_to_end(key)
        return self._models[key]


def fingerprint(model: str) -> str:
    """SHA-256 of all that a model folder's translations depend on.

    Raises:
        UserError: it cannot be read.
    """
    folder = Path(model)
    exported = folder / "export.json"
    if not (folder / "config.json").exists() and (folder / "model").is_dir():
        folder /= "model"  # the folder of a training, as Translator.load takes it
    total = hashlib.sha256()
    try:
        # An export states the checksums of its graphs, which are held against them.
        about = exported if exported.exists() else folder / "config.json"
        for path in sorted([about, *folder.glob("*.safetensors")]):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.name} {digest}\n".encode())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    return total.hexdigest()


def _options(
    settings: FileSettings,
    translator: Translator,
    overwrite: bool,
    progress: Callable[[int, int | None], None],
) -> Options:
    from cyclegan_media.speech.conversion import Conversion
    from cyclegan_media.translate.options import Options

    faces = None
    if settings.faces is not None:
        from cyclegan_media.faces import load_detector
        from cyclegan_media.translate.face import FaceOptions, Faces

        chosen = FaceOptions.for_model(
            translator.config.analysis,
            size=settings.face_size,
            margin=settings.face_margin,
            which=settings.faces,
            match_colours=settings.face_colours == "frame",
        )
        faces = Faces(load_detector(settings.detector_model), chosen)
    return Options(
        direction=settings.direction,
        overwrite=overwrite,
        batch_size=settings.batch_size,
        tile=settings.tile,
        codec=settings.codec,
        crf=settings.crf,
        preset=settings.preset,
        stream=settings.stream,
        decoder=settings.decoder,
        steady=settings.steady,
        progress=progress,
        faces=faces,
        provenance=settings.provenance,
        seed=settings.seed,
        vocoder=settings.vocoder,
        conversion=Conversion(
            variance=settings.variance,
            retrieval=settings.retrieval,
            pitch=settings.pitch,
            synthesis=settings.synthesis,
        ),
    )


@contextmanager
def _source(task: Task) -> Iterator[Path]:
    """The source as a local file."""
    if not remote.is_url(task.source):
        yield Path(task.source)
        return
    suffix = remote.name_of(task.source).suffix.lower()
    path = _scratch(task, f"in{suffix}")
    try:
        remote.fetch(task.source, path, task.max_download)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _target(task: Task) -> Iterator[Path]:
    """Where the output is written; it is sent on when the block ends well."""
    if task.folder is not None:
        # Looked at again, since links can have been made after the plan.
        path = check_inside(Path(task.folder), task.name, task.source)
        check_output(path, overwrite=task.overwrite)
        yield check_inside(Path(task.folder), task.name, task.source)
        return
    path = _scratch(task, f"out{Path(task.name).suffix}")
    try:
        yield path
        remote.send(path, f"{task.url}/{task.name}", overwrite=task.overwrite)
    finally:
        path.unlink(missing_ok=True)


def _scratch(task: Task, name: str) -> Path:
    folder = Path(task.scratch)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{task.number}-{os.getpid()}-{name}"


class _Notes(logging.Handler):
    """What is said of a file while it is translated: what could not be kept, for instance."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < _MAX_NOTES:
            self.lines.append(_short(record.getMessage()))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, CycleganMediaError):
        return _short(str(error))
    return _short(f"this should not happen, please report it: {type(error).__name__}: {error}")


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))[-10 * _MAX_TEXT :]


def _is_disk_full(error: BaseException | None) -> bool:
    seen: list[BaseException] = []  # what caused an error can be the error itself
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, RunError) and "the disk is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
