"""A user's own speaker embedding, in place of the built-in verifier's features.

ONNX is a graph of known operators: reading one runs none of its author's code, unlike a pickle or
a TorchScript archive, which are refused.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.media.audio import resample
from cyclegan_media.media.kinds import check_input
from cyclegan_media.metrics.speaker import Embed

SAMPLE_RATE = 16000
"""Hz of what a model takes, unless its metadata has a ``sample_rate``."""


def load_embedding(path: str | os.PathLike[str]) -> Embed:
    """Read an ONNX model: waveform ``(1, samples)`` or ``(samples,)``, float32 in −1…1 → embedding.

    The first output counts, ``(1, dimensions)`` or ``(dimensions,)``. All weights must be in the
    file itself. Recordings are resampled to 16 kHz, or to the rate that the model's metadata
    states as ``sample_rate``.

    Raises:
        UserError: onnxruntime is not installed; the file is missing, no ONNX model, or one that
            takes something else than a waveform. The function itself raises it where the model
            fails on a recording, or gives something else than one embedding.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "speaker embeddings need onnxruntime; install it: pip install"
            " 'cyclegan-media[embedding]'"
        ) from error
    content = check_input(path).read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is said once, below
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise UserError(
            f"{path}: is no ONNX model with its weights inside, or one of operators that"
            " onnxruntime does not know; export the speaker embedding to ONNX"
        ) from error
    wanted = session.get_inputs()
    if len(wanted) != 1 or wanted[0].type != "tensor(float)" or len(wanted[0].shape) not in (1, 2):
        takes = ", ".join(f"{item.name} {item.type} {item.shape}" for item in wanted)
        raise UserError(
            f"{path}: takes {takes}; a speaker embedding must take one waveform, float32 of shape"
            " (1, samples), so export it together with its front end"
        )
    rate = _rate(session.get_modelmeta().custom_metadata_map.get("sample_rate"), path)
    name, axes = wanted[0].name, len(wanted[0].shape)

    def embed(samples: NDArray[np.floating[Any]], sample_rate: int) -> NDArray[Any]:
        waveform = np.asarray(samples, dtype=np.float32)[None]
        waveform = resample(waveform, sample_rate, rate)
        try:
            found = session.run(None, {name: waveform if axes == 2 else waveform[0]})[0]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: fails on a recording: {reason}") from error
        embedding = np.asarray(found)
        if embedding.ndim == 2 and len(embedding) == 1:
            embedding = embedding[0]
        if embedding.ndim != 1:
            raise UserError(
                f"{path}: gives the shape {np.shape(found)} for a recording; an embedding has the"
                " shape (1, dimensions)"
            )
        return embedding

    return embed


def _rate(stated: str | None, path: str | os.PathLike[str]) -> int:
    if stated is None:
        return SAMPLE_RATE
    if not stated.isdecimal() or not 4000 <= int(stated) <= 192000:
        raise UserError(f"{path}: its metadata state a sample_rate of {stated!r}; needs Hz")
    return int(stated)
