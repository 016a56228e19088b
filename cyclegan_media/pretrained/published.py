"""Import of published checkpoints: ``.pth`` files of the CycleGAN family's implementations.

Such a file is a pickled state dict. It is read with ``weights_only=True``, which knows tensors
and plain containers and refuses everything that could run code. The architecture is inferred
from names and shapes; ``FAMILIES`` lists what is known.

Networks with batch normalisation run with the statistics stored in the checkpoint (evaluation
mode, ``--eval`` in the CycleGAN release).
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cyclegan_media.backbones.registry import Backbone, build, spec_of
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.pretrained.folder import Direction, ModelConfig, PretrainedModel
from cyclegan_media.pretrained.published_family import Family, State
from cyclegan_media.pretrained.published_image import IMAGE_FAMILIES
from cyclegan_media.pretrained.published_voice import VOICE_FAMILIES
from cyclegan_media.pretrained.tensors import check_finite
from cyclegan_media.pretrained.torch_file import load_torch_file
from cyclegan_media.speech.kinds import parse_analysis

FAMILIES = (*IMAGE_FAMILIES, *VOICE_FAMILIES)

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_NESTED = ("state_dict", "model_state")
"""Under these keys some releases keep the state dict, beside optimisers and counters."""
_BOTH: dict[Direction, str] = {"a2b": "model_genA2B_state_dict", "b2a": "model_genB2A_state_dict"}
"""The CycleGAN-VC2 release keeps both generators in one file."""


def import_published(
    checkpoint: str | os.PathLike[str],
    *,
    direction: Direction = "a2b",
    other: str | os.PathLike[str] | None = None,
    domains: tuple[str, str] = ("a", "b"),
    statistics: Mapping[str, torch.Tensor] | None = None,
    analysis: Mapping[str, Any] | None = None,
) -> PretrainedModel:
    """Read a published generator as a model that :func:`save_model` can write.

    Args:
        checkpoint: for instance ``latest_net_G.pth`` or ``latest_net_G_A.pth``.
        direction: what ``checkpoint`` maps; the CycleGAN release's ``G_A`` maps A to B. A file
            that holds both generators says so itself.
        other: the checkpoint of the opposite direction, if there is one.
        domains: names of domain A and domain B.
        statistics, analysis: of a voice model, which no checkpoint holds: what spectra are
            standardised by, and the settings they are computed with: ``kind: log_mel`` for
            MaskCycleGAN-VC. Statistics of decimal logarithms, as MelGAN has them, are multiplied
            by ln 10.

    Raises:
        UserError: a file is missing, damaged, holds more than tensors, or is not a generator
            that is known (names the first key that does not fit); a voice without statistics.
    """
    opposite: Direction = "b2a" if direction == "a2b" else "a2b"
    files = {direction: Path(checkpoint)}
    if other is not None:
        files[opposite] = Path(other)
    generators: dict[Direction, Backbone] = {}
    paper = None
    for way, path in files.items():
        content = read_checkpoint(path)
        held = {key: content[name] for key, name in _BOTH.items() if name in content}
        for key, published in (held or {way: content}).items():
            family, spec, state = _convert(published, str(path))
            network = build(spec, where=str(path))
            if network.role != "generator":
                raise UserError(f"{path}: is a {family.title}, not a generator")
            network.load_state_dict(state)
            generators[key] = network.eval().requires_grad_(False)
            paper = family.paper
    modalities = {network.modality for network in generators.values()}
    if len(modalities) > 1:
        raise UserError(f"{checkpoint} and {other}: one is for images and one for voices")
    modality = modalities.pop()
    if modality == "voice" and (statistics is None or analysis is None):
        raise UserError(
            f"{checkpoint}: is a voice generator, which needs the statistics of both speakers and"
            " the analysis settings that it was trained with; give them in Python to"
            " import_published(statistics=…, analysis=…)"
        )
    if modality == "voice" and analysis is not None:
        analysis = parse_analysis(analysis).model_dump(mode="json")
    config = ModelConfig.model_validate(
        {
            "modality": modality,
            "domains": {"a": domains[0], "b": domains[1]},
            "generators": {way: spec_of(network) for way, network in generators.items()},
            "paper": paper,
            "origin": "imported from " + " and ".join(path.name for path in files.values()),
            "analysis": None if analysis is None else dict(analysis),
        }
    )
    return PretrainedModel(config, generators, dict(statistics or {}))


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The dictionary in a ``.pth`` file, on the CPU, without running any code from it.

    Raises:
        UserError: the file is missing, damaged, unpacks to more than it is long, or holds
            anything but tensors in containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint file")
    try:
        data = _unpickled(path)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}, not a state dict of tensors")
    return data


def _unpickled(path: Path) -> Any:
    try:
        return load_torch_file(path)
    except (OSError, UserError):
        raise
    except Exception as error:
        # Damaged files meet the reader in many ways: as EOFError, RuntimeError, KeyError, …
        found = str(error) if isinstance(error, pickle.UnpicklingError) else ""
        if re.search(r"Unsupported (global|class)|GLOBAL|REDUCE|NEWOBJ|BUILD", found):
            raise UserError(
                f"{path}: refused, since it holds Python objects that could run code when read;"
                " only a plain state dict of tensors is imported"
            ) from error
        raise UserError(f"{path}: is damaged or not a PyTorch checkpoint") from error


def convert_published_state(
    published: Mapping[str, Any], *, where: str = "checkpoint"
) -> tuple[dict[str, Any], State]:
    """Infer the architecture of a published state dict and give its tensors our names.

    Args:
        published: published names (``model.10.conv_block.1.weight``) to tensors; may be nested
            under ``state_dict`` or ``model_state`` and prefixed by ``module.`` (DataParallel).
        where: the file, for messages.

    Returns:
        A spec that ``registry.build`` takes, and the state dict for that network, in the dtypes
        of ``published``. Running statistics that old releases stored for instance normalisation
        are dropped, since it does not use them, and so are layers that a release never calls.

    Raises:
        UserError: naming the first key that does not fit.
    """
    _, spec, converted = _convert(published, where)
    return spec, converted


def _convert(published: Any, where: str) -> tuple[Family, dict[str, Any], State]:
    state = plain_state(published, where)
    family = next((family for family in FAMILIES if family.recognise(state)), None)
    if family is None:
        raise UserError(
            f"{where}: key {next(iter(state))!r} is of no network that is known; these are: "
            + "; ".join(known.title for known in FAMILIES)
        )
    try:
        spec = family.spec(state)
    except UserError as error:
        raise UserError(f"{where}: {error}, as in a {family.title}") from error
    with torch.device("meta"):
        network = build(spec, where=where)
    names = _Names(family, spec, network)
    for key, tensor in state.items():
        names.check(key, tensor, where)
    converted: State = {}
    for name, keys in names.sources.items():
        for key in keys:
            # Releases before 2018 did not store this counter, and evaluation does not use it.
            if key not in state and not key.endswith("num_batches_tracked"):
                raise UserError(f"{where}: key {key!r} is missing, as in a {family.title}")
        parts = [state.get(key, torch.zeros((), dtype=torch.int64)) for key in keys]
        converted[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return family, spec, converted


class _Names:
    """Which published key holds what of a network (on the meta device)."""

    def __init__(self, family: Family, spec: dict[str, Any], network: nn.Module) -> None:
        self.family = family
        self.wanted = network.state_dict()
        self.sources: dict[str, list[str]] = {}
        """Our key to the published keys that it is made of."""
        for name in self.wanted:
            layer, _, last = name.rpartition(".")
            self.sources[name] = [f"{other}.{last}" for other in family.published(layer, spec)]
        self.owners = {key: name for name, keys in self.sources.items() for key in keys}
        self.norms = {
            other
            for layer, module in network.named_modules()
            if isinstance(module, nn.modules.batchnorm._NormBase)
            for other in family.published(layer, spec)
        }

    def check(self, key: str, tensor: torch.Tensor, where: str) -> None:
        """Refuse a published tensor that has no place, another shape or values not finite."""
        title = self.family.title
        if key not in self.owners:
            layer, _, last = key.rpartition(".")
            statistic = last in _STATISTICS and layer in self.norms
            if not statistic and not re.match(self.family.unused, key):
                raise UserError(f"{where}: key {key!r} does not fit a {title}")
            return
        name = self.owners[key]
        shape = list(self.wanted[name].shape)
        if len(self.sources[name]) > 1:
            shape[0] //= len(self.sources[name])
        if list(tensor.shape) != shape:
            raise UserError(
                f"{where}: key {key!r} has shape {list(tensor.shape)}, but a {title} with these"
                f" other shapes needs {shape}"
            )
        if check_finite({key: tensor}):
            raise UserError(f"{where}: key {key!r} has values that are not finite")


def plain_state(published: Any, where: str) -> State:
    """The tensors of a published state dict by name, without what old releases put around them.

    Args:
        where: the file, for messages.

    Raises:
        UserError: it holds anything but plain tensors of floating-point numbers, or none.
    """
    for name in _NESTED:
        if isinstance(published, Mapping) and isinstance(published.get(name), Mapping):
            published = published[name]
    if not isinstance(published, Mapping) or not published:
        raise UserError(f"{where}: holds no tensors")
    for key, tensor in published.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
            raise UserError(
                f"{where}: key {key!r} is not a named tensor; only a plain state dict is imported"
            )
        plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized)
        counter = key.endswith("num_batches_tracked")
        # A tensor larger than its storage repeats it: a few bytes that claim gigabytes.
        if (
            not plain
            or not (tensor.is_floating_point() or counter)
            or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise UserError(f"{where}: key {key!r} is not a plain tensor of floating-point numbers")
    if all(key.startswith("module.") for key in published):
        return {key.removeprefix("module."): t.detach() for key, t in published.items()}
    return {key: tensor.detach() for key, tensor in published.items()}
