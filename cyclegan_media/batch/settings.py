"""What can be chosen for a batch, and for each of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cyclegan_media.errors import UserError

MAX_ROWS = 1_000_000
MAX_MANIFEST_BYTES = 256 * 2**20
MAX_DOWNLOAD = 8 * 2**30
"""Defaults of the limits; :class:`BatchOptions` raises them."""


class FileSettings(BaseModel):
    """How one file is translated; see :class:`cyclegan_media.translate.options.Options`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    direction: Literal["a2b", "b2a"] = "a2b"
    batch_size: int | None = Field(default=None, ge=1, le=65_536)
    tile: Annotated[int, Field(ge=64, le=65_536)] | Literal["auto", "off"] = "auto"
    codec: str | None = Field(default=None, min_length=1, max_length=64)
    crf: float | None = Field(default=None, ge=0, le=1000)
    preset: str | None = Field(default=None, min_length=1, max_length=64)
    stream: int | None = Field(default=None, ge=0, le=65_536)
    decoder: Literal["cpu", "nvdec"] = "cpu"
    steady: float = Field(default=0.0, ge=0, lt=1)
    seed: int | None = Field(default=None, ge=0, lt=2**64)
    faces: Literal["largest", "all"] | None = None
    face_size: int | None = Field(default=None, ge=16, le=4096)
    face_margin: float | None = Field(default=None, ge=0, le=4)
    face_colours: Literal["frame", "model"] = "frame"
    detector_model: str | None = None
    vocoder: str | None = None
    variance: float = Field(default=0.0, ge=0, le=1)
    retrieval: float = Field(default=0.0, ge=0, le=1)
    pitch: Literal["gaussian", "quantile"] = "gaussian"
    synthesis: Literal["vocoder", "differential"] = "vocoder"
    provenance: bool = True

    def with_options(self, options: dict[str, Any], where: str) -> FileSettings:
        """These settings with some replaced.

        Raises:
            UserError: an unknown name or an impossible value; ``where`` begins the sentence.
        """
        try:
            given = FileSettings.model_validate(options, strict=True)
        except ValidationError as error:
            raise UserError(f"{where}: options: {_problem(error)}") from error
        return self.model_copy(update={name: getattr(given, name) for name in options})

    @property
    def result(self) -> dict[str, Any]:
        """What the output depends on: all but how much is computed at once."""
        return self.model_dump(exclude={"batch_size", "tile"}, exclude_defaults=True)


def _problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown name {key!r}; known are {', '.join(FileSettings.model_fields)}"
    message = problem["msg"]
    return f"{key}: {message[:1].lower()}{message[1:]} (got {str(problem['input'])[:80]!r})"


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run."""

    model: str | None = None
    """A model folder; ``None`` where every row of the manifest names one."""
    settings: FileSettings = field(default_factory=FileSettings)
    """Of every file, unless its row says otherwise."""
    runtime: Literal["torch", "onnx"] = "torch"
    """What runs the networks; ``onnx`` takes exported models, too."""
    device: str = "auto"
    precision: str = "auto"
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    """Processes; ``None`` for as many as cores, memory and GPUs allow."""
    timeout: float | None = None
    """Seconds that a file may take; ``None`` for no limit."""
    overwrite: bool = False
    """Replace outputs that no batch in this folder made."""
    restart: bool = False
    """Do every file anew, which allows other settings than those of the batch begun before."""
    retry: bool = False
    """Try those again that failed or were set aside before."""
    state: Path | None = None
    """Local folder of work list and report; ``None`` for that of the outputs."""
    max_rows: int = MAX_ROWS
    """Files of a batch at most."""
    max_manifest_bytes: int = MAX_MANIFEST_BYTES
    max_download: int = MAX_DOWNLOAD
    """Bytes of an input that is fetched from elsewhere."""
    ray_address: str | None = None
    """Of a Ray cluster; ``None`` starts Ray on this machine, or joins the one Ray knows of."""
