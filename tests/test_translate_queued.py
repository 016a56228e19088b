"""Batches queued one behind the other, as on a GPU: the same results, in order, and no surprises.

On a CPU the buffers and the order of things are the same, and copies are done at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from video_files import moving, write_video

from cyclegan_media.backbones import build
from cyclegan_media.errors import RunError
from cyclegan_media.media import VideoReader
from cyclegan_media.media.video_colour import planes_from_rgb, rgb_from_planes
from cyclegan_media.media.video_format import PlaneCoding
from cyclegan_media.translate.image import NetworkApply, QueuedApply, make_apply
from cyclegan_media.translate.queued import Fetch, Queues, Samples, TwoBuffers
from cyclegan_media.translate.video import translate_video

CPU = torch.device("cpu")
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def network() -> torch.nn.Module:
    return build({"name": "resnet", "width": 4, "blocks": 1}).eval()


def test_each_result_is_of_its_own_batch() -> None:
    buffers = TwoBuffers(CPU)
    given = [
        [torch.full((2, 4 + k % 2, 4), float(k)), torch.full((2, 3), k, dtype=torch.uint8)]
        for k in range(6)
    ]

    def compute(batch: list[Tensor]) -> list[Tensor]:
        return [batch[1] + 100, batch[0] + 200]

    def values(result: list[Tensor]) -> list[Tensor]:
        return [tensor.clone() for tensor in result]

    fetch, results = buffers.begin(given[0], compute), []
    for batch in given[1:]:
        following = buffers.begin(batch, compute)
        results.append(values(fetch()))
        fetch = following
    results.append(values(fetch()))
    for batch, result in zip(given, results, strict=True):
        assert torch.equal(result[0], batch[1] + 100)
        assert torch.equal(result[1], batch[0] + 200)


def test_a_batch_may_change_once_it_is_queued() -> None:
    buffers, batch = TwoBuffers(CPU), torch.ones(1, 3, 4, 4)
    fetch = buffers.begin([batch], lambda x: x)
    batch.zero_()
    assert torch.equal(fetch()[0], torch.ones(1, 3, 4, 4))


def test_a_third_batch_waits_for_the_first() -> None:
    buffers, batch = TwoBuffers(CPU), [torch.ones(1, 3, 4, 4)]
    first = buffers.begin(batch, lambda x: x)
    buffers.begin(batch, lambda x: x)
    with pytest.raises(ValueError, match="fetch the first"):
        buffers.begin(batch, lambda x: x)
    first()


def test_nothing_is_queued_on_a_cpu() -> None:
    apply = make_apply(network(), CPU, torch.float32, 1)
    assert isinstance(apply, NetworkApply)
    assert not isinstance(apply, Queues)


def samples_of(size: tuple[int, int], bits: int = 8) -> Samples:
    """What 4:2:0 in BT.709 means."""
    coding = PlaneCoding(bits, False, (0.2126, 0.0722))
    return Samples(
        size,
        to_rgb=lambda planes: rgb_from_planes(planes, coding),
        from_rgb=lambda rgb: planes_from_rgb(rgb, coding, (2, 2)),
    )


def planes_of(count: int, size: tuple[int, int], seed: int = 0) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    small = (-(-size[0] // 2), -(-size[1] // 2))
    return [
        torch.randint(90, 160, (count, *side), generator=rng, dtype=torch.uint8)
        for side in (size, small, small)
    ]


@pytest.mark.parametrize("options", [{"tile": 64}, {"batch_size": 1}, {}])
def test_a_queued_batch_becomes_what_it_becomes_at_once(options: dict[str, int]) -> None:
    # In tiles and in several parts, too, which are not queued; of a size that has to be padded.
    planes, samples = planes_of(3, (70, 101)), samples_of((70, 101))
    arguments = (options.get("batch_size", 4), options.get("tile", "off"), None, False)
    queued = QueuedApply(network(), CPU, torch.float32, *arguments)
    at_once = samples.from_rgb(queued(samples.to_rgb(planes)))
    fetch = queued.begin(planes, samples)
    queued.begin(planes_of(1, (64, 64)), samples_of((64, 64)))
    assert all(torch.equal(a, b) for a, b in zip(fetch(), at_once, strict=True))


def test_a_result_stays_when_further_batches_follow() -> None:
    # The encoder gets to it later.
    queued = QueuedApply(network(), CPU, torch.float32, 4, "off", None, False)
    samples, batches = samples_of((32, 32)), [planes_of(2, (32, 32), seed) for seed in range(5)]
    results = [queued.begin(planes, samples)() for planes in batches]
    for planes, result in zip(batches, results, strict=True):
        expected = samples.from_rgb(queued(samples.to_rgb(planes)))
        assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_what_is_not_finite_is_told_when_it_is_fetched() -> None:
    broken = network()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    queued = QueuedApply(broken, CPU, torch.float32, 4, "off", None, False)
    fetch = queued.begin(planes_of(1, (32, 32)), samples_of((32, 32)))
    with pytest.raises(RunError, match="not finite"):
        fetch()


class Noted(QueuedApply):
    """Notes what is begun and what is fetched."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(network(), CPU, torch.float32, 4, "off", None, False)
        self.events: list[str] = []
        self.begun, self.fails_at = 0, fails_at

    def begin(self, planes: Sequence[Tensor], samples: Samples) -> Fetch:
        number = self.begun
        self.begun += 1
        self.events.append(f"begin {number}")
        fetch = super().begin(planes, samples)

        def fetched() -> list[Tensor]:
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


