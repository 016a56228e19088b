"""Pictures through a generator: padded to what it takes, in batches, back in their own type."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.files import check_output
from cyclegan_media.media.image import read_image
from cyclegan_media.media.image_writer import image_format, write_image
from cyclegan_media.media.provenance import Provenance
from cyclegan_media.translate.queued import Fetch, Samples, TwoBuffers
from cyclegan_media.translate.streams import Streams
from cyclegan_media.translate.tiles import Tile, apply_in_tiles, choose_tile

if TYPE_CHECKING:
    from cyclegan_media.translate.engine import Engine

Apply = Callable[[Tensor], Tensor]
"""Translates float32 ``(n, 3, height, width)`` in −1…1 to the same, on the CPU, of any size."""

Pictures = NDArray[Any] | Tensor | PIL.Image.Image


def make_apply(
    network: Backbone,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int | None,
    tile: Tile = "auto",
    engine: Engine | None = None,
    *,
    compiled: bool = False,
    streams: Streams | None = None,
) -> Apply:
    """A function that applies ``network`` to pictures of any number and size.

    Each is continued by its mirror image up to the network's multiple and minimum, on all four
    sides alike, and what was added is cut off again.

    Args:
        dtype: of the arithmetic; float32, bfloat16 or float16.
        batch_size: pictures that go through the network at once; those in tiles go one by one.
            ``None`` for as many as suit the device.
        tile: side of the tiles that large pictures are computed in (:mod:`.tiles`), with the
            result of the whole.
        engine: what runs the network; ``None`` for the network itself.
        compiled: whether the engine is to compile it.
        streams: on a CPU, what computes pictures side by side, ``batch_size`` in each.
    """
    how = (network, device, dtype, batch_size, tile, engine, compiled)
    if streams is not None:
        return StreamedApply(streams, *how)
    return (QueuedApply if device.type == "cuda" else NetworkApply)(*how)


class NetworkApply:
    """What :func:`make_apply` makes of the same arguments."""

    def __init__(
        self,
        network: Backbone,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int | None,
        tile: Tile,
        engine: Engine | None,
        compiled: bool,
    ) -> None:
        self._network, self._device, self._dtype = network, device, dtype
        self._batch_size, self._tile = batch_size, tile
        self._engine, self._compiled = engine, compiled

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        run, at_once, side = self._plan(pictures.shape)
        parts = pictures.split(at_once if side is None else 1)
        return torch.cat([self._translated(part, run, side) for part in parts])

    def _plan(self, shape: Sequence[int]) -> tuple[Apply, int, int | None]:
        """What runs the network, how many go through at once, and the side of tiles, if any.

        Args:
            shape: ``(n, 3, height, width)``
        """
        network, engine = self._network, self._engine
        count, _, height, width = shape
        size = _padded(height, network), _padded(width, network)
        at_once = self._batch_size or (engine.batch_size(network, size) if engine else count)
        side = choose_tile(network, min(at_once, count), size, self._tile)
        if engine and side is None:
            return engine.ready(network, compiled=self._compiled), at_once, side
        return network, at_once, side

    def _translated(self, batch: Tensor, run: Apply, side: int | None) -> Tensor:
        padded, window = self._continued(batch)
        with self._computing(batch.shape):
            if side is None:
                output = run(padded.to(self._device))
            else:
                output = apply_in_tiles(self._network, padded, side)
        return _checked(output[window].float().cpu())

    def _continued(self, batch: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
        """The batch in a size that the network takes, and where in that it lies."""
        height, width = batch.shape[2:]
        rows, top = _mirrored(height, self._network)
        columns, left = _mirrored(width, self._network)
        window = (..., slice(top, top + height), slice(left, left + width))
        if len(rows) != height:
            batch = batch[:, :, rows.to(batch.device)]
        if len(columns) != width:
            batch = batch[:, :, :, columns.to(batch.device)]
        return batch, window

    @contextmanager
    def _computing(self, shape: Sequence[int]) -> Iterator[None]:
        try:
            with torch.autocast(
                self._device.type, self._dtype, enabled=self._dtype != torch.float32
            ):
                yield
        except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU has no type of it
            if "memory" not in str(error):
                raise
            count, _, height, width = shape
            raise RunError(
                f"not enough memory on {self._device} for {count} × {width} × {height} pixels"
                " at once; use --tile 512 or less, a smaller --batch-size or smaller pictures"
            ) from error


class QueuedApply(NetworkApply):
    """The same on a GPU, where batches can be queued (:class:`.queued.Queues`)."""

    ahead = 1

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.device = self._device
        self._buffers = TwoBuffers(self._device)

    @torch.inference_mode()
    def begin(self, planes: Sequence[Tensor], samples: Samples) -> Fetch:
        """Queue a batch. What goes in tiles, or not through at once, is translated here."""
        count = len(planes[0])
        shape = (count, 3, *samples.size)
        run, at_once, side = self._plan(shape)
        if side is not None or count > at_once:
            made = samples.from_rgb(self(samples.to_rgb([plane.cpu() for plane in planes])))
            return lambda: made

        def compute(moved: list[Tensor]) -> list[Tensor]:
            padded, window = self._continued(samples.to_rgb(moved))
            output = run(padded)[window].float()
            check_shape(output, shape)
            # Whether it is finite goes back with it: to ask now would be to wait.
            return [*samples.from_rgb(output), torch.isfinite(output).all()]

        with self._computing(shape):
            fetch = self._buffers.begin(planes, compute)

        def checked() -> list[Tensor]:
            *made, finite = fetch()
            if not bool(finite):
                raise RunError(_NOT_FINITE)
            return [plane.clone() for plane in made]  # the buffers get the next result

        return checked

    def stop(self) -> None:
        """Nothing: what is queued is over in a moment."""


class StreamedApply(NetworkApply):
    """The same on a CPU, where batches are computed side by side (:mod:`.streams`)."""

    def __init__(self, streams: Streams, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.device = self._device
        self._streams = streams
        self.ahead = streams.count
        """One waits while each stream has one."""
        self._stop = threading.Event()

    def __call__(self, pictures: Tensor) -> Tensor:
        run, at_once, side = self._plan(pictures.shape)
        if side is not None or not self._in_any_order():
            return super().__call__(pictures)

        def begun(part: Tensor) -> Callable[[], Tensor]:
            return self._streams.begin(lambda: self._alone(part, run), self._stop)

        results = [begun(part) for part in pictures.split(at_once)]
        return torch.cat([result() for result in results])

    def begin(self, planes: Sequence[Tensor], samples: Samples) -> Fetch:
        """Queue a batch. What goes in tiles, or comes while ranges are found, is done here."""
        run, at_once, side = self._plan((len(planes[0]), 3, *samples.size))
        if side is not None or not self._in_any_order():
            made = samples.from_rgb(super().__call__(samples.to_rgb(planes)))
            return lambda: made

        def work() -> list[Tensor]:
            parts = samples.to_rgb(planes).split(at_once)
            return samples.from_rgb(torch.cat([self._alone(part, run) for part in parts]))

        return self._streams.begin(work, self._stop)

    def stop(self) -> None:
        """Leave off what was begun; nobody will fetch it."""
        self._stop.set()

    def _in_any_order(self) -> bool:
        return self._engine is None or self._engine.is_steady(self._network)

    @torch.inference_mode()
    def _alone(self, batch: Tensor, run: Apply) -> Tensor:
        output = self._translated(batch, run, None)
        check_shape(output, batch.shape)
        return output


_NOT_FINITE = "the model's output is not finite; try --precision fp32"


def check_shape(output: Tensor, shape: Sequence[int]) -> None:
    """Raises:
    RunError: the output of a network is not of the shape of its input.
    """
    if tuple(output.shape) != tuple(shape):
        raise RunError(
            f"the model makes {tuple(output.shape)} of {tuple(shape)}, where the shape should stay"
        )


def _checked(output: Tensor) -> Tensor:
    if not bool(torch.isfinite(output).all()):
        raise RunError(_NOT_FINITE)
    return output.clamp(-1, 1)


def translate_image(
    apply: Apply,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    provenance: Sequence[Provenance] = (),
) -> Path:
    """Translate a picture's colours; its transparency, colour profile and tags are kept.

    Args:
        provenance: what the target is to say of its making.

    Raises:
        UserError: ``source`` cannot be read or ``target`` cannot be written.
        RunError: not enough memory, or the disk is full.
    """
    image_format(target)
    check_output(target, overwrite=overwrite)
    image = read_image(source)
    pixels = translate_pixels(apply, image.pixels)
    return write_image(target, replace(image, pixels=pixels), overwrite, provenance=provenance)


def translate_pictures(apply: Apply, pictures: Pictures) -> Pictures:
    """Translate pictures in memory; type, shape, range and transparency stay as they are.

    Raises:
        UserError: another shape, type or range than :meth:`Translator.translate` takes.
    """
    if isinstance(pictures, Tensor):
        return _translate_tensor(apply, pictures)
    if isinstance(pictures, PIL.Image.Image):
        return _translate_pil(apply, pictures)
    return translate_pixels(apply, pictures)


def as_batch(pictures: Pictures) -> Tensor:
    """Pictures in memory as networks take them: float32 ``(n, 3, height, width)`` in −1…1.

    Raises:
        UserError: another shape, type or range than :meth:`Translator.translate` takes.
    """
    if isinstance(pictures, Tensor):
        return _batch_of_tensor(pictures)
    if isinstance(pictures, PIL.Image.Image):
        pictures = np.asarray(pictures.convert("RGB"))
    return _batch_of_pixels(pictures)


def translate_pixels(apply: Apply, pixels: NDArray[Any]) -> NDArray[Any]:
    """``(height, width, 3)`` or ``(n, height, width, 3)``: uint8, uint16, or float in 0…1."""
    output = apply(_batch_of_pixels(pixels))
    values = ((output + 1) * (_white(pixels) / 2)).permute(0, 2, 3, 1).numpy()
    if np.issubdtype(pixels.dtype, np.integer):
        values = values.round()
    return values.reshape(pixels.shape).astype(pixels.dtype)


def _batch_of_pixels(pixels: NDArray[Any]) -> Tensor:
    if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3 or pixels.size == 0:
        raise UserError(
            "an array of pictures is shaped (height, width, 3) or (n, height, width, 3), not"
            f" {pixels.shape}"
        )
    top = _white(pixels)
    batch = torch.from_numpy(pixels.reshape(-1, *pixels.shape[-3:]).astype(np.float32))
    return (batch.permute(0, 3, 1, 2) * (2 / top) - 1).contiguous()


def _white(pixels: NDArray[Any]) -> float:
    """The value of white in an array of this type."""
    if pixels.dtype in (np.uint8, np.uint16):
        return float(np.iinfo(pixels.dtype).max)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UserError(f"an array of pictures is uint8, uint16 or float, not {pixels.dtype}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # also where a value is not a number
        raise UserError(
            "a float array of pictures holds values in 0…1, but here they are in"
            f" {pixels.min():.4g}…{pixels.max():.4g}; scale it, or pass a tensor for −1…1"
        )
    return 1.0


def _translate_tensor(apply: Apply, pictures: Tensor) -> Tensor:
    output = apply(_batch_of_tensor(pictures))
    if pictures.dtype == torch.uint8:
        output = ((output + 1) * 127.5).round()
    return output.reshape(pictures.shape).to(pictures)


def _batch_of_tensor(pictures: Tensor) -> Tensor:
    if pictures.dim() not in (3, 4) or pictures.shape[-3] != 3 or pictures.numel() == 0:
        raise UserError(
            "a tensor of pictures is shaped (3, height, width) or (n, 3, height, width), not"
            f" {tuple(pictures.shape)}"
        )
    batch = pictures.detach().reshape(-1, *pictures.shape[-3:]).cpu()
    if pictures.dtype == torch.uint8:
        return batch.float() / 127.5 - 1
    if not pictures.is_floating_point():
        raise UserError(f"a tensor of pictures is uint8 or float, not {pictures.dtype}")
    batch = batch.float()
    if not bool((batch.abs() <= 1.001).all()):
        raise UserError(
            "a float tensor of pictures holds values in −1…1, but here they are in"
            f" {float(batch.min()):.4g}…{float(batch.max()):.4g}"
        )
    return batch


def _translate_pil(apply: Apply, picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB, or RGBA where there is transparency."""
    pixels = translate_pixels(apply, np.asarray(picture.convert("RGB")))
    result = PIL.Image.fromarray(pixels)
    if picture.has_transparency_data:
        result.putalpha(picture.convert("RGBA").getchannel("A"))
    return result


def _mirrored(size: int, network: Backbone) -> tuple[Tensor, int]:
    """Which rows (or columns) of a picture make up the padded one, and how many come before."""
    wanted = _padded(size, network)
    before = (wanted - size) // 2
    # A single row has no mirror image; numpy repeats it then.
    index = np.pad(np.arange(size), (before, wanted - size - before), "reflect")
    return torch.from_numpy(index), before


def _padded(size: int, network: Backbone) -> int:
    """The height (or width) of a picture as the network takes it."""
    return -(-max(size, network.minimum) // network.multiple) * network.multiple
