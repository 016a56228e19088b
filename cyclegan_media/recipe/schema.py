"""What a recipe may state: its sections, keys, types and ranges."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from cyclegan_media.speech.analysis import AnalysisConfig
from cyclegan_media.speech.kinds import AnySettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """The networks, each a section of its own with the backbone's ``name`` and keys.

    Networks of one kind are built alike: both generators, both discriminators. Beside these two
    sections there are those that the recipe's method and terms need, and no others.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, Any]] = Field(init=False)

    generator: dict[str, Any]
    discriminator: dict[str, Any]
    init: Literal["normal", "default"] = "normal"
    """Initial weights: N(0, 0.02²) as Zhu 2017, or those of torch's layers."""

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Every section of a network by its key."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            **self.__pydantic_extra__,
        }


class _Data(_Section):
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the files that validation alone sees, where there are ten or more and no folder of
    test files. With 0 validation stands on some that train, and says less."""


class ImageData(_Data):
    """Random crops of pictures or video frames."""

    load_size: PositiveInt | None = 286
    """The shorter side is scaled to this many pixels before cropping; null keeps the size."""
    crop_size: Annotated[int, Field(ge=16)] = 256
    """Side of the crops, in pixels."""
    crop_width: Annotated[int, Field(ge=16)] | None = None
    """Their width, where they are not square; ``crop_size`` is then their height."""
    flip: bool = True
    """Mirror half of the crops, left to right."""
    frames_per_video: PositiveInt = 200
    """At most so many frames (or clips), evenly spaced, are taken from each video."""
    clip_frames: Annotated[int, Field(ge=1, le=64)] = 1
    """Consecutive frames in each example, for methods that train on clips."""
    flow: bool = False
    """Find the motion from frame to frame of a clip, for terms that need it."""
    face_masks: bool = False
    """Take the soft mask of the face from each picture's alpha channel."""
    cache_megabytes: NonNegativeInt = 1024
    """Decoded pictures kept in memory, in all (for each of several training processes)."""

    switches: ClassVar[dict[str, str]] = {
        "clips": "clip_frames",
        "flow": "flow",
        "face_mask": "face_masks",
    }
    """What a batch may hold beside the two domains' examples, and the key that asks for it."""

    @property
    def gives(self) -> frozenset[str]:
        """What a method or a term may need."""
        asked = {"clips": self.clip_frames > 1, "flow": self.flow, "face_mask": self.face_masks}
        return frozenset({"pixels", *(name for name, on in asked.items() if on)})

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of a crop."""
        return self.crop_size, self.crop_width or self.crop_size

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one picture: ``(3, height, width)``."""
        return (3, *self.crop)

    @model_validator(mode="after")
    def _crop_fits(self) -> ImageData:
        if self.load_size is not None and self.load_size < min(self.crop):
            raise ValueError(
                f"load_size ({self.load_size}) must be at least crop_size ({min(self.crop)})"
            )
        if self.flow and self.clip_frames < 2:
            raise ValueError("flow: there is no motion in single pictures; set clip_frames, too")
        return self


