"""Which detections of consecutive frames are one face, where it was, and how steadily.

Everything that needs the frames before and after is settled here, in a pass over the video that
keeps a few numbers a frame; cropping and putting back then take each frame by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cyclegan_media.faces.detector import Face, FaceDetector, eight_bit
from cyclegan_media.faces.placement import Placement
from cyclegan_media.faces.smooth import smooth_placements

Which = Literal["largest", "all"]

_GAP = 0.5
"""Seconds for which a face may go unseen (a blink of the detector, a hand) and still be there."""
_SMOOTHING = 0.5
"""Seconds that a placement is smoothed over."""
_SHORTEST = 0.2
"""Seconds that a face must be seen to count: detectors err, but seldom twice at one place."""
_FADE = 0.15
"""Seconds over which a face that appears or goes in the middle of a shot is blended in and out."""
_FARTHEST = 0.6
"""Sizes of a face that it may move from one frame to the next."""
_SIZES = math.log(1.6)
"""How much it may grow or shrink."""
_CUT_CORRELATION = 0.5
_CUT_DIFFERENCE = 30.0
"""Frames that look less alike than this, or differ by more (of 255), are of different shots."""


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame."""

    track: int
    """The number of the face; from 0 for the one that is seen longest and largest."""
    placement: Placement
    """Smoothed over time."""
    strength: float
    """How much of a translation is to be seen, 0…1: 1, except where a face appears or goes."""
    seen: Face | None
    """What the detector saw; ``None`` in a gap."""


@dataclass(frozen=True)
class FaceTracks:
    """The faces of a video, by the numbers of their frames."""

    frames: dict[int, list[TrackedFace]]
    """Only frames with a face."""
    count: int
    """Frames that were looked at."""
    number: int
    """Different faces, where a cut makes a face another one."""

    def at(self, frame: int, which: Which = "all") -> list[TrackedFace]:
        """The faces of a frame; ``largest`` keeps to one face for as long as it is there."""
        faces = self.frames.get(frame, [])
        return sorted(faces, key=lambda face: face.track)[: 1 if which == "largest" else None]


@dataclass
class _Track:
    shot: int
    first: int
    faces: list[Face | None]

    @property
    def last(self) -> int:
        return self.first + len(self.faces) - 1


