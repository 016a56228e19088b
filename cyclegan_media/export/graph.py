"""A generator as a graph of operators, for batches of any number and size.

What is written takes ``x``, float32 ``(batch, 3, height, width)`` or ``(batch, coefficients,
frames)``, and, if the generator takes latent codes, ``z``, ``(batch, latent)``. Height, width and
frames are multiples of the generator's ``multiple``, at least its ``minimum``: who runs the graph
pads and crops.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import RunError, UserError

OPSET = 17
_IMAGE_AXES = ("height", "width")


def input_names(network: Backbone) -> list[str]:
    """``x``, and ``z`` where the generator takes latent codes."""
    return ["x", "z"] if network.latent else ["x"]


def example(network: Backbone, voice: bool) -> tuple[Tensor, ...]:
    """Inputs to trace with: no dimension is 1, which tracing would take for a constant, and no
    two are equal."""
    step = network.multiple
    least = max(4, -(-network.minimum // step) + 1)
    if voice:
        x = torch.randn(2, getattr(network.config, "coefficients", None) or 24, step * least)
    else:
        x = torch.rand(2, 3, step * least, step * (least + 1)) * 2 - 1
    return (x, torch.randn(2, network.latent)) if network.latent else (x,)


def to_onnx(network: Backbone, voice: bool) -> bytes:
    """``network`` as an ONNX file, its weights inside.

    Raises:
        UserError: the package ``onnx`` is not installed.
        RunError: it computes something that ONNX has no operator for.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise UserError(
            "an export to ONNX needs onnx; install it: pip install 'cyclegan-media[onnx]'"
        ) from error
    names = input_names(network)
    axes: dict[str, dict[int, str]] = {name: {0: "batch"} for name in names}
    sizes = ("frames",) if voice else _IMAGE_AXES
    axes["x"].update(dict(enumerate(sizes, 2)))
    axes["y"] = axes["x"]
    file = io.BytesIO()
    try:
        # The exporter by tracing: it needs no further package, and generators have no branches
        # that depend on data.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                example(network, voice),
                file,  # type: ignore[arg-type]  # written to by the exporter by tracing
                input_names=names,
                output_names=["y"],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except RuntimeError as error:  # torch.onnx.errors are such
        raise _not_exported(network, error) from error
    return file.getvalue()


def to_program(network: Backbone, voice: bool) -> bytes:
    """``network`` as a program of ``torch.export``: what ``torch.export.load`` reads.

    Raises:
        RunError: it computes something that cannot be exported.
    """
    inputs = example(network, voice)
    dynamic = torch.export.Dim.DYNAMIC
    each: list[dict[int, Any]] = [{0: dynamic}] * len(inputs)
    each[0] = {0: dynamic, **dict.fromkeys(range(2, inputs[0].dim()), torch.export.Dim.AUTO)}
    file = io.BytesIO()
    try:
        program = torch.export.export(network, inputs, dynamic_shapes=tuple(each), strict=False)
        torch.export.save(program, file)
    except Exception as error:  # torch._dynamo's, the symbolic shapes' and its own have no base
        raise _not_exported(network, error) from error
    return file.getvalue()


def _not_exported(network: Backbone, error: Exception) -> RunError:
    reason = " ".join(str(error).split())[:300]
    return RunError(f"the generator {network.name!r} cannot be exported: {reason}")
