"""Batches queued one behind the other, as on a GPU: the same results, in order, and no surprises.

On a CPU the buffers and the order of things are the same, and copies are done at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from video_files import moving, write_video

from cyclegan_media.backbones import build
from cyclegan_media.errors import RunError
from cyclegan_media.translate.image import NetworkApply, QueuedApply, make_apply
from cyclegan_media.translate.queued import Queues, TwoBuffers
from cyclegan_media.translate.video import translate_video

CPU = torch.device("cpu")
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def network() -> torch.nn.Module:
    return build({"name": "resnet", "width": 4, "blocks": 1}).eval()


def test_each_result_is_of_its_own_batch() -> None:
    buffers = TwoBuffers(CPU)
    given = [torch.full((2, 3, 4 + k % 2, 4), float(k)) for k in range(6)]
    fetch, results = buffers.begin(given[0], lambda x: x + 100), []
    for batch in given[1:]:
        following = buffers.begin(batch, lambda x: x + 100)
        results.append(fetch().clone())
        fetch = following
    results.append(fetch().clone())
    for batch, result in zip(given, results, strict=True):
        assert torch.equal(result, batch + 100)


def test_a_batch_may_change_once_it_is_queued() -> None:
    buffers, batch = TwoBuffers(CPU), torch.ones(1, 3, 4, 4)
    fetch = buffers.begin(batch, lambda x: x)
    batch.zero_()
    assert torch.equal(fetch(), torch.ones(1, 3, 4, 4))


def test_a_third_batch_waits_for_the_first() -> None:
    buffers, batch = TwoBuffers(CPU), torch.ones(1, 3, 4, 4)
    first = buffers.begin(batch, lambda x: x)
    buffers.begin(batch, lambda x: x)
    with pytest.raises(ValueError, match="fetch the first"):
        buffers.begin(batch, lambda x: x)
    first()


def test_nothing_is_queued_on_a_cpu() -> None:
    apply = make_apply(network(), CPU, torch.float32, 1)
    assert isinstance(apply, NetworkApply)
    assert not isinstance(apply, Queues)


@pytest.mark.parametrize("options", [{"tile": 64}, {"batch_size": 1}, {}])
def test_a_queued_batch_becomes_what_it_becomes_at_once(options: dict[str, int]) -> None:
    # In tiles and in several parts, too, which are not queued; of a size that has to be padded.
    pictures = torch.rand(3, 3, 70, 101) * 2 - 1
    arguments = (options.get("batch_size", 4), options.get("tile", "off"), None, False)
    queued = QueuedApply(network(), CPU, torch.float32, *arguments)
    at_once = queued(pictures)
    fetch = queued.begin(pictures)
    queued.begin(torch.zeros(1, 3, 64, 64))
    assert torch.equal(fetch(), at_once)


class Noted(QueuedApply):
    """Notes what is begun and what is fetched."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(network(), CPU, torch.float32, 4, "off", None, False)
        self.events: list[str] = []
        self.begun, self.fails_at = 0, fails_at

    def begin(self, pictures: Tensor) -> Callable[[], Tensor]:
        number = self.begun
        self.begun += 1
        self.events.append(f"begin {number}")
        fetch = super().begin(pictures)

        def fetched() -> Tensor:
            self.events.append(f"fetch {number}")
            if number == self.fails_at:
                raise RunError("the model's output is not finite")
            return fetch()

        return fetched


def test_a_video_comes_out_the_same_with_one_batch_queued_ahead(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", moving(11), sound="aac")
    apply = Noted()
    result = translate_video(apply, source, tmp_path / "queued.mp4", batch_size=3)
    plain = NetworkApply(apply._network, CPU, torch.float32, 4, "off", None, False)
    translate_video(plain, source, tmp_path / "plain.mp4", batch_size=3)
    assert result.frames == 11
    assert (tmp_path / "queued.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()
    assert apply.events == [
        *("begin 0", "begin 1", "fetch 0", "begin 2", "fetch 1", "begin 3", "fetch 2", "fetch 3")
    ]


def test_what_fails_late_is_named_by_its_own_frame(tmp_path: Path) -> None:
    source, target = write_video(tmp_path / "clip.mp4", moving(12)), tmp_path / "out.mp4"
    with pytest.raises(RunError, match=r"clip\.mp4: frame 6: the model's output is not finite"):
        translate_video(Noted(fails_at=2), source, target, batch_size=3)
    assert not target.exists()


@ON_GPU
def test_a_gpu_computes_the_same_queued_and_at_once() -> None:
    device = torch.device("cuda")
    apply = make_apply(network().to(device), device, torch.float32, 4)
    assert isinstance(apply, Queues)
    batches = [torch.rand(count, 3, 66, 98) * 2 - 1 for count in (4, 4, 4, 2)]
    at_once = [apply(batch) for batch in batches]
    fetch, results = apply.begin(batches[0]), []
    for batch in batches[1:]:
        following = apply.begin(batch)
        results.append(fetch())
        fetch = following
    results.append(fetch())
    for result, expected in zip(results, at_once, strict=True):
        assert torch.allclose(result, expected, atol=1e-5)
