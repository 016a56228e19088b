"""Frames side by side on a CPU: the same results in the same order, whatever is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from video_files import moving, write_video

from cyclegan_media.backbones import build
from cyclegan_media.errors import CycleganMediaError, RunError
from cyclegan_media.media import VideoReader
from cyclegan_media.pretrained import ModelConfig, PretrainedModel
from cyclegan_media.translate import Translator, engine
from cyclegan_media.translate.engine import Engine
from cyclegan_media.translate.image import NetworkApply, StreamedApply
from cyclegan_media.translate.options import Options
from cyclegan_media.translate.precision import has_int8
from cyclegan_media.translate.quantise import FRAMES
from cyclegan_media.translate.queued import Queues
from cyclegan_media.translate.steady import SteadyApply
from cyclegan_media.translate.streams import StoppedError, Streams, stop_between_layers
from cyclegan_media.translate.video import translate_video
from cyclegan_media.translate.video_plan import plan_video

CPU = torch.device("cpu")
RESNET = {"name": "resnet", "width": 4, "blocks": 1}


@pytest.fixture
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return build({**RESNET, "width": width}).eval()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Streams end with their test; threads of a translation that are left are a fault elsewhere."""
    yield
    while _OPEN:
        _OPEN.pop().__exit__()


_OPEN: list[Streams] = []


def opened(count: int) -> Streams:
    _OPEN.append(Streams(count))
    return _OPEN[-1]


def streamed(net: nn.Module, count: int = 3, tile: Any = "off") -> StreamedApply:
    return StreamedApply(opened(count), net, CPU, torch.float32, 1, tile, None, False)


def plain(net: nn.Module, tile: Any = "off") -> NetworkApply:
    return NetworkApply(net, CPU, torch.float32, 1, tile, None, False)