class VoiceAugmentation(_Section):
    """How far training segments are varied at random; 0 for not at all. Nothing else is varied:
    statistics, validation and previews are of the recordings as they are."""

    level: Annotated[float, Field(ge=0, le=20)] = 0.0
    """dB: log-mel segments get up to so much louder or quieter."""
    formants: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    """All formants move up or down by up to this share; 0.03 is 3 %."""
    tempo: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Speech gets faster or slower by up to this share, at its pitch."""


class VoiceData(_Data):
    """Random segments of recordings, as standardised mel-cepstra or log-mel bands."""

    frames: PositiveInt = 128
    """Length of a training segment, in frames of the analysis."""
    analysis: AnySettings = AnalysisConfig()
    """``kind: world`` (without a ``kind``, too) or ``kind: log_mel``, and the settings of it."""
    whitening: Annotated[float, Field(ge=0, le=1)] = 1.0
    """1: each coefficient is standardised to deviation 1, as published. 0: the coefficients keep
    the proportions in which they vary, so that distances are those of mel-cepstral distortion."""
    match_tracts: bool = False
    """Give each speaker an all-pass constant of its own, such that vocal tracts of different
    length look alike; found from the recordings, unpaired."""
    longest_gap: NonNegativeInt = 0
    """At most so many frames in a row are hidden, for methods that fill them in; 0 for none."""
    augment: VoiceAugmentation = VoiceAugmentation()
    """Variations that make a few minutes of speech go further."""

    keep_frames: NonNegativeInt = 20_000
    """Spectra of each speaker's speech that a model on mel-cepstra keeps for ``--retrieval``, at
    most; 0 for none."""

    switches: ClassVar[dict[str, str]] = {"mask": "longest_gap"}
    """What a batch may hold beside the two domains' examples, and the key that asks for it."""

    @property
    def gives(self) -> frozenset[str]:
        """What a method or a term may need."""
        return frozenset({"mask"} if self.longest_gap else ())

    @model_validator(mode="after")
    def _fits(self) -> VoiceData:
        if self.longest_gap > self.frames:
            raise ValueError(
                f"longest_gap ({self.longest_gap}) must be at most frames ({self.frames})"
            )
        if self.augment.level and self.analysis.kind == "world":
            raise ValueError(
                "augment.level: the mel-cepstra of analysis.kind 'world' hold no level; leave it"
                " out, or use 'log_mel'"
            )
        if self.match_tracts and self.analysis.kind != "world":
            raise ValueError(
                "match_tracts: warps the mel-cepstra of analysis.kind 'world'; leave it out with"
                f" {self.analysis.kind!r}"
            )
        return self

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one example: ``(coefficients, frames)``."""
        return (self.analysis.coefficients, self.frames)


class OptimiserSection(_Section):
    """Adam, for generators and discriminators apart (Zhu 2017, section 4)."""

    generator_lr: PositiveFloat = 2e-4
    discriminator_lr: PositiveFloat = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    @field_validator("betas")
    @classmethod
    def _in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas


class TrainerSection(_Section):
    """How long, how many at once, and what to keep."""

    steps: PositiveInt | None = None
    """Steps at the constant learning rate; or give ``epochs``."""
    decay_steps: NonNegativeInt | None = None
    """Further steps over which the rate falls linearly to 0."""
    epochs: PositiveInt | None = None
    """The same in passes over the larger domain (the paper: 100 and 100)."""
    decay_epochs: NonNegativeInt | None = None
    batch_size: PositiveInt = 1
    history: NonNegativeInt = 50
    """Generated examples kept for the discriminators; 0 for none."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the generators, which is what is saved; 0 for none."""
    seed: NonNegativeInt = 0
    workers: NonNegativeInt | None = None
    """Processes that load data; null chooses by the machine."""
    log_every: PositiveInt = 10
    preview_every: PositiveInt = 500
    validate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
    keep: PositiveInt = 3
    """The last so many checkpoints are kept, and the best one."""
    freeze: dict[str, PositiveInt] = {}
    """For training in stages: networks, or parts of them by path, and for how many steps each
    is held fixed (``generator_a2b.global_body: 10000``)."""
    divergence_limit: PositiveFloat = 1e4
    """A term of the objective beyond this stops the run."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainerSection:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either 'steps' or 'epochs' (not both)")
        if self.steps is None and self.decay_steps is not None:
            raise ValueError("'decay_steps' goes with 'steps'; use 'decay_epochs'")
        if self.epochs is None and self.decay_epochs is not None:
            raise ValueError("'decay_epochs' goes with 'epochs'; use 'decay_steps'")
        return self

    def length(self, items: int, processes: int = 1) -> tuple[int, int]:
        """Steps at the constant rate and steps of decay.

        Args:
            items: in the larger domain.
            processes: that train together, each on ``batch_size`` examples a step.
        """
        if self.steps is not None:
            return self.steps, self.decay_steps or 0
        epoch = max(1, items // (self.batch_size * processes))
        return (self.epochs or 0) * epoch, (self.decay_epochs or 0) * epoch


class _Recipe(_Section):
    name: str
    paper: str = ""
    """What it reproduces, as one would cite it."""
    description: str = ""
    data_wanted: str = ""
    """What the two folders should hold."""
    cost: str = ""
    """What training takes: parameters, operations, memory, time per step."""
    domains: tuple[str, str] = ("a", "b")
    """Names of the two domains, for people."""
    method: str = "cyclegan"
    """How a batch is translated."""
    model: ModelSection
    objective: dict[str, dict[str, Any]]
    optimiser: OptimiserSection = OptimiserSection()
    trainer: TrainerSection


class ImageRecipe(_Recipe):
    modality: Literal["image"]
    data: ImageData = ImageData()


class VoiceRecipe(_Recipe):
    modality: Literal["voice"]
    data: VoiceData = VoiceData()


Recipe = ImageRecipe | VoiceRecipe
