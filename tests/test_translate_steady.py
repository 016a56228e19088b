"""Steady translations of video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faces_world import write_clip
from torch import Tensor

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.metrics.video import steadiness
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate.steady import SteadyApply

pytest.importorskip("cv2", reason="OpenCV finds the motion")


SIZE = 64


def texture(seed: int, side: int = SIZE) -> Tensor:
    """Smooth noise ``(3, side, side)`` in −1…1, in which motion can be followed."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, side // 8, side // 8, generator=random)
    fine = torch.rand(1, 3, side // 4, side // 4, generator=random)
    blend = [
        torch.nn.functional.interpolate(part, (side, side), mode="bicubic")
        for part in (coarse, fine)
    ]
    return (blend[0] + blend[1] - 1)[0].clamp(-0.8, 0.8)


def moving(count: int, step: int = 2) -> Tensor:
    """A window ``(count, 3, SIZE, SIZE)`` that moves over a texture."""
    wide = texture(1, SIZE + step * count)
    return torch.stack([wide[:, 8 : 8 + SIZE, step * k : step * k + SIZE] for k in range(count)])


def flickering(frames: Tensor) -> Tensor:
    """A look that is the same in each frame but for its brightness and some noise."""
    random = torch.Generator().manual_seed(2)
    brightness = 0.1 * torch.randn(len(frames), 1, 1, 1, generator=random)
    noise = 0.05 * torch.randn(frames.shape, generator=random)
    return (0.6 * frames.flip(1) + brightness + noise).clamp(-1, 1)


def ready(outputs: Tensor) -> Callable[[Tensor], Tensor]:
    """An apply that gives ``outputs`` in order, whatever it is given."""
    rest = iter(outputs)
    return lambda frames: torch.stack([next(rest) for _ in frames])


def test_a_still_picture_follows_the_equation() -> None:
    frames = texture(0).expand(4, -1, -1, -1)
    outputs = flickering(frames)
    got = SteadyApply(ready(outputs), 0.75)(frames)
    change = outputs[0] - frames[0]
    torch.testing.assert_close(got[0], outputs[0])
    for k in range(1, 4):  # nothing moves, so M is 1 everywhere
        change = 0.25 * (outputs[k] - frames[k]) + 0.75 * change
        torch.testing.assert_close(got[k], frames[k] + change, atol=1e-5, rtol=0)


def test_what_flickers_along_the_motion_becomes_steady_and_stays_as_sharp() -> None:
    frames = moving(12)
    looked = 0.6 * frames.flip(1)
    outputs = flickering(frames)
    got = SteadyApply(ready(outputs))(frames)
    scores = steadiness(frames, {"raw": outputs, "steady": got, "without flicker": looked})
    assert scores["steady"].warping_error < scores["raw"].warping_error / 2
    assert scores["steady"].flicker_energy < scores["raw"].flicker_energy / 2
    # It goes towards what the look is without flicker, not towards a blur of it.
    late = slice(4, None)
    error = (got[late] - looked[late]).square().mean()
    assert error < (outputs[late] - looked[late]).square().mean() / 2


def test_an_unchanged_clip_stays_as_it_is_through_motion_and_cuts() -> None:
    frames = torch.cat([moving(4), texture(5)[None], texture(6)[None]])
    torch.testing.assert_close(SteadyApply(lambda x: x)(frames), frames, atol=1e-6, rtol=0)


def test_a_cut_begins_anew() -> None:
    frames = torch.stack([texture(3), texture(3), texture(4), texture(4)])
    outputs = flickering(frames)
    steady = SteadyApply(ready(outputs))
    got = steady(frames)
    assert steady.shots == 2
    torch.testing.assert_close(got[2], outputs[2])
    assert not torch.allclose(got[3], outputs[3], atol=1e-3)


def test_batches_of_any_size_give_the_same_frames() -> None:
    frames = moving(5)
    outputs = flickering(frames)
    whole = SteadyApply(ready(outputs))(frames)
    single = SteadyApply(ready(outputs))
    assert torch.equal(whole, torch.cat([single(frame[None]) for frame in frames]))


@pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
def test_a_strength_that_makes_no_sense_is_refused(strength: float) -> None:
    with pytest.raises(UserError, match="steadiness"):
        SteadyApply(lambda x: x, strength)


def test_the_command_makes_a_video_steadier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "resnet", "width": 2, "blocks": 1}
    torch.manual_seed(0)
    config = ModelConfig(modality="image", generators={"a2b": spec})
    save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec)}))
    frames = moving(8)
    noisy = (frames + 0.1 * torch.randn(frames.shape)).clamp(-1, 1)
    pixels = [
        np.ascontiguousarray(x.add(1).mul(127.5).round().byte().permute(1, 2, 0)) for x in noisy
    ]
    clip = write_clip(tmp_path / "clip.mkv", pixels)
    outputs: dict[str, list[Tensor]] = {}
    for name, options in {"raw": [], "steady": ["--steady"]}.items():
        target = tmp_path / f"{name}.mkv"
        command = ["translate", str(clip), "-m", str(tmp_path / "model"), "-o", str(target)]
        assert main([*command, "--codec", "ffv1", "--quiet", *options]) == 0
        with VideoReader(target) as video:
            outputs[name] = [frame.tensor() for frame in video]
    assert torch.equal(outputs["raw"][0], outputs["steady"][0])
    with VideoReader(clip) as video:
        scores = steadiness([frame.tensor() for frame in video], outputs)
    assert scores["steady"].warping_error < scores["raw"].warping_error
    assert main([*command, "--steadiness", "1"]) == 2
    assert "below 1" in capsys.readouterr().err
