"""Videos that are damaged, truncated, or no videos: each is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_files import LOSSLESS, moving, plain, write_video

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoReader


def first_pixel(path: Path) -> list[int]:
    with VideoReader(path) as video:
        pixels = next(iter(video)).pixels
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].tolist()


def test_files_that_are_no_videos_are_refused(tmp_path: Path, shared_tone: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video, but it says so at length\n" * 100)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    png = tmp_path / "picture.mp4"
    plain((81, 90, 240)).to_image().save(png, format="png")
    for name, message in {
        "missing.mp4": "there is no such file",
        "": "is a folder where a file is needed",
        "empty.mp4": "is empty",
        "text.mp4": "is damaged or not a video",
        "zeros.mp4": "is damaged or not a video",
        "picture.mp4": "is not a video but",
        "tone.mp4": "holds no video, only audio",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            VideoReader(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def shared_tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for k in range(5):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, 1024 * k
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        out.start_encoding()
    with pytest.raises(UserError, match=r"none\.mp4: holds no (video|frame)"):
        VideoReader(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_files_are_refused_at_once(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_video(tmp_path / f"whole{suffix}", moving(30))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"cut\.m..: is (truncated|damaged)"):
        VideoReader(cut)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_damage_in_the_middle_names_the_frame(tmp_path: Path, codec: str) -> None:
    path = write_video(
        tmp_path / "damaged.mp4",
        moving(40, (96, 128)),
        codec=codec,
        options={"crf": "20", "x265-params": "log-level=none"},
    )
    with av.open(str(path)) as container:
        entries = [(e.pos, e.size, e.timestamp) for e in container.streams.video[0].index_entries]
    data = bytearray(path.read_bytes())
    for position, size, _ in entries[20:24]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    read: list[int] = []
    with VideoReader(path) as video, pytest.raises(RunError) as caught:
        read.extend(frame.number for frame in video)
    assert f"damaged.mp4: frame {len(read)} cannot be decoded" in str(caught.value)
    assert 15 <= len(read) <= 24


def test_an_undamaged_start_is_not_needed(tmp_path: Path) -> None:
    # A recording of a broadcast begins anywhere between two key frames.
    options = {"crf": "20", "g": "10", "sc_threshold": "0", "bf": "0"}
    path = write_video(tmp_path / "whole.ts", moving(30), options=options)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(path.read_bytes()[188 * 20 :])
    with VideoReader(cut) as video:
        count = sum(1 for _ in video)
    assert 10 <= count < 30


def test_a_file_cannot_make_us_read_another(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.ts", moving(5))
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match=r"list\.mp4: is (not a video|damaged)"):
        VideoReader(playlist)
    concat = tmp_path / "concat.mp4"
    concat.write_text("ffconcat version 1.0\nfile secret.ts\n")
    with pytest.raises(UserError, match=r"concat\.mp4: is (not a video|damaged)"):
        VideoReader(concat)


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    path = write_video(tmp_path / "plain.mp4", moving(2)).rename(tmp_path / "pipe:0.mp4")
    with VideoReader(path) as video:
        assert len(list(video)) == 2


def test_lossless_options_are_lossless(tmp_path: Path) -> None:
    """What the other tests rest on."""
    pictures = moving(3)
    path = write_video(tmp_path / "exact.mp4", pictures, options=LOSSLESS)
    with VideoReader(path) as video:
        for made, frame in zip(pictures, video, strict=True):
            for plane, read in zip(made.planes, frame.planes(), strict=True):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
                np.testing.assert_array_equal(rows, read.numpy())
