"""How steady a translated clip is, judged along the motion of its *source*.

What a scene shows moves; what a translation makes of it should move along and otherwise stay. So
the optical flow of the source carries each output frame to the time of the next, and the two are
compared where the source shows the same in both: parts that appear or vanish do not count.

Frames are tensors ``(3, height, width)`` in −1…1, one after the other; three are held at a time, so
memory does not grow with a clip. Errors are on the range 0…1, as papers have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from cyclegan_media.errors import UserError
from cyclegan_media.media.flow import FlowFinder, FlowPair, Mask, Picture, opencv, warp

SOURCE = "source"
"""Name of the source's own scores: what is left of them is due to the flow, light and noise."""

LEAST_SEEN = 0.25
"""Share of a frame that must be seen in the next; below it, there is a cut, and the two frames say
nothing about steadiness."""

_WINDOW = 11
"""Of SSIM, in pixels."""
_BLOCK = 8
"""Pixels: flicker is seen in areas; finer changes are in the warping error."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Steadiness:
    """Measures of one clip, each the mean over its frames; ``nan`` where there is nothing to say.

    Compare them with those of the source and of other translations of it: none is 0 (or 1) for a
    real clip.
    """

    warping_error: float
    """Mean square change of a pixel along its motion, 0…1; less is steadier. Lai et al.: "Learning
    Blind Video Temporal Consistency", 2018, mean over the colour channels."""
    temporal_ssim: float
    """SSIM of each frame with the one before, carried along; −1…1, more is steadier. Unlike the
    warping error it does not reward low contrast."""
    flicker_energy: float
    """Mean square of what alternates in lightness, 0…1: the difference of a frame, in areas of
    8 × 8 pixels, from the mean of its two neighbours, carried along. Less is steadier; fades and
    motion count nothing."""
    seen: float
    """0…1: share of the pixels that could be compared."""
    pairs: int
    """Pairs of frames that were compared; cuts are left out."""


@dataclass
class _Meter:
    """Sums over the frames of one clip."""

    errors: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    flickers: list[float] = field(default_factory=list)
    _frame: Picture | None = None
    _carried: tuple[Picture, Mask] | None = None
    """Lightness of the frame before ``_frame``, moved to its time, and where it is seen."""

    def add(self, frame: Picture, flow: FlowPair | None) -> None:
        """Take the next frame ``(height, width, 3)``, 0…1; ``flow`` is ``None`` after a cut."""
        if flow is not None and self._frame is not None:
            before = warp(self._frame, flow.to_previous)
            self.errors.append(_mean(np.square(frame - before).mean(axis=2), flow.seen_before))
            self._compare_structure(frame, before, flow.seen_before)
            if self._carried is not None:
                self._compare_neighbours(frame, flow)
            self._carried = _luma(before), flow.seen_before
        else:
            self._carried = None
        self._frame = frame

    def _compare_structure(self, frame: Picture, before: Picture, seen: Mask) -> None:
        whole = _eroded(seen, _WINDOW)
        if not whole.any():
            return
        now, then = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (frame, before))
        _, local = structural_similarity_index_measure(
            now, then, data_range=1.0, return_full_image=True
        )
        self.similarities.append(_mean(local[0].mean(0).numpy(), whole))

    def _compare_neighbours(self, after: Picture, flow: FlowPair) -> None:
        assert self._frame is not None
        assert self._carried is not None
        before, seen_before = self._carried
        carried_back = _luma(warp(after, flow.to_current))
        seen = seen_before & flow.seen_after
        change = _luma(self._frame) - 0.5 * (before + carried_back)
        flicker = _in_blocks(change, seen)
        if len(flicker):
            self.flickers.append(float(np.square(flicker).mean()))


