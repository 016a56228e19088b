"""What a translation of a video leaves when something goes wrong, and what it holds in memory."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import av
import pytest
from torch import Tensor
from video_files import moving, same, times, write_video

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoFrame
from cyclegan_media.translate.video import translate_video


def clean(folder: Path) -> bool:
    """Whether no unfinished file lies here, and no thread of a translation runs."""
    names = [thread.name for thread in threading.enumerate()]
    return not list(folder.glob(".*")) and not any("cyclegan-media" in name for name in names)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", moving(30))


def test_frames_in_memory_do_not_grow_with_the_clip(tmp_path: Path) -> None:
    alive: list[int] = []

    def count(frames: Tensor) -> Tensor:
        alive.append(sum(type(found) is VideoFrame for found in gc.get_objects()))
        return frames

    source = write_video(tmp_path / "long.mp4", moving(120, (16, 16)), sound="aac")
    translate_video(count, source, tmp_path / "out.mp4", batch_size=2, preset="ultrafast")
    # Two batches wait before the network and two behind it; three are in work.
    assert max(alive) <= 2 * 7
    assert len(alive) == 60


def test_progress_is_told(tmp_path: Path, clip: Path) -> None:
    told: list[tuple[int, int | None]] = []
    translate_video(
        same, clip, tmp_path / "out.mp4", batch_size=8, progress=lambda *done: told.append(done)
    )
    assert [done for done in told if done[0] % 8 == 0] == [(8, 30), (16, 30), (24, 30)]
    assert told[-1] == (30, 30)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunError("no memory"), ZeroDivisionError()])
def test_an_error_of_the_network_leaves_nothing(
    tmp_path: Path, clip: Path, error: BaseException
) -> None:
    calls = 0

    def fail(frames: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise error
        return frames

    target = tmp_path / "out" / "out.mp4"
    with pytest.raises(type(error)) as caught:
        translate_video(fail, clip, target)
    assert not target.exists()
    assert clean(target.parent)
    text = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    if not isinstance(error, KeyboardInterrupt):
        assert f"{clip}: frame 10" in text


def test_a_network_that_changes_the_shape_is_refused(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(RunError, match=r"clip\.mp4: frame 0: the model makes \(1, 3, 24, 64\)"):
        translate_video(lambda frames: frames[:, :, ::2], clip, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_damage_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "damaged.mp4", moving(60, (96, 128)), options={"crf": "20"})
    with av.open(str(source)) as container:
        entries = [(e.pos, e.size) for e in container.streams.video[0].index_entries]
    data = bytearray(source.read_bytes())
    for position, size in entries[40:44]:
        data[position : position + size] = bytes(size)
    source.write_bytes(data)
    target = tmp_path / "out" / "out.mp4"
    with pytest.raises(RunError, match=r"damaged\.mp4: frame [34]\d cannot be decoded"):
        translate_video(same, source, target)
    assert not target.exists()
    assert clean(target.parent)


def test_an_existing_file_stays_unless_it_may_be_replaced(tmp_path: Path, clip: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        translate_video(same, clip, target)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    with pytest.raises(UserError, match=r"broken\.mp4"):
        translate_video(same, broken, target, overwrite=True)
    assert target.read_bytes() == b"mine"
    translate_video(same, clip, target, overwrite=True)
    assert times(target) == times(clip)


def test_a_file_can_be_replaced_by_its_own_translation(tmp_path: Path, clip: Path) -> None:
    before = times(clip)
    translate_video(same, clip, clip, overwrite=True)
    assert times(clip) == before
    assert clean(tmp_path)