def test_each_stream_has_its_share_of_the_cores(two_cores: None) -> None:
    for count, share in ((2, 1), (1, 2), (4, 1)):
        streams = opened(count)
        meet = threading.Barrier(count)

        def seen(meet: threading.Barrier = meet) -> tuple[str, int]:
            meet.wait(10)  # so that each of them takes one
            return threading.current_thread().name, torch.get_num_threads()

        results = [streams.begin(seen, threading.Event()) for _ in range(count)]
        found = [result() for result in results]
        assert len({name for name, _ in found}) == count
        assert [threads for _, threads in found] == [share] * count
        assert torch.get_num_threads() == 2
    late: list[int] = []
    thread = threading.Thread(target=lambda: late.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert late == [2]


@pytest.mark.parametrize(("count", "tile"), [(1, "off"), (2, "off"), (3, "off"), (2, 64)])
def test_a_video_comes_out_the_same_side_by_side(
    tmp_path: Path, count: int, tile: int | str
) -> None:
    source = write_video(tmp_path / "clip.mp4", moving(11, (66, 70)), sound="aac")
    net = network()
    apply = streamed(net, count, tile)
    assert isinstance(apply, Queues)
    translate_video(apply, source, tmp_path / "streams.mp4")
    translate_video(plain(net, tile), source, tmp_path / "plain.mp4")
    assert (tmp_path / "streams.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


def test_pictures_come_back_in_order() -> None:
    net, pictures = network(), torch.rand(7, 3, 40, 52) * 2 - 1
    assert torch.equal(streamed(net)(pictures), plain(net)(pictures))


def test_as_many_frames_are_under_way_as_there_are_streams(tmp_path: Path) -> None:
    meet = threading.Barrier(3)

    class Meets(nn.Module):
        """Goes on once all three streams are here."""

        minimum = multiple = 1
        modality = "image"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            meet.wait(20)
            return x

    source = write_video(tmp_path / "clip.mp4", moving(6))
    result = translate_video(streamed(Meets()), source, tmp_path / "out.mp4")
    assert result.frames == 6


def test_what_fails_in_a_stream_is_named_by_its_frame(tmp_path: Path) -> None:
    class Fails(nn.Module):
        minimum = multiple = 1
        modality = "image"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # By its content, since streams take frames as they come.
            return x * float("nan") if x[0, 0, 8, 15] > 0.7 else x

    pictures = moving(8)
    source, target = write_video(tmp_path / "clip.mp4", pictures), tmp_path / "out.mp4"
    with VideoReader(source) as video:
        wanted = next(f.number for f in video if f.tensor()[0, 8, 15] > 0.7)
    assert wanted > 0
    with pytest.raises(RunError, match=rf"clip\.mp4: frame {wanted}: .* not finite"):
        translate_video(streamed(Fails()), source, target)
    assert not target.exists()


def test_a_stream_that_is_stopped_computes_no_further_layer() -> None:
    reached, wait, calls = threading.Event(), threading.Event(), []

    class Waits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            reached.set()
            assert wait.wait(20)
            return x

    class Noted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return x

    layers = nn.Sequential(Noted(), Waits(), Noted())
    stop_between_layers(layers)
    streams, stop = opened(1), threading.Event()
    running = streams.begin(lambda: layers(torch.zeros(1)), stop)
    waiting = streams.begin(lambda: calls.append(2), stop)
    assert reached.wait(20)
    stop.set()
    wait.set()
    for result in (running, waiting):
        with pytest.raises(StoppedError):
            result()
    assert calls == [1]
    # Others go on.
    assert streams.begin(lambda: layers(torch.ones(1)), threading.Event())() == 1


def test_a_failure_stops_what_was_begun(tmp_path: Path) -> None:
    source, apply = write_video(tmp_path / "clip.mp4", moving(9)), streamed(network())
    with pytest.raises(CycleganMediaError):
        translate_video(apply, source, tmp_path / "out.mp4", codec="h264", crf=18, progress=_fail)
    with pytest.raises(StoppedError):
        apply(torch.zeros(1, 3, 32, 32))


def _fail(done: int, total: int | None) -> None:
    if done == 2:
        raise RunError("enough")


def translator(precision: Any = "fp32", width: int = 4) -> Translator:
    model = PretrainedModel(
        ModelConfig(modality="image", generators={"a2b": {**RESNET, "width": width}}),
        {"a2b": network(width)},  # type: ignore[dict-item]
    )
    return Translator(model, device="cpu", precision=precision)


@pytest.mark.skipif(not has_int8(), reason="this processor multiplies no int8")
def test_int8_takes_its_ranges_from_the_same_frames(two_cores: None, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", moving(FRAMES + 6))
    made = []
    for k in range(3):
        target = tmp_path / f"{k}.mp4"
        translator("int8", width=8).translate(source, target)
        made.append(target.read_bytes())
    assert made[0] == made[1] == made[2]
    assert not [t.name for t in threading.enumerate() if "cyclegan-media" in t.name]


def test_a_steady_video_is_the_same_with_several_frames_at_once(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    source, net = write_video(tmp_path / "clip.mp4", moving(7)), network()
    ways = {"one": (plain(net), 1), "many": (streamed(net), 3)}
    for name, (apply, at_once) in ways.items():
        steady, target = SteadyApply(apply, 0.5), tmp_path / f"{name}.mp4"
        translate_video(steady, source, target, batch_size=at_once)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "many.mp4").read_bytes()


def test_the_plan_is_by_cores_memory_and_wish(
    two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_video(tmp_path / "clip.mp4", moving(2))
    on_cpu, net = Engine(CPU, "fp32"), network()

    def count(**options: Any) -> int:
        with plan_video(on_cpu, net, Options(**options), source) as plan:  # type: ignore[arg-type]
            assert plan.batch_size == 1
            return plan.at_once

    assert [count(), count(batch_size=1), count(batch_size=2), count(batch_size=9)] == [2, 1, 2, 2]
    compiled = plan_video(on_cpu, net, Options(compile=True), source)  # type: ignore[arg-type]
    assert (compiled.compiled, compiled.streams) == (True, None)
    needs = 48 * 64 * engine.bytes_per_pixel(net, CPU)  # type: ignore[arg-type]
    monkeypatch.setattr(engine, "available_memory", lambda device: 2.5 * needs)
    assert count() == 1  # two would take more than half of it
    monkeypatch.setattr(engine, "available_memory", lambda device: 5 * needs)
    assert count() == 2


LAYERS = """
import resource, sys, threading
import torch
from cyclegan_media.translate.allocator import keep_freed_memory

torch.set_num_threads(1)
print(keep_freed_memory() if sys.argv[1] == "kept" else True)

def frames():
    for frame in range(12):
        if frame == 2:  # by then all memory was had once
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        picture = torch.zeros(4, 256, 256)
        for width in (64, 32, 16, 64, 32, 16):
            picture = torch.zeros(width, 256, 256) + picture[0]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=frames)
thread.start()
thread.join()
"""


def test_freed_memory_is_kept_for_the_next_frame() -> None:
    """Else the system clears the pages of a layer's result anew at every layer."""
    cleared = {}
    for way in ("as it is", "kept"):
        run = [sys.executable, "-c", LAYERS, way]
        result = subprocess.run(run, check=True, capture_output=True, text=True)
        asked, pages = result.stdout.split()
        if asked == "False":
            pytest.skip("the C library is not glibc")
        cleared[way] = int(pages)
    assert cleared["kept"] < cleared["as it is"] / 10, cleared
