"""Following faces: a detector that says what the test wants, on frames that look alike or not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cyclegan_media.faces import Face
from cyclegan_media.faces.placement import TEMPLATE
from cyclegan_media.faces.track import FaceTracks, Tracker

RATE = 25


class Script:
    """A detector that sees the faces of its list, frame after frame."""

    def __init__(self, frames: list[list[Face]]) -> None:
        self._frames = iter(frames)

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        return next(self._frames)


def face(x: float, y: float, size: float = 60.0) -> Face:
    return Face((x - size / 2, y - size / 2, size, size))


def follow(frames: list[list[Face]], looks: list[int] | None = None) -> FaceTracks:
    """Track over frames; those with the same number in ``looks`` show the same shot."""
    shots = [np.random.default_rng(k).integers(0, 255, (96, 128, 3), np.uint8) for k in range(3)]
    tracker = Tracker(Script(frames))
    for number, look in enumerate(looks or [0] * len(frames)):
        tracker.add(shots[look], number / RATE)
    return tracker.finish()


def test_a_still_face_is_steady_though_its_detections_jump() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2, (60, 2))
    tracks = follow([[face(100 + dx, 80 + dy)] for dx, dy in noise])
    x = np.array([tracks.at(k)[0].placement.x for k in range(60)])
    assert tracks.number == 1
    assert x.std() < noise[:, 0].std() / 1.5
    # What one sees as trembling is the change from frame to frame.
    assert np.diff(x).std() < np.diff(noise[:, 0]).std() / 5


def test_smoothing_follows_a_quadratic_motion_without_lag() -> None:
    at = [100 + 3 * k - 0.05 * k * k for k in range(30)]
    tracks = follow([[face(x, 80)] for x in at])
    got = [tracks.at(k)[0].placement.x for k in range(30)]
    # The median filter before it shortens the first and the last two frames.
    np.testing.assert_allclose(got[8:-8], at[8:-8], atol=1e-6)
    np.testing.assert_allclose(got, at, atol=6)


def test_a_single_wrong_detection_hardly_moves_a_face() -> None:
    frames = [[face(100, 80)] for _ in range(20)]
    frames[10] = [face(115, 70, 75)]
    placement = follow(frames).at(10)[0].placement
    assert (placement.x, placement.y, placement.size) == pytest.approx((100, 80, 60), abs=0.01)


def test_landmarks_that_come_and_go_do_not_make_a_face_jump() -> None:
    # The landmarks place the face 6 pixels lower and a tenth larger than its box does.
    marks = np.array([100, 86]) + TEMPLATE * 66
    frames = [[Face(face(100, 80).box, marks if k % 3 == 0 else None)] for k in range(30)]
    tracks = follow(frames)
    for k in range(30):
        placement = tracks.at(k)[0].placement
        assert (placement.x, placement.y, placement.size) == pytest.approx((100, 86, 66))


def test_a_short_gap_is_bridged_and_a_long_one_is_not() -> None:
    short = [[] if 10 <= k < 20 else [face(100 + k, 80)] for k in range(30)]
    tracks = follow(short)
    assert tracks.number == 1
    seen = tracks.at(15)[0]
    assert seen.seen is None
    assert seen.placement.x == pytest.approx(115, abs=0.5)
    long = follow([[] if 10 <= k < 25 else [face(100, 80)] for k in range(40)])
    assert long.number == 2
    assert all(not long.at(k) for k in range(10, 25))


def test_a_cut_makes_another_face_of_it_and_nothing_is_smoothed_across() -> None:
    looks = [0] * 15 + [1] * 15
    tracks = follow([[face(100 if k < 15 else 120, 80)] for k in range(30)], looks)
    assert tracks.number == 2
    assert tracks.at(14)[0].placement.x == pytest.approx(100)
    assert tracks.at(15)[0].placement.x == pytest.approx(120)
    assert tracks.at(14)[0].track != tracks.at(15)[0].track


def test_two_faces_keep_their_numbers_whatever_the_order_of_detection() -> None:
    frames = [
        [face(60, 80, 70), face(200 - 2 * k, 90, 50)][:: 1 if k % 2 else -1] for k in range(30)
    ]
    tracks = follow(frames)
    assert tracks.number == 2
    for k in range(30):
        large, small = tracks.at(k)
        assert (large.track, small.track) == (0, 1)
        assert large.placement.x == pytest.approx(60)
        assert small.placement.x == pytest.approx(200 - 2 * k, abs=5)


def test_the_largest_face_stays_the_same_one_when_another_grows_for_a_moment() -> None:
    frames = [[face(60, 80, 60), face(200, 80, 64 if 10 < k < 14 else 50)] for k in range(30)]
    tracks = follow(frames)
    assert {tracks.at(k, "largest")[0].track for k in range(30)} == {0}
    assert tracks.at(12, "largest")[0].placement.x == pytest.approx(60)


def test_what_is_seen_for_two_frames_only_is_no_face() -> None:
    tracks = follow([[face(100, 80)] if k in (7, 8) else [] for k in range(30)])
    assert tracks.number == 0
    assert tracks.frames == {}


def test_a_single_frame_is_enough_where_there_are_no_more() -> None:
    assert follow([[face(100, 80)]]).number == 1


def test_a_face_that_comes_and_goes_within_a_shot_is_blended_in_and_out() -> None:
    tracks = follow([[face(100, 80)] if 10 <= k < 30 else [] for k in range(40)])
    strengths = [tracks.at(k)[0].strength for k in range(10, 30)]
    assert strengths[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert strengths[4:-4] == [1.0] * 12
    assert strengths[-4:] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    whole = follow([[face(100, 80)]] * 20)
    assert {whole.at(k)[0].strength for k in range(20)} == {1.0}


def test_times_and_not_frames_decide_how_long_a_gap_is() -> None:
    frames: list[list[Face]] = [[face(100, 80)] if k < 10 or k >= 22 else [] for k in range(40)]
    pixels = np.zeros((64, 64, 3), np.uint8)
    for rate, faces in ((10, 2), (50, 1)):  # unseen for 1.2 s or 0.24 s
        tracker = Tracker(Script(frames))
        for k in range(40):
            tracker.add(pixels, k / rate)
        assert tracker.finish().number == faces
