"""Steadiness of clips: hand-computed values, motion and cuts that must not count, a real clip."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("cv2")

from cyclegan_media.errors import UserError
from cyclegan_media.media.flow import FlowFinder, warp
from cyclegan_media.metrics.video import SOURCE, steadiness


def texture(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """A picture with detail of all scales, but none too fine to be followed."""
    random = torch.Generator().manual_seed(seed)
    canvas = torch.zeros(1, 3, height, width)
    for side in (6, 12, 24):
        noise = torch.randn(1, 3, side, side, generator=random)
        canvas += F.interpolate(noise, size=(height, width), mode="bicubic") / 3
    return (0.5 * canvas[0]).clamp(-0.7, 0.7)


def still(count: int = 6) -> list[Tensor]:
    return [texture() for _ in range(count)]


def panned(count: int = 6) -> list[Tensor]:
    wide = texture(width=168)
    return [wide[:, :, 3 * k : 3 * k + 128] for k in range(count)]


# Flow


def test_flow_of_a_panned_picture_is_its_shift() -> None:
    import numpy as np

    first, second = (
        ((frame.mean(0) + 1) * 127.5).round().to(torch.uint8).numpy() for frame in panned(2)
    )
    flow = FlowFinder().between(first, second)
    inner = (slice(16, -16), slice(16, -16))
    # The camera moves right by 3, so what is shown was 3 further right before.
    np.testing.assert_allclose(np.median(flow.to_previous[inner], axis=(0, 1)), [3, 0], atol=0.1)
    np.testing.assert_allclose(np.median(flow.to_current[inner], axis=(0, 1)), [-3, 0], atol=0.1)
    carried = warp(first, flow.to_previous)
    assert np.abs(carried - second)[inner].mean() < 1
    # The three columns at the right edge are new.
    assert not flow.seen_before[:, -2:].any()
    assert flow.seen_before[inner].mean() > 0.98


def test_warp_carries_along_the_flow_by_hand() -> None:
    import numpy as np

    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), dtype=np.float32)
    flow[..., 0] = 0.5
    flow[1, :, 1] = 1
    np.testing.assert_allclose(
        warp(picture, flow), [[0.5, 1.5, 2.5, 3], [8.5, 9.5, 10.5, 11], [8.5, 9.5, 10.5, 11]]
    )


def test_what_a_moving_thing_hides_does_not_count() -> None:
    import numpy as np

    background, thing = texture(seed=1), texture(seed=2)[:, :40, :40]
    frames = []
    for left in (30, 38):
        frame = background.clone()
        frame[:, 20:60, left : left + 40] = thing
        frames.append(((frame.mean(0) + 1) * 127.5).round().to(torch.uint8).numpy())
    seen = FlowFinder().between(*frames).seen_before
    uncovered = seen[24:56, 30:36]  # by the thing's moving on
    assert uncovered.mean() < 0.3
    assert seen[:, 90:].mean() > 0.98
    assert seen.mean() > 0.85
    assert isinstance(seen, np.ndarray)


# Steadiness


def test_a_still_clip_is_perfectly_steady() -> None:
    scores = steadiness(still(), {"copy": still()})
    for name in (SOURCE, "copy"):
        assert scores[name].warping_error == pytest.approx(0, abs=1e-12)
        assert scores[name].temporal_ssim == pytest.approx(1, abs=1e-5)
        assert scores[name].flicker_energy == pytest.approx(0, abs=1e-12)
        assert scores[name].seen > 0.99
        assert scores[name].pairs == 5


def test_flicker_by_hand() -> None:
    # Lightness alternates by ±0.1 on −1…1, which is ±0.05 on 0…1: each change is 0.1, and each
    # frame is 0.1 off the mean of its neighbours.
    flickering = [frame + 0.1 * (-1) ** k for k, frame in enumerate(still())]
    scores = steadiness(still(), {"flickering": flickering})["flickering"]
    assert scores.warping_error == pytest.approx(0.01, rel=1e-4)
    assert scores.flicker_energy == pytest.approx(0.01, rel=1e-4)


def test_a_fade_changes_but_does_not_flicker() -> None:
    fading = [frame + 0.04 * k for k, frame in enumerate(still())]
    scores = steadiness(still(), {"fading": fading})["fading"]
    assert scores.warping_error == pytest.approx(0.02**2, rel=1e-4)
    assert scores.flicker_energy == pytest.approx(0, abs=1e-10)


def test_motion_of_the_source_is_not_held_against_anyone() -> None:
    frames = panned()
    negative = [-frame for frame in frames]
    unmoved = [negative[0]] * len(frames)  # does not follow the scene: that is unsteady
    scores = steadiness(frames, {"negative": negative, "unmoved": unmoved})
    assert scores["negative"].warping_error == pytest.approx(scores[SOURCE].warping_error, rel=1e-3)
    assert scores["negative"].temporal_ssim > 0.95
    assert scores["unmoved"].warping_error > 20 * scores["negative"].warping_error
    assert scores["unmoved"].temporal_ssim < 0.8


@pytest.mark.parametrize("kind", ["flicker", "noise"])
def test_measures_grow_with_unsteadiness(kind: str) -> None:
    noise = torch.Generator().manual_seed(0)
    outputs = {}
    for amount in (0.02, 0.05, 0.15):
        if kind == "flicker":
            offsets = torch.randn(6, 1, 1, 1, generator=noise)
        else:
            offsets = torch.randn(6, 3, 96, 128, generator=noise)
        outputs[f"{amount}"] = [f + amount * o for f, o in zip(panned(), offsets, strict=True)]
    scores = list(steadiness(panned(), outputs).values())
    errors = [score.warping_error for score in scores]
    assert errors == sorted(errors)
    if kind == "flicker":
        assert [s.flicker_energy for s in scores] == sorted(s.flicker_energy for s in scores)
    else:
        similarities = [score.temporal_ssim for score in scores]
        assert similarities == sorted(similarities, reverse=True)


def test_cuts_do_not_count() -> None:
    other = texture(seed=7)
    clip = [*still(3), other, other, other]
    scores = steadiness(clip, {"copy": clip})["copy"]
    assert scores.pairs == 4  # of five
    assert scores.warping_error == pytest.approx(0, abs=1e-12)
    assert scores.flicker_energy == pytest.approx(0, abs=1e-12)


def test_memory_does_not_grow_with_the_clip() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def frames() -> Iterator[Tensor]:
        nonlocal most
        for frame in panned(12):
            copy = frame.clone()
            alive.append(weakref.ref(copy))
            yield copy
            del copy
            most = max(most, sum(reference() is not None for reference in alive))

    assert steadiness(frames(), {}).keys() == {SOURCE}
    assert len(alive) == 12
    assert most <= 3


def test_says_what_cannot_be_measured() -> None:
    frames = still(3)
    with pytest.raises(UserError, match="fast: ends after 2 frames, but source goes on"):
        steadiness(frames, {"fast": frames[:2]})
    with pytest.raises(UserError, match="source: ends after 2 frames, but slow goes on"):
        steadiness(frames[:2], {"slow": frames})
    with pytest.raises(
        UserError, match="small: frames of 90×128 pixels, but the source's are of 96"
    ):
        steadiness(frames, {"small": [frame[:, :90] for frame in frames]})
    with pytest.raises(UserError, match=r"grey: a frame of shape \(1, 96, 128\)"):
        steadiness(frames, {"grey": [frame[:1] for frame in frames]})
    with pytest.raises(UserError, match=r"a clip of 1 frame\(s\) has no steadiness"):
        steadiness(frames[:1], {})
    with pytest.raises(UserError, match="at least 16×16"):
        steadiness([frame[:, :12] for frame in frames], {})
    with pytest.raises(UserError, match="'source'"):
        steadiness(frames, {"source": frames})


def test_a_real_clip_is_steadier_than_its_flickering_copy(shared_data: Path) -> None:
    import av

    frames = []
    with av.open(str(shared_data / "video" / "nasa_13013.mp4")) as container:
        for frame in container.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24", width=160, height=90)
            frames.append(torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)
            if len(frames) == 24:
                break
    brightness = torch.randn(24, generator=torch.Generator().manual_seed(0))
    flickering = [f + 0.1 * b for f, b in zip(frames, brightness, strict=True)]
    toned = [0.8 * frame.flip(0) + 0.1 for frame in frames]
    scores = steadiness(frames, {"flickering": flickering, "toned": toned})
    own, toned_, flickering_ = (scores[name] for name in (SOURCE, "toned", "flickering"))
    assert flickering_.warping_error > 2 * own.warping_error
    assert flickering_.flicker_energy > 10 * own.flicker_energy
    assert flickering_.temporal_ssim < own.temporal_ssim
    assert toned_.warping_error < own.warping_error
    assert toned_.flicker_energy < own.flicker_energy
    assert toned_.temporal_ssim == pytest.approx(own.temporal_ssim, abs=0.02)