class Tracker:
    """Takes the frames of a video in order; :meth:`finish` gives the tracks.

    Association is by the least sum of distances between the boxes of a frame and the last ones of
    the tracks (Kuhn 1955, the Hungarian method), in units of the face.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._open: list[_Track] = []
        self._all: list[_Track] = []
        self._shots: list[int] = []
        self._look: NDArray[np.float64] | None = None
        self._times: list[float] = []

    def add(self, pixels: NDArray[Any], time: float) -> None:
        """Look at the next frame.

        Args:
            pixels: RGB ``(height, width, 3)``, uint8 or uint16.
            time: when it is shown, in seconds.
        """
        pixels = eight_bit(pixels)
        number = len(self._times)
        look = _look(pixels)
        if self._look is None or _cut(self._look, look):
            self._shots.append(number)
            self._open = []
        self._look = look
        self._times.append(time)
        self._extend(number, self._detector.detect(pixels))

    def _extend(self, number: int, faces: list[Face]) -> None:
        gap = _frames(_GAP, self._rate())
        self._open = [track for track in self._open if number - track.last <= gap + 1]
        for track, face in _matches(self._open, faces):
            track.faces += [None] * (number - track.last - 1) + [face]
        for face in faces:
            if not any(track.faces[-1] is face for track in self._open):
                track = _Track(len(self._shots) - 1, number, [face])
                self._open.append(track)
                self._all.append(track)

    def _rate(self) -> float:
        """Frames per second so far; 25 where there is nothing to tell it by."""
        span = self._times[-1] - self._times[0] if self._times else 0.0
        return (len(self._times) - 1) / span if span > 0 else 25.0

    def finish(self) -> FaceTracks:
        """Smooth what was found, leave out what was seen too shortly, and number the rest."""
        rate, count = self._rate(), len(self._times)
        ends = [*self._shots[1:], count]
        smoothed = []
        for track in self._all:
            start, end = self._shots[track.shot], ends[track.shot]
            times_seen = sum(face is not None for face in track.faces)
            if times_seen < min(_frames(_SHORTEST, rate), end - start):
                continue
            placements = smooth_placements(track.faces, _frames(_SMOOTHING, rate))
            smoothed.append((track, placements, _strengths(track, start, end, rate)))
        smoothed.sort(key=lambda item: -sum(placement.size**2 for placement in item[1]))
        frames: dict[int, list[TrackedFace]] = {}
        for rank, (track, placements, strengths) in enumerate(smoothed):
            rows = zip(placements, strengths, track.faces, strict=True)
            for frame, row in enumerate(rows, track.first):
                frames.setdefault(frame, []).append(TrackedFace(rank, *row))
        return FaceTracks(frames, count, len(smoothed))


def track_picture(pixels: NDArray[Any], detector: FaceDetector) -> FaceTracks:
    """The faces of a single picture ``(height, width, 3)``, as of a video of one frame."""
    tracker = Tracker(detector)
    tracker.add(pixels, 0.0)
    return tracker.finish()


def track_video(frames: Iterable[Any], detector: FaceDetector) -> FaceTracks:
    """The faces of a video.

    Args:
        frames: in order, with ``pixels`` and ``time`` as those of
            :class:`cyclegan_media.media.VideoReader` have; the first one is frame 0.
    """
    tracker = Tracker(detector)
    for frame in frames:
        tracker.add(frame.pixels, float(frame.time))
    return tracker.finish()


def _frames(seconds: float, rate: float) -> int:
    return max(1, round(seconds * rate))


def _matches(tracks: list[_Track], faces: list[Face]) -> list[tuple[_Track, Face]]:
    if not tracks or not faces:
        return []
    far = 1e6
    costs = np.full((len(tracks), len(faces)), far)
    for i, track in enumerate(tracks):
        last = track.faces[-1]
        assert last is not None
        for j, face in enumerate(faces):
            distance = _distance(last, face)
            if distance is not None:
                costs[i, j] = distance
    rows, columns = linear_sum_assignment(costs)
    return [(tracks[i], faces[j]) for i, j in zip(rows, columns, strict=True) if costs[i, j] < far]


def _distance(one: Face, other: Face) -> float | None:
    """Between the middles of two boxes, in sizes; ``None`` if they cannot be the same face."""
    (x, y, size), (other_x, other_y, other_size) = _middle(one), _middle(other)
    mean = math.sqrt(size * other_size)
    distance = math.hypot(other_x - x, other_y - y) / mean
    grown = abs(math.log(other_size / size))
    return distance if distance < _FARTHEST and grown < _SIZES else None


def _middle(face: Face) -> tuple[float, float, float]:
    left, top, width, height = face.box
    return left + width / 2, top + height / 2, math.sqrt(width * height)


def _strengths(track: _Track, start: int, end: int, rate: float) -> NDArray[np.float64]:
    """1, with a ramp at each end that is not an end of the shot."""
    length, fade = len(track.faces), _frames(_FADE, rate)
    at = np.arange(length)
    ramp_in = np.ones(length) if track.first == start else (at + 1) / (fade + 1)
    ramp_out = np.ones(length) if track.last == end - 1 else (length - at) / (fade + 1)
    return np.minimum(1.0, np.minimum(ramp_in, ramp_out))


def _look(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a frame looks like from afar: about 32 × 32 grey values."""
    rows, columns = (max(1, side // 32) for side in pixels.shape[:2])
    height, width = (
        side // step for side, step in zip(pixels.shape, (rows, columns), strict=False)
    )
    green = pixels[: height * rows, : width * columns, 1]
    means: NDArray[np.float64] = green.reshape(height, rows, width, columns).mean(axis=(1, 3))
    return means


def _cut(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    if np.abs(after - before).mean() > _CUT_DIFFERENCE:
        return True
    one, other = before - before.mean(), after - after.mean()
    energy = math.sqrt(float((one**2).sum() * (other**2).sum()))
    # Frames of one colour look like any other; noise in them is no cut.
    if energy / one.size < 1:
        return False
    return float((one * other).sum()) / energy < _CUT_CORRELATION
