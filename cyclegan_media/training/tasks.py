"""What differs between training pictures and training voices: data, validation, previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from cyclegan_media.backbones import Backbone
from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.unpaired import Domain
from cyclegan_media.pretrained import Direction
from cyclegan_media.recipe import ImageRecipe, Recipe

Generators = dict[Direction, Backbone]
"""``{"a2b": G, "b2a": F}``, in evaluation mode."""


@dataclass
class Preview:
    """Something to look at or listen to, by name."""

    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    """uint8 ``(height, width, 3)``"""
    sounds: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)
    """float ``(samples,)`` in −1…1, and the sample rate"""


class Task(Protocol):
    """One modality's side of a training."""

    @property
    def domain_a(self) -> Domain: ...

    @property
    def domain_b(self) -> Domain: ...

    def validate(self, generators: Generators) -> dict[str, float]:
        """Figures on held-out files; ``score`` (lower is better) chooses the best checkpoint."""
        ...

    def preview(self, generators: Generators) -> Preview: ...

    def analysis(self) -> dict[str, Any] | None:
        """What a model folder must say of how files become what the networks see, if anything."""
        ...

    def statistics(self) -> dict[str, Tensor]:
        """What a model folder must hold beside the networks."""
        ...


def make_task(
    recipe: Recipe, files: Files, say: Callable[[str], None] = lambda message: None
) -> Task:
    """Prepare the data of a recipe's modality; ``say`` reports what takes time."""
    if isinstance(recipe, ImageRecipe):
        from cyclegan_media.training.image_task import ImageTask

        return ImageTask(recipe.data, files, say)
    from cyclegan_media.training.voice_task import VoiceTask

    return VoiceTask(recipe.data, files, say)


def media_kinds(recipe: Recipe) -> tuple[str, ...]:
    """The kinds of file that a recipe trains on."""
    if isinstance(recipe, ImageRecipe):
        return ("video",) if recipe.data.clip_frames > 1 else ("image", "video")
    return ("audio",)


def write_preview(folder: Path, preview: Preview) -> None:
    """Write a preview as PNG and WAV files into ``folder``, which is made."""
    from cyclegan_media.files import atomic_directory
    from cyclegan_media.media import Image, write_audio, write_image

    with atomic_directory(folder, overwrite=True) as partial:
        for name, pixels in preview.pictures.items():
            write_image(partial / f"{name}.png", Image(pixels))
        for name, (samples, rate) in preview.sounds.items():
            write_audio(partial / f"{name}.wav", samples[None], rate)
