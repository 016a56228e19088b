"""Measures by pretrained networks, for those who have their weights. Nothing is downloaded.

Weight files are read as data alone (``weights_only``): whatever else a file holds is refused.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan_media.errors import UserError, from_os_error
from cyclegan_media.metrics.image import check_pair
from cyclegan_media.metrics.image_sets import Extractor
from cyclegan_media.pretrained.torch_file import load_torch_file

Distance = Callable[[Tensor, Tensor], float]
"""Pictures and truth, ``(n, 3, height, width)`` in −1…1 each → their mean distance."""

_EXTRA = "pip install 'cyclegan-media[metrics]'"


def inception_features(
    weights: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> Extractor:
    """The 2048 features of Inception-v3 on which papers report FID and KID.

    The network and preparation of torch-fidelity, which give the figures of the original
    TensorFlow code: pictures are rounded to 8 bits and resized to 299 × 299.

    Args:
        weights: torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``.

    Raises:
        UserError: torch-fidelity is not installed, or the file is missing or of another network.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(f"Inception features need torch-fidelity; install it: {_EXTRA}") from error
    # torch-fidelity would run what a hostile file holds, so it gets a copy of the tensors alone.
    tensors = io.BytesIO()
    torch.save(_read(weights), tensors)
    tensors.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], tensors)
    except RuntimeError as error:
        raise UserError(f"{weights}: holds weights of another network than Inception-v3") from error
    network.to(device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        features: Tensor = network(levels.to(device))[0]
        return features

    return extract


def lpips(backbone: str | os.PathLike[str], device: torch.device | str = "cpu") -> Distance:
    """Learned perceptual distance, 0 for equal pictures; the AlexNet variant, which papers report.

    Zhang, Isola, Efros, Shechtman, Wang: "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", 2018, eq. 1. The weights of its linear layers come with the package lpips;
    those of the network below are the user's.

    Args:
        backbone: torchvision's ImageNet weights of AlexNet, ``alexnet-owt-7be5be79.pth``.

    Raises:
        UserError: the package lpips is not installed, or the file is missing or of another
            network. The distance raises it for pictures and truth of different shapes.
    """
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise UserError(f"LPIPS needs the package lpips; install it: {_EXTRA}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how the package calls torchvision
        network = LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = _read(backbone)
    own = network.net.state_dict()
    # "slice2.3.weight" of the package is "features.3.weight" of torchvision.
    theirs = {name: f"features.{name.split('.', 1)[1]}" for name in own}
    if any(
        name not in state or state[name].shape != own[key].shape for key, name in theirs.items()
    ):
        raise UserError(f"{backbone}: holds weights of another network than torchvision's AlexNet")
    network.net.load_state_dict({key: state[name] for key, name in theirs.items()})
    network.to(device).requires_grad_(False)

    @torch.no_grad()
    def distance(images: Tensor, truth: Tensor) -> float:
        check_pair(images, truth)
        pairs = zip(images.split(1), truth.split(1), strict=True)
        each = [network(*(x.to(device).float().clamp(-1, 1) for x in pair)) for pair in pairs]
        return float(torch.cat(each).mean())

    return distance


def _read(path: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    try:
        state: Any = load_torch_file(Path(path))
    except UserError:
        raise
    except OSError as error:
        raise from_os_error(error, path, "reading the weights") from error
    except Exception as error:  # torch raises many kinds for damaged and foreign files
        raise UserError(f"{path}: is no file of weights, or is damaged") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path}: holds something else than the weights of a network")
    return state
