"""Measures by pretrained networks: loading and preparation, with random weights in their place."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image_sets import features_of, frechet_distance
from cyclegan_media.metrics.learned import inception_features, lpips


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)

    class Blank(home.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        def load_state_dict(self, state: Any) -> None:
            pass

    network = Blank("blank", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # else what comes out is next to nothing
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def alexnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lpips")
    from torchvision.models import alexnet

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(alexnet().state_dict(), path)
    return path


def pictures(seed: int, count: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 64, 64, generator=random) * 2 - 1


def test_inception_features_of_pictures(inception_weights: Path) -> None:
    images = pictures(0, count=2)
    levels = ((images + 1) * 127.5).round() / 127.5 - 1
    white = torch.ones(1, 3, 64, 64)
    variants = [images, levels + 0.4 / 127.5, white, 1.5 * white, 0.2 * images]
    features = features_of(torch.cat(variants), inception_features(inception_weights))
    assert features.shape == (8, 2048)
    own, nearly, at_the_limit, beyond, other = features.split([2, 2, 1, 1, 2])
    # They see 8 bits: less than half a level makes no difference, and values beyond 1 are 1.
    assert torch.equal(nearly, own)
    assert torch.equal(beyond, at_the_limit)
    assert frechet_distance(own, other) > 1000 * frechet_distance(own, own)


def test_lpips_is_zero_for_equal_pictures_and_grows(alexnet_weights: Path) -> None:
    distance = lpips(alexnet_weights)
    images, noise = pictures(1), pictures(2)
    values = [distance((images + a * noise).clamp(-1, 1), images) for a in (0.0, 0.1, 0.3, 0.9)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[1] > 0
    with pytest.raises(UserError, match="cannot be compared"):
        distance(images, images[:2])


def test_lpips_uses_the_weights_it_is_given(alexnet_weights: Path, tmp_path: Path) -> None:
    state = torch.load(alexnet_weights, weights_only=True)
    scaled = {name: 3 * value if "features.0" in name else value for name, value in state.items()}
    torch.save(scaled, tmp_path / "other.pth")
    images, truth = pictures(3), pictures(4)
    assert lpips(tmp_path / "other.pth")(images, truth) != lpips(alexnet_weights)(images, truth)


@pytest.mark.parametrize("load", [inception_features, lpips])
def test_weights_that_are_none_are_refused(load: Callable[[Path], object], tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    pytest.importorskip("lpips")
    path = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=r"weights\.pth: cannot go on reading the weights"):
        load(path)
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"weights\.pth: is no file of weights"):
        load(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"weights\.pth: holds weights of another network"):
        load(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"weights\.pth: holds something else"):
        load(path)


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("load", [inception_features, lpips])
def test_weights_that_hold_code_do_not_run_it(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    pytest.importorskip("torch_fidelity")
    pytest.importorskip("lpips")
    path, mark = tmp_path / "hostile.pth", tmp_path / "ran"
    torch.save({"weight": _Hostile(mark)}, path)
    with pytest.raises(UserError, match=r"hostile\.pth: is no file of weights"):
        load(path)
    path.write_bytes(pickle.dumps(_Hostile(mark)))
    with pytest.raises(UserError, match=r"hostile\.pth: is no file of weights"):
        load(path)
    assert not mark.exists()


def test_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without_extras(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("torch_fidelity", "lpips"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_extras)
    with pytest.raises(UserError, match=r"torch-fidelity; install it: .*cyclegan-media\[metrics\]"):
        inception_features(tmp_path / "weights.pth")
    with pytest.raises(UserError, match="package lpips; install it"):
        lpips(tmp_path / "weights.pth")
