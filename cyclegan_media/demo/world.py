"""A little world drawn in two looks, so that a picture translation has a known right answer.

A scene is a handful of numbers drawn from a seed: balls that bounce on a meadow, crates that
tumble, pinwheels that spin in the sky, a sun, hills, and a camera that drifts. It can be rendered
at any time in domain ``"a"`` (a bright day) or ``"b"`` (dusk on another planet, drawn with ink
outlines). Both looks share one geometry to the pixel, and the second is a function of what the
first shows, so the pair of renderings is the truth that unpaired training never sees.

Unpaired learning is well-posed only if the domains cannot be exchanged in parts: if balls and
crates were equally common and of one shape, a cycle that swaps their colours would be as
consistent as the right one. Three rules keep the classes apart:

- Each colour has its own shape, size, place and share of the picture: sky (smooth, largest,
  above), meadow (striped, below), ball (round, large, shaded), crate (square, with a cross),
  pinwheel (four vanes).
- The palettes stay near one linear map of colour space (hues turned, the background darkened),
  bent per role: what a network learns from the large areas then carries most of the way over to
  the small things.
- No large area of one look has the colour of another role in the other look, where the identity
  term would hold it fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError

Kind = Literal["ball", "crate", "pinwheel"]
Domain = Literal["a", "b"]
DOMAINS: tuple[Domain, Domain] = ("a", "b")

Field = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Body:
    """One moving thing. Lengths are in picture heights, times in seconds, angles in radians."""

    kind: Kind
    radius: float
    place: float  # where it starts, as a share of its path across the picture, 0…1
    pace: float  # crossings of the picture per second, signed
    spin: float  # radians per second
    angle: float
    base: float  # ball and crate: how far below the horizon it lands; pinwheel: above it
    leap: float  # height of its bounce; 0: none
    period: float  # seconds from one bounce to the next
    phase: float  # 0…1, where in its bounce it starts


@dataclass(frozen=True)
class Scene:
    """Everything that is random about one scene; equal seeds give equal scenes."""

    seed: int
    horizon: float  # share of the height above the meadow
    drift: tuple[float, float]  # camera: sideways (heights per second), and sway (heights)
    hills: tuple[tuple[float, float, float], ...]  # (amplitude, waves per height, phase)
    stripes: float  # mown stripes per height at the lower edge
    sun: tuple[float, float, float]  # (share of width, share of sky, radius)
    bodies: tuple[Body, ...]


def make_scene(seed: int) -> Scene:
    """Draw a scene from ``seed`` (any integer ≥ 0)."""
    if seed < 0:
        raise UserError(f"seed {seed}: must be 0 or more")
    rng = np.random.default_rng(seed)

    def u(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def body(kind: Kind) -> Body:
        small, large = {
            "ball": (0.11, 0.16), "crate": (0.09, 0.12), "pinwheel": (0.10, 0.13),
        }[kind]  # fmt: skip
        return Body(
            kind=kind,
            radius=u(small, large),
            place=u(0, 1),
            pace=u(0.06, 0.2) * float(rng.choice([-1, 1])),
            spin=u(0.8, 2.2) * float(rng.choice([-1, 1])),
            angle=u(0, math.tau),
            base=u(0.12, 0.3) if kind != "pinwheel" else u(0.16, 0.36),
            leap={"ball": u(0.15, 0.35), "crate": u(0.02, 0.06), "pinwheel": 0.0}[kind],
            period=u(0.7, 1.3),
            phase=u(0, 1),
        )

    every: tuple[Kind, ...] = ("pinwheel", "crate", "ball")
    kinds = [kind for kind in every for _ in range(int(rng.integers(1, 3)))]
    return Scene(
        seed=seed,
        horizon=u(0.5, 0.62),
        drift=(u(0.03, 0.1) * float(rng.choice([-1, 1])), u(0.005, 0.02)),
        hills=tuple((u(0.02, 0.05), u(0.5, 1.6), u(0, math.tau)) for _ in range(3)),
        stripes=u(5, 7),
        sun=(u(0.1, 0.9), u(0.15, 0.35), u(0.08, 0.10)),
        bodies=tuple(body(kind) for kind in kinds),
    )


def bounces(scene: Scene, seconds: float) -> list[tuple[float, int]]:
    """When the balls touch the ground in the first ``seconds``: (time, index of the body)."""
    found = []
    for index, body in enumerate(scene.bodies):
        if body.kind != "ball":
            continue
        time = (1 - body.phase) % 1.0 * body.period
        while time < seconds:
            found.append((time, index))
            time += body.period
    return sorted(found)


# The colours of the two looks, 0…1 RGB, by role.
_PALETTES: dict[Domain, dict[str, tuple[float, float, float]]] = {
    "a": {
        "sky_high": (0.36, 0.66, 0.96), "sky_low": (0.82, 0.92, 1.00), "sun": (1.00, 0.97, 0.74),
        "hill": (0.42, 0.60, 0.72), "meadow_1": (0.38, 0.70, 0.26), "meadow_2": (0.54, 0.84, 0.38),
        "ball": (0.86, 0.16, 0.14), "ball_light": (1.00, 0.52, 0.44),
        "crate": (0.60, 0.38, 0.18), "crate_cross": (0.36, 0.20, 0.08),
        "vane_1": (1.00, 0.90, 0.62), "vane_2": (1.00, 1.00, 0.96), "edge": (0.0, 0.0, 0.0),
    },
    "b": {
        "sky_high": (0.16, 0.08, 0.42), "sky_low": (0.62, 0.36, 0.72), "sun": (0.76, 1.00, 0.72),
        "hill": (0.24, 0.16, 0.44), "meadow_1": (0.02, 0.30, 0.36), "meadow_2": (0.06, 0.48, 0.50),
        "ball": (0.90, 0.54, 0.04), "ball_light": (1.00, 0.84, 0.34),
        "crate": (0.44, 0.48, 0.06), "crate_cross": (0.22, 0.26, 0.02),
        "vane_1": (0.62, 0.96, 0.50), "vane_2": (0.88, 1.00, 0.82), "edge": (0.04, 0.02, 0.10),
    },
}  # fmt: skip
_EDGE_OPACITY: dict[Domain, float] = {"a": 0.0, "b": 0.8}
_EDGE_WIDTH = 0.026  # of the picture's height


def render(
    scene: Scene, domain: Domain, time: float, size: tuple[int, int] = (64, 64)
) -> NDArray[np.uint8]:
    """Draw the scene at ``time`` seconds: ``(height, width, 3)`` uint8 RGB, anti-aliased.

    Args:
        domain: ``"a"`` or ``"b"``; the geometry is the same in both.
        size: (height, width) in pixels.

    Raises:
        UserError: another domain, or a size below 8 pixels.
    """
    if domain not in DOMAINS:
        raise UserError(f"domain {domain!r}: must be 'a' or 'b'")
    height, width = size
    if min(height, width) < 8:
        raise UserError(f"size {height}×{width}: must be at least 8×8 pixels")
    return _Canvas(scene, domain, time, height, width).draw()


class _Canvas:
    """One rendering: fields in picture heights, shapes as signed distances (negative inside)."""

    def __init__(self, scene: Scene, domain: Domain, time: float, height: int, width: int) -> None:
        self.scene, self.time = scene, time
        self.colour = {k: np.array(v, np.float32) for k, v in _PALETTES[domain].items()}
        self.edge_opacity = _EDGE_OPACITY[domain]
        self.pixel = 1.0 / height
        self.aspect = width / height
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        self.x, self.y = (x + 0.5) * self.pixel, (y + 0.5) * self.pixel
        self.image = np.zeros((height, width, 3), np.float32)

    def draw(self) -> NDArray[np.uint8]:
        scene, time = self.scene, self.time
        sway = scene.drift[1] * math.sin(0.9 * time + scene.seed)
        horizon = scene.horizon + sway
        shift = scene.drift[0] * time
        self._background(horizon, shift)
        order = {"pinwheel": 0, "crate": 1, "ball": 2}
        for body in sorted(scene.bodies, key=lambda body: (order[body.kind], body.base)):
            self._body(body, horizon)
        return np.rint(np.clip(self.image, 0, 1) * 255).astype(np.uint8)

    def _cover(self, distance: Field) -> Field:
        """How much of each pixel lies inside: 1 within, 0 outside, a ramp one pixel wide."""
        return np.clip(0.5 - distance / self.pixel, 0, 1)[..., None]

    def _paint(self, distance: Field, colour: Field, opacity: float = 1.0) -> None:
        cover = self._cover(distance) * opacity
        self.image += cover * (colour - self.image)

    def _mix(self, first: str, second: str, share: Field) -> Field:
        share = np.clip(share, 0, 1)[..., None]
        return self.colour[first] * (1 - share) + self.colour[second] * share

    def _background(self, horizon: float, shift: float) -> None:
        scene, c = self.scene, self.colour
        self.image = self._mix("sky_high", "sky_low", self.y / horizon)
        sun_x, sun_y, radius = scene.sun
        self._paint(np.hypot(self.x - sun_x * self.aspect, self.y - sun_y * horizon) - radius,
                    c["sun"])  # fmt: skip
        crest = sum(a * np.sin(math.tau * f * (self.x + 0.5 * shift) + p)
                    for a, f, p in scene.hills)  # fmt: skip
        self._paint(horizon - 0.07 - crest - self.y, c["hill"])
        # Stripes of a meadow seen in perspective: they narrow towards the horizon.
        depth = np.maximum(self.y - horizon, 0) / max(1 - horizon, 0.1)
        across = (self.x - 0.5 * self.aspect + shift) / (0.35 + 0.65 * depth)
        wave = np.sin(math.tau * scene.stripes * 0.5 * across) / (0.35 + 0.15 * depth)
        self._paint(horizon - self.y, self._mix("meadow_1", "meadow_2", 0.5 + wave))

    def _body(self, body: Body, horizon: float) -> None:
        x, y = self._centre(body, horizon)
        angle = body.angle + body.spin * self.time
        dx, dy = self.x - x, self.y - y
        along = dx * math.cos(angle) + dy * math.sin(angle)
        across = dy * math.cos(angle) - dx * math.sin(angle)
        if body.kind == "ball":
            distance = self._ball(body, dx, dy)
        elif body.kind == "crate":
            distance = self._crate(body, along, across)
        else:
            distance = self._pinwheel(body, dx, dy, along, across)
        if self.edge_opacity:
            outline = np.abs(distance + _EDGE_WIDTH / 2) - _EDGE_WIDTH / 2
            self._paint(outline, self.colour["edge"], self.edge_opacity)

    def _centre(self, body: Body, horizon: float) -> tuple[float, float]:
        # To and fro across the picture, a little beyond its borders.
        swing = (body.place + abs(body.pace) * self.time) % 2
        swing = swing if swing <= 1 else 2 - swing
        x = (swing if body.pace > 0 else 1 - swing) * self.aspect
        if body.kind == "pinwheel":
            return x, horizon - body.base
        u = (self.time / body.period + body.phase) % 1
        return x, horizon + body.base - body.radius - body.leap * 4 * u * (1 - u)

    def _ball(self, body: Body, dx: Field, dy: Field) -> Field:
        distance = np.hypot(dx, dy) - body.radius
        light = np.hypot(dx + 0.4 * body.radius, dy + 0.4 * body.radius) / (1.1 * body.radius)
        self._paint(distance, self._mix("ball_light", "ball", light))
        return distance

    def _crate(self, body: Body, along: Field, across: Field) -> Field:
        distance = np.maximum(np.abs(along), np.abs(across)) - body.radius
        self._paint(distance, self.colour["crate"])
        bar = np.minimum(np.abs(along), np.abs(across)) - 0.2 * body.radius
        self._paint(np.maximum(distance, bar), self.colour["crate_cross"])
        return distance

    def _pinwheel(self, body: Body, dx: Field, dy: Field, along: Field, across: Field) -> Field:
        turn = np.arctan2(across, along)
        distance = np.hypot(dx, dy) - body.radius * (0.75 + 0.25 * np.cos(4 * turn))
        vanes = along * across / (body.radius * self.pixel)  # sign alternates by quarter
        self._paint(distance, self._mix("vane_1", "vane_2", 0.5 + vanes))
        return distance