@pytest.mark.parametrize(
    ("bits", "matrix", "codec"),
    [
        (8, (0, 65536, 0, -65536, 0, 0, 0, 0, 2**30), "libx264"),  # turned by a quarter
        (10, None, "libx264"),
        (8, None, "ffv1"),
        (8, (-65536, 0, 0, 0, -65536, 0, 0, 0, 2**30), "libx264"),
    ],
)
def test_a_video_of_any_kind_comes_out_the_same_from_its_samples(
    tmp_path: Path, bits: int, matrix: tuple[int, ...] | None, codec: str
) -> None:
    # FFV1 stores G, B and R here, in a size that has to be padded.
    pictures = moving(5, (48, 64), bits)
    if codec == "ffv1":
        pictures = [each.reformat(format="gbrp10le", width=51, height=37) for each in pictures]
    suffix = ".mkv" if codec == "ffv1" else ".mp4"
    how = {"codec": codec, "options": {}} if codec == "ffv1" else {}
    source = write_video(tmp_path / f"clip{suffix}", pictures, matrix=matrix, **how)
    apply = Noted()
    plain = NetworkApply(apply._network, CPU, torch.float32, 4, "off", None, False)
    targets = [tmp_path / f"{name}{suffix}" for name in ("queued", "plain")]
    for each, target in zip((apply, plain), targets, strict=True):
        translate_video(each, source, target, batch_size=2, codec=codec)
    assert apply.begun == 3
    with VideoReader(targets[0]) as one, VideoReader(targets[1]) as other:
        frames = list(zip(one, other, strict=True))
    assert len(frames) == 5
    assert all(torch.equal(a.tensor(), b.tensor()) for a, b in frames)


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
    samples = samples_of((66, 98))
    batches = [planes_of(count, (66, 98), count) for count in (4, 4, 4, 2)]
    at_once = [samples.from_rgb(apply(samples.to_rgb(batch))) for batch in batches]
    fetch, results = apply.begin(batches[0], samples), []
    for batch in batches[1:]:
        following = apply.begin(batch, samples)
        results.append(fetch())
        fetch = following
    results.append(fetch())
    for result, expected in zip(results, at_once, strict=True):
        for a, b in zip(result, expected, strict=True):
            assert (a.int() - b.int()).abs().max() <= 1  # rounded from sums in another order


@ON_GPU
@pytest.mark.parametrize("bits", [8, 10])
def test_a_video_that_stays_on_the_gpu_comes_out_the_same(tmp_path: Path, bits: int) -> None:
    # One of a size that cannot stay there, too.
    device = torch.device("cuda")
    apply = make_apply(network().to(device), device, torch.float32, 4)
    for size in ((240, 320), (241, 321)):
        codec = "libx265" if bits == 10 else "libx264"
        pictures = [each.reformat(width=size[1], height=size[0]) for each in moving(11, size, bits)]
        source = write_video(tmp_path / "clip.mkv", pictures, codec=codec, options={"crf": "20"})
        targets = [tmp_path / f"{decoder}.mkv" for decoder in ("cpu", "nvdec")]
        for target in targets:
            how = {"batch_size": 4, "codec": "ffv1", "overwrite": True}
            translate_video(apply, source, target, decoder=target.stem, **how)  # type: ignore[arg-type]
        with VideoReader(targets[0]) as one, VideoReader(targets[1]) as other:
            frames = list(zip(one, other, strict=True))
        assert len(frames) == 11
        assert all(torch.equal(a.tensor(), b.tensor()) for a, b in frames)
