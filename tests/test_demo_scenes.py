"""The synthetic world is a fair test: one geometry, two looks, a truth that pays to reach."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_media.demo.scenes import (
    SAMPLE_RATE,
    bounces,
    make_scene,
    render,
    sound,
    still,
    write_clip,
    write_images,
)
from cyclegan_media.errors import UserError
from cyclegan_media.metrics.image import psnr, ssim


def as_tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_a_scene_is_its_seed() -> None:
    assert make_scene(5) == make_scene(5)
    assert make_scene(5) != make_scene(6)
    np.testing.assert_array_equal(still(5, "b"), still(5, "b"))


def test_pictures_are_rgb_bytes_of_the_size_asked_for() -> None:
    picture = render(make_scene(1), "a", 0.5, (40, 72))
    assert picture.shape == (40, 72, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("domain", ["a", "b"])
def test_every_scene_moves(domain) -> None:  # type: ignore[no-untyped-def]
    for seed in range(5):
        scene = make_scene(seed)
        frames = [render(scene, domain, time).astype(int) for time in (0.0, 0.1, 0.2)]
        for before, after in pairwise(frames):
            assert np.abs(after - before).max() > 30


def test_the_looks_share_their_geometry() -> None:
    # Where the day shows two colours far apart side by side, dusk has an edge there, too.
    for seed in range(4):
        day, dusk = (still(seed, domain, (96, 96)).astype(int) for domain in ("a", "b"))
        steps_day, steps_dusk = (np.abs(np.diff(picture, axis=1)).sum(2) for picture in (day, dusk))
        strong = steps_day > 150
        assert strong.sum() > 20
        assert np.mean(steps_dusk[strong] > 40) > 0.95


def test_dusk_is_a_function_of_what_the_day_shows() -> None:
    # Away from outlines, pixels of (nearly) one colour by day have (nearly) one colour at dusk.
    day = np.concatenate([still(seed, "a").reshape(-1, 3) for seed in range(30)])
    dusk = np.concatenate([still(seed, "b").reshape(-1, 3) for seed in range(30)]).astype(int)
    bins = (day // 8).astype(int) @ np.array([1, 32, 1024])
    spread = []
    for value in np.unique(bins):
        inside = dusk[bins == value]
        if len(inside) >= 50:
            spread.append(np.abs(inside - np.median(inside, axis=0)).mean(1))
    assert np.median(np.concatenate(spread)) < 6


def test_leaving_the_picture_alone_is_far_from_the_truth() -> None:
    day = as_tensor(*(still(seed, "a") for seed in range(16)))
    dusk = as_tensor(*(still(seed, "b") for seed in range(16)))
    assert psnr(day, dusk) < 12
    assert ssim(day, dusk) < 0.6


def test_matching_histograms_is_far_from_the_truth() -> None:
    # Each channel's own tone curve that gives it dusk's histogram: needs no pairs, and no network.
    day, dusk = (
        np.concatenate([still(seed, domain).reshape(-1, 3) for seed in range(16)])
        for domain in ("a", "b")
    )
    matched = np.empty_like(dusk)
    for channel in range(3):
        rank = np.argsort(np.argsort(day[:, channel]))
        matched[:, channel] = np.sort(dusk[:, channel])[rank]
    error = np.mean((matched.astype(float) - dusk) ** 2)
    assert 10 * np.log10(255**2 / error) < 18


def test_notes_sound_where_the_balls_touch_the_ground() -> None:
    scene = make_scene(3)
    times = [time for time, _ in bounces(scene, 3.0)]
    assert times
    samples = sound(scene, 3.0)
    assert samples.shape == (3 * SAMPLE_RATE,)
    assert np.abs(samples).max() <= 1
    first = round(times[0] * SAMPLE_RATE)
    assert np.abs(samples[:first]).max(initial=0) == 0
    for time in times:
        start = round(time * SAMPLE_RATE)
        assert np.abs(samples[start : start + 400]).max() > 0.1


def test_a_ball_is_lowest_at_its_bounce() -> None:
    scene = make_scene(3)
    ball = next(body for body in scene.bodies if body.kind == "ball")
    time = next(t for t, index in bounces(scene, 3.0) if scene.bodies[index] == ball)

    def lowest_red(at: float) -> int:
        picture = render(scene, "a", at, (128, 128)).astype(int)
        red = (picture[..., 0] > 200) & (picture[..., 1] < 80)
        return int(np.flatnonzero(red.any(1)).max())

    if sum(body.kind == "ball" for body in scene.bodies) == 1:
        assert lowest_red(time) > lowest_red(time + ball.period / 2) + 5


def test_images_are_named_by_seed_and_complete(tmp_path: Path) -> None:
    write_images(tmp_path / "a", range(3, 6), "a", (32, 48))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["scene_00003.png", "scene_00004.png", "scene_00005.png"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a" / names[1])), still(4, "a", (32, 48))
    )
    with pytest.raises(UserError, match="exists already"):
        write_images(tmp_path / "a", [1], "a")


def test_a_clip_plays_what_was_rendered_with_sound_in_step(tmp_path: Path) -> None:
    scene = make_scene(3)
    path = write_clip(tmp_path / "clip.mp4", scene, "b", seconds=2, fps=20, size=(96, 128))
    with av.open(str(path)) as clip:
        video, audio = clip.streams.video[0], clip.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.codec_context.pix_fmt == "yuv420p"
        frames = list(clip.decode(video))
    assert [frame.time for frame in frames] == pytest.approx([i / 20 for i in range(40)])
    shown = frames[13].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(int)
    assert np.abs(shown - render(scene, "b", 13 / 20, (96, 128))).mean() < 6
    with av.open(str(path)) as clip:
        heard = np.concatenate(
            [frame.to_ndarray()[0] for frame in clip.decode(clip.streams.audio[0])]
        )
    wanted = sound(scene, 2.0)
    shift = np.argmax(np.correlate(heard[: len(wanted)], wanted, "same")) - len(wanted) // 2
    assert abs(shift) < 0.01 * SAMPLE_RATE


def test_a_clip_may_be_silent(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4", make_scene(1), "a", 0.5, 10, (32, 32), with_sound=False)
    with av.open(str(path)) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]


def test_bad_requests_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'a' or 'b'"):
        render(make_scene(0), "c", 0.0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="both must be even"):
        write_clip(tmp_path / "x.mp4", make_scene(0), "a", 1, 10, (33, 32))
    with pytest.raises(UserError, match="not one frame"):
        write_clip(tmp_path / "x.mp4", make_scene(0), "a", 0, 10)
    assert list(tmp_path.iterdir()) == []