def steadiness(
    source: Iterable[Tensor], outputs: Mapping[str, Iterable[Tensor]]
) -> dict[str, Steadiness]:
    """Measure translations of one clip, and the clip itself under the name :data:`SOURCE`.

    Args:
        source: the frames whose motion is followed.
        outputs: translations by name, frame for frame, of the source's size.

    Raises:
        UserError: OpenCV is not installed; fewer than two frames; an output with fewer or more
            frames or of another size; frames smaller than 16 × 16.
    """
    if SOURCE in outputs:
        raise UserError(f"an output may not be called {SOURCE!r}; choose another name")
    finder = FlowFinder()
    meters = {name: _Meter() for name in (SOURCE, *outputs)}
    seen: list[float] = []
    previous: NDArray[np.uint8] | None = None
    count = 0
    for frames in _together(source, outputs):
        count += 1
        current = np.rint(255 * _luma(frames[SOURCE])).astype(np.uint8)
        flow = None
        if previous is not None:
            flow = finder.between(previous, current)
            share = float(flow.seen_before.mean())
            if share < LEAST_SEEN:
                flow = None
            else:
                seen.append(share)
        for name, frame in frames.items():
            meters[name].add(frame, flow)
        previous = current
    if count < 2:
        raise UserError(f"a clip of {count} frame(s) has no steadiness; it needs at least 2")
    return {
        name: Steadiness(
            warping_error=_average(meter.errors),
            temporal_ssim=_average(meter.similarities),
            flicker_energy=_average(meter.flickers),
            seen=_average(seen),
            pairs=len(seen),
        )
        for name, meter in meters.items()
    }


def _together(
    source: Iterable[Tensor], outputs: Mapping[str, Iterable[Tensor]]
) -> Iterator[dict[str, Picture]]:
    """The next frame of each clip, by name, until all end at once."""
    clips = {SOURCE: iter(source), **{name: iter(frames) for name, frames in outputs.items()}}
    number = 0
    while True:
        found = {name: next(frames, None) for name, frames in clips.items()}
        over = [name for name, frame in found.items() if frame is None]
        if len(over) == len(found):
            return
        if over:
            raise UserError(
                f"{over[0]}: ends after {number} frames, but {_rest(found)} goes on; outputs need"
                " as many frames as their source"
            )
        frames = {name: _picture(name, frame) for name, frame in found.items() if frame is not None}
        for name, frame in frames.items():
            if frame.shape != frames[SOURCE].shape:
                raise UserError(
                    f"{name}: frames of {_size(frame)} pixels, but the source's are of"
                    f" {_size(frames[SOURCE])}; bring them to one size"
                )
        yield frames
        number += 1


def _rest(found: Mapping[str, Tensor | None]) -> str:
    return next(name for name, frame in found.items() if frame is not None)


def _picture(name: str, frame: Tensor) -> Picture:
    """``(height, width, 3)``, 0…1."""
    if frame.dim() != 3 or len(frame) != 3:
        raise UserError(
            f"{name}: a frame of shape {tuple(frame.shape)}; need (3, height, width), −1…1"
        )
    pixels = (frame.detach().float().clamp(-1, 1) + 1) / 2
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy()


def _luma(picture: Picture) -> Picture:
    return picture @ np.asarray(_LUMA, dtype=np.float32)


def _mean(values: Picture, where: Mask) -> float:
    return float(values[where].mean(dtype=np.float64))


def _average(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _eroded(mask: Mask, window: int) -> Mask:
    """Where a whole window lies within ``mask``, and within the picture."""
    cv2 = opencv()
    kernel = np.ones((window, window), dtype=np.uint8)
    eroded = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded, dtype=np.bool_)


def _in_blocks(values: Picture, where: Mask) -> NDArray[np.float64]:
    """Means over the blocks that are seen for the greater part."""
    height, width = (side // _BLOCK * _BLOCK for side in values.shape)

    def sums(x: NDArray[np.generic]) -> NDArray[np.float64]:
        blocks = x[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64))

    counts = sums(where)
    enough = counts > _BLOCK**2 / 2
    return sums(values * where)[enough] / counts[enough]


def _size(frame: Picture) -> str:
    return f"{frame.shape[0]}×{frame.shape[1]}"
