"""Video and audio domain transfer from unpaired examples.

import cyclegan_media

model = cyclegan_media.load("models/horse2zebra")
model.translate("horses.mp4", "zebras.mp4")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cyclegan_media.translate import Translator

    __version__: str

__all__ = ["__version__", "load"]


def load(
    path: str | os.PathLike[str],
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto",
) -> Translator:
    """Load a model folder, ready to translate pictures and videos, or voices.

    Args:
        path: a model folder, or the folder of a training that has one; or ``hf:user/model``,
            with ``@revision`` if need be, a model of the Hugging Face Hub.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        precision: of the networks' arithmetic; ``auto`` is bf16 where the processor or GPU has it,
            which stays above 40 dB from fp32 in pictures, and in voices below 0.1 dB of
            mel-cepstral distortion. int8 is for pictures, on processors that have it.

    Raises:
        UserError: no such model, a damaged one, or a device or precision that this
            machine lacks.
    """
    # Imported here, so that `import cyclegan_media` takes no second for torch.
    from cyclegan_media.translate import Translator

    return Translator.load(path, device=device, precision=precision)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cyclegan-media")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
