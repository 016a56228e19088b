"""Exported models on ONNX Runtime, as translators: for pictures, videos and voices alike."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cyclegan_media.backbones.registry import Backbone, BackboneConfig
from cyclegan_media.device import Device
from cyclegan_media.errors import RunError, UserError, from_os_error
from cyclegan_media.export.folder import (
    MANIFEST,
    STATISTICS,
    Graph,
    Runtime,
    read_manifest,
    write_export,
)
from cyclegan_media.pretrained import PretrainedModel
from cyclegan_media.pretrained.hub import is_hub_name
from cyclegan_media.pretrained.tensors import read_tensors
from cyclegan_media.translate import Translator
from cyclegan_media.translate.image import Apply
from cyclegan_media.translate.options import Options, StrPath
from cyclegan_media.translate.precision import Precision
from cyclegan_media.translate.video_plan import VideoPlan


class OnnxGenerator(Backbone):
    """A generator that ONNX Runtime computes: float32, on the CPU.

    Raises:
        UserError: onnxruntime is not installed, or the file is missing, damaged, or takes
            something else than the manifest says.
    """

    modality = "any"
    role = "generator"
    name = "onnx"

    def __init__(self, path: Path, graph: Graph) -> None:
        super().__init__(BackboneConfig())
        self.multiple, self.minimum, self.latent = graph.multiple, graph.minimum, graph.latent
        # Of no use but to say, as other generators' weights do, where and in what type it computes.
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._session = _session(path, graph)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxGenerator:
        return self  # its weights cannot change

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        feed = {"x": _array(x)}
        if self.latent:
            feed["z"] = _array(x.new_zeros(len(x), self.latent) if z is None else z)
        try:
            (output,) = self._session.run(["y"], feed)
        except Exception as error:  # onnxruntime's own kinds have no common base
            reason = " ".join(str(error).split())[:300]
            raise RunError(f"ONNX Runtime failed on an input of {tuple(x.shape)}: {reason}") from (
                error
            )
        return torch.from_numpy(output)


class OnnxTranslator(Translator):
    """A translator whose generators ONNX Runtime computes."""

    def _apply(
        self,
        options: Options,
        sample: int = 1,
        video: VideoPlan | None = None,
    ) -> Apply:
        if isinstance(options.tile, int):
            raise UserError("tile: ONNX Runtime computes pictures as a whole; leave --tile out")
        if options.compile:
            raise UserError("compile: is for PyTorch, not for ONNX Runtime; leave it out")
        return super()._apply(replace(options, tile="off"), sample, video)

    def _video_plan(self, options: Options, source: StrPath) -> VideoPlan:
        return VideoPlan(options.batch_size or 1)  # a session has threads of its own


def load_onnx(path: str | os.PathLike[str]) -> Translator:
    """Load an exported model, or export a model folder in passing, to run on ONNX Runtime.

    Raises:
        UserError: onnxruntime is not installed; no such model, a damaged one, or one exported for
            another runtime.
    """
    folder = Path(path)
    if not is_hub_name(path) and (folder / MANIFEST).is_file():
        return _load(folder)
    _runtime()  # before the work
    translator = Translator.load(path, device="cpu", precision="fp32")
    with tempfile.TemporaryDirectory() as made:
        write_export(translator.model, translator.name, Path(made), "onnx")
        return _load(Path(made))


def open_model(
    path: str | os.PathLike[str],
    runtime: Runtime = "torch",
    *,
    device: Device = "auto",
    precision: Precision = "auto",
) -> Translator:
    """A model as a translator whose networks PyTorch or ONNX Runtime computes.

    Args:
        path: a model folder, that of a training, or a model of the Hub; for ONNX Runtime, an
            exported model, too.

    Raises:
        UserError: see :meth:`Translator.load` and :func:`load_onnx`; or ONNX Runtime is asked for
            another device than the CPU, or another precision than fp32.
    """
    if runtime == "onnx":
        for name, given, known in (("device", device, "cpu"), ("precision", precision, "fp32")):
            if given not in ("auto", known):
                raise UserError(
                    f"--{name} {given}: ONNX Runtime computes in fp32 on the CPU; leave it out"
                )
        return load_onnx(path)
    if not is_hub_name(path) and (Path(path) / MANIFEST).is_file():
        raise UserError(f"{path}: is an exported model; run it with --runtime onnx")
    return Translator.load(path, device=device, precision=precision)


def _load(folder: Path) -> Translator:
    manifest = read_manifest(folder)
    if manifest.runtime != "onnx":
        raise UserError(
            f"{folder}: was exported for {manifest.runtime}, not for ONNX Runtime; export the model"
            " again with --format onnx"
        )
    model = PretrainedModel(
        manifest.model,
        {
            way: OnnxGenerator(folder / graph.file, graph)
            for way, graph in manifest.generators.items()
        },
    )
    if manifest.model.modality == "voice":
        model.statistics = read_tensors(folder / STATISTICS, None)
    translator = OnnxTranslator(model, device="cpu", precision="fp32")
    translator.name = manifest.name
    return translator


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "the runtime onnx needs onnxruntime; install it: pip install 'cyclegan-media[onnx]'"
        ) from error
    return onnxruntime


def _session(path: Path, graph: Graph) -> Any:
    onnxruntime = _runtime()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    if hashlib.sha256(content).hexdigest() != graph.sha256:
        raise UserError(f"{path}: is damaged or was replaced; export the model again")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is said once
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise UserError(
            f"{path}: is no ONNX model that this onnxruntime can run; export the model again"
        ) from error
    if [item.name for item in session.get_inputs()] != graph.inputs:
        raise UserError(f"{path}: takes other inputs than {MANIFEST} says; export the model again")
    return session


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().float().cpu().numpy())
