"""Import of the checkpoints that the PyTorch release of CycleGAN and pix2pix writes.

Such a ``.pth`` file is a pickled state dict. It is read with ``weights_only=True``, which knows
tensors and plain containers and refuses everything that could run code. The architecture is
inferred from names and shapes; what names cannot tell is the release's default (reflection
padding; in U-Nets no dropout, which makes no difference in evaluation mode).

Networks with batch normalisation run with the statistics stored in the checkpoint (evaluation
mode, ``--eval`` in the release).
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cyclegan_media.backbones.registry import Backbone, build, spec_of
from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.pretrained.folder import Direction, ModelConfig, PretrainedModel, check_finite

_PAPER = "Zhu 2017, arXiv 1703.10593"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

State = dict[str, torch.Tensor]


def import_published(
    checkpoint: str | os.PathLike[str],
    *,
    direction: Direction = "a2b",
    other: str | os.PathLike[str] | None = None,
    domains: tuple[str, str] = ("a", "b"),
) -> PretrainedModel:
    """Read a published generator as a model that :func:`save_model` can write.

    Args:
        checkpoint: for instance ``latest_net_G.pth`` or ``latest_net_G_A.pth``.
        direction: what ``checkpoint`` maps; the release's ``G_A`` maps A to B.
        other: the checkpoint of the opposite direction, if there is one.
        domains: names of domain A and domain B.

    Raises:
        UserError: a file is missing, damaged, holds more than tensors, or is not a ResNet or
            U-Net generator of the release (names the first key that does not fit).
    """
    opposite: Direction = "b2a" if direction == "a2b" else "a2b"
    files = {direction: Path(checkpoint)}
    if other is not None:
        files[opposite] = Path(other)
    generators: dict[Direction, Backbone] = {}
    for way, path in files.items():
        spec, state = convert_published_state(read_checkpoint(path), where=str(path))
        network = build(spec)
        if network.role != "generator":
            raise UserError(f"{path}: is a discriminator ({network.name}), not a generator")
        network.load_state_dict(state)
        generators[way] = network.eval().requires_grad_(False)
    config = ModelConfig(
        modality="image",
        domains={"a": domains[0], "b": domains[1]},
        generators={way: spec_of(network) for way, network in generators.items()},
        paper=_PAPER,
        origin="imported from " + " and ".join(path.name for path in files.values()),
    )
    return PretrainedModel(config, generators)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The dictionary in a ``.pth`` file, on the CPU, without running any code from it.

    Raises:
        UserError: the file is missing, damaged, or holds anything but tensors in containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storage classes of old checkpoints
            data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise from_os_error(error, path, "reading it") from error
    except pickle.UnpicklingError as error:
        if re.search(r"Unsupported (global|class)|GLOBAL|REDUCE|NEWOBJ|BUILD", str(error)):
            raise UserError(
                f"{path}: refused, since it holds Python objects that could run code when read;"
                " only a plain state dict of tensors is imported"
            ) from error
        raise UserError(f"{path}: is damaged or not a PyTorch checkpoint") from error
    except Exception as error:
        # Damaged files meet the reader in many ways: as EOFError, RuntimeError, KeyError, …
        raise UserError(f"{path}: is damaged or not a PyTorch checkpoint") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}, not a state dict of tensors")
    return data


def convert_published_state(
    published: Mapping[str, Any], *, where: str = "checkpoint"
) -> tuple[dict[str, Any], State]:
    """Infer the architecture of a published state dict and give its tensors our names.

    Args:
        published: names of the CycleGAN release (``model.10.conv_block.1.weight``) to tensors;
            may be nested under ``state_dict`` and prefixed by ``module.`` (DataParallel).
        where: the file, for messages.

    Returns:
        A spec that ``registry.build`` takes (resnet, unet, patchgan or pixelgan), and the state
        dict for that network, in the dtypes of ``published``. Running statistics that old
        releases stored for instance normalisation are dropped, since it does not use them.

    Raises:
        UserError: naming the first key that does not fit.
    """
    state = _plain_state(published, where)
    spec, rename = _infer(state, where)
    with torch.device("meta"):
        network = build(spec, where=where)
    expected = {rename(name): name for name in network.state_dict()}
    norms = {rename(name): name for name, _ in network.named_modules() if name}
    converted: State = {}
    for key, tensor in state.items():
        layer, _, last = key.rpartition(".")
        if key not in expected:
            if last in _STATISTICS and _is_norm(network, norms.get(layer)):
                continue
            raise UserError(
                f"{where}: key {key!r} does not fit a {spec['name']} of the CycleGAN release"
            )
        wanted = network.state_dict()[expected[key]].shape
        if tensor.shape != wanted:
            raise UserError(
                f"{where}: key {key!r} has shape {list(tensor.shape)}, but a {spec['name']} with"
                f" these other shapes needs {list(wanted)}"
            )
        converted[expected[key]] = tensor
    for key, name in expected.items():
        if name not in converted:
            # Releases before 2018 did not store this counter, and evaluation does not use it.
            if not name.endswith("num_batches_tracked"):
                raise UserError(f"{where}: key {key!r} is missing")
            converted[name] = torch.zeros((), dtype=torch.int64)
    broken = check_finite(converted)
    if broken is not None:
        key = next(key for key, name in expected.items() if name == broken)
        raise UserError(f"{where}: key {key!r} has values that are not finite")
    return spec, converted


def _plain_state(published: Mapping[str, Any], where: str) -> State:
    nested = published.get("state_dict")
    if isinstance(nested, Mapping):
        published = nested
    if not published:
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


def _is_norm(network: torch.nn.Module, name: str | None) -> bool:
    if name is None:
        return False
    return isinstance(network.get_submodule(name), torch.nn.modules.batchnorm._NormBase)


def _infer(state: State, where: str) -> tuple[dict[str, Any], Callable[[str], str]]:
    """The spec that ``state`` suggests, and the map from our names to published ones."""
    keys = list(state)

    def first_layer(key: str) -> dict[str, Any]:
        if key not in state or state[key].dim() != 4:
            raise UserError(f"{where}: key {key!r} is missing or not a convolution")
        width, channels = state[key].shape[:2]
        affine = any(k.endswith(".weight") and t.dim() == 1 for k, t in state.items())
        norm = "batch" if affine else "instance"
        return {"width": width, "channels": channels, "norm": norm}

    if keys[0].startswith("model.model."):
        levels = [k for k in keys if re.fullmatch(r"model(\.model\.[13])+\.model\.1\.weight", k)]
        depth = len(levels) + 1
        spec = {"name": "unet", "downsamplings": depth, **first_layer("model.model.0.weight")}
        return spec, lambda name: _unet_name(name, depth)
    if keys[0].startswith("net."):
        spec = {"name": "pixelgan", **first_layer("net.0.weight")}
        return spec, lambda name: re.sub(r"^layers\b", "net", name)
    if keys[0].startswith("model.0."):
        layers = sum(tensor.dim() == 4 for tensor in state.values()) - 2
        spec = {"name": "patchgan", "layers": layers, **first_layer("model.0.weight")}
        return spec, lambda name: re.sub(r"^layers\b", "model", name)
    if keys[0].startswith("model.1."):
        found = {m[1] for key in keys if (m := re.match(r"model\.(\d+)\.conv_block\.", key))}
        blocks = len(found)
        second = state.get("model.10.conv_block.6.weight")
        spec = {
            "name": "resnet",
            "blocks": blocks,
            "dropout": second is not None and second.dim() == 4,
            **first_layer("model.1.weight"),
        }
        return spec, lambda name: _resnet_name(name, blocks)
    raise UserError(
        f"{where}: key {keys[0]!r} is of no ResNet, U-Net, PatchGAN or PixelGAN of the CycleGAN"
        " release"
    )


def _resnet_name(name: str, blocks: int) -> str:
    """``residual.0.layers.1.weight`` to ``model.10.conv_block.1.weight``: one long sequence."""
    part, _, rest = name.partition(".")
    index, _, rest = rest.partition(".")
    first = {"encoder": 0, "residual": 10, "decoder": 10 + blocks}[part]
    index = str(first + int(index or 0))
    return ".".join(filter(None, ["model", index, rest.replace("layers", "conv_block")]))


def _unet_name(name: str, depth: int) -> str:
    """``down.2.conv.weight`` to ``model.model.1.model.3.model.1.weight``: levels are nested.

    Each level holds, in this order, activation, convolution, norm, the next level, activation,
    convolution and norm; the outermost has no first activation and norms, the innermost no
    first norm and next level.
    """
    part, _, rest = name.partition(".")
    index, _, rest = rest.partition(".")
    layer, _, parameter = rest.partition(".")
    level = int(index or 0)
    outermost, innermost = level == 0, level == depth - 1
    prefix = "model.model" + ("" if outermost else ".1.model" + ".3.model" * (level - 1))
    position = {("down", "conv"): 1, ("down", "norm"): 2, ("up", "conv"): 5, ("up", "norm"): 6}
    number = position.get((part, layer), -1)
    if outermost:
        number -= 1 if part == "down" else 2
    elif innermost and part == "up":
        number -= 2
    return ".".join(filter(None, [prefix, str(number), parameter]))
