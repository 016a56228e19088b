"""A translated video keeps all that is not colour: checked against the source, packet by packet."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from cyclegan_media.backbones import build
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.translate.image import make_apply
from cyclegan_media.translate.video import translate_video

CLIPS = [
    "av1_video.mkv",
    "bt709_full_range.mp4",
    "h264_10bits.mp4",
    "h265_10bits.mp4",
    "h265_video.mp4",
    "nasa_13013.mp4",
]


def unchanged(frames: Tensor) -> Tensor:
    return frames


def times(path: Path, stream: int | None = None) -> list[Fraction]:
    with VideoReader(path, stream) as video:
        return [frame.time for frame in video]


def origin(path: Path) -> Fraction:
    with VideoReader(path) as video:
        return video.origin


def packets(path: Path, kind: str) -> list[list[tuple[float, bytes]]]:
    """Time and content of every packet of every stream of this kind."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[float, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.pts is not None and packet.size:
                time = packet.pts * packet.time_base
                found[packet.stream.index].append((float(time), bytes(packet)))
    return list(found.values())


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_keep_times_sound_and_colours(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "video" / name
    target = tmp_path / f"out{source.suffix}"
    limit = 48  # frames that are compared in colour
    result = translate_video(unchanged, source, target, crf=12, preset="veryfast")
    before, after = times(source), times(target)
    assert result.frames == len(before) == len(after)
    assert [float(t) for t in after] == pytest.approx([float(t) for t in before], abs=1e-3)
    with VideoReader(source) as ours, VideoReader(target) as theirs:
        assert (ours.height, ours.width) == (theirs.height, theirs.width)
        assert ours.orientation == theirs.orientation
        # Bits, range and matrix as they take effect: limited range, the default, may go unsaid.
        assert ours.layout.coding == theirs.layout.coding
        assert ours.layout.block == theirs.layout.block
        errors = [
            float((one.tensor() - other.tensor()).double().square().mean())
            for _, one, other in zip(range(limit), ours, theirs, strict=False)
        ]
    assert 10 * np.log10(4 / np.mean(errors)) > 40
    sound_before, sound_after = packets(source, "audio"), packets(target, "audio")
    assert [[data for _, data in track] for track in sound_after] == [
        [data for _, data in track] for track in sound_before
    ]
    for track_before, track_after in zip(sound_before, sound_after, strict=True):
        shift = [a - b for (a, _), (b, _) in zip(track_after, track_before, strict=True)]
        # All by the same amount: the origin of the source, which becomes 0.
        assert shift == pytest.approx([float(-origin(source))] * len(shift), abs=1e-3)


def test_a_real_clip_through_a_resnet(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "video" / "h265_video.mp4"
    network = build({"name": "resnet", "width": 4, "blocks": 9}).eval()
    apply = make_apply(network, torch.device("cpu"), torch.float32, 2)
    target = tmp_path / "out.mp4"
    result = translate_video(apply, source, target, batch_size=2)
    assert result.frames == len(times(source)) == len(times(target))


def make_clip(
    path: Path,
    pts: list[int],
    size: tuple[int, int] = (48, 64),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    with_sound: bool = False,
) -> Path:
    """A clip whose frames stand at ``pts`` thousandths of a second."""
    height, width = size
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options={"crf": "5"})
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        if rotation:
            # 16.16 fixed point, rows of a 3 × 3 matrix whose last column is 2.30
            one, matrix = 1 << 16, {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1)}[rotation]
            a, b, c, d = (one * value for value in matrix)
            video.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        if with_sound:
            audio = out.add_stream("aac", rate=16000)
            audio.codec_context.layout = "mono"
            tone = 0.2 * np.sin(np.arange(16000) / 5).astype(np.float32)
            for start in range(0, 15360, 1024):
                chunk = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
                chunk.sample_rate, chunk.pts = 16000, start
                out.mux(audio.encode(chunk))
            out.mux(audio.encode(None))
        ramp = np.linspace(0, 255, width, dtype=np.uint8)
        for number, at in enumerate(pts):
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[..., 0] = ramp
            pixels[: height // 3, :, 1] = 40 * (number % 6)
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format=pix_fmt)
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def test_uneven_times_stay_to_the_tick(tmp_path: Path) -> None:
    pts = [0, 40, 50, 130, 131, 400, 1000]
    source = make_clip(tmp_path / "vfr.mp4", pts)
    target = tmp_path / "out.mp4"
    translate_video(unchanged, source, target, batch_size=3)
    assert times(source) == [Fraction(at, 1000) for at in pts]
    assert times(target) == times(source)


@pytest.mark.parametrize("size", [(47, 63), (2, 2), (48, 65)])
def test_odd_sizes_are_neither_cropped_nor_padded(size: tuple[int, int], tmp_path: Path) -> None:
    source = make_clip(tmp_path / "odd.mkv", [0, 40, 80], size, codec="ffv1", pix_fmt="bgr0")
    target = tmp_path / "out.mp4"
    translate_video(unchanged, source, target)
    with VideoReader(target) as video:
        assert (video.height, video.width) == size


@pytest.mark.parametrize("rotation", [90, 180])
def test_frames_are_upright_for_the_model_and_the_file_stays_turned(
    rotation: int, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "turned.mp4", [0, 40, 80], rotation=rotation)
    seen: list[tuple[int, ...]] = []

    def look(frames: Tensor) -> Tensor:
        seen.append(tuple(frames.shape[2:]))
        return frames

    target = tmp_path / "out.mp4"
    translate_video(look, source, target)
    assert seen[0] == ((64, 48) if rotation == 90 else (48, 64))
    with VideoReader(source) as ours, VideoReader(target) as theirs:
        assert theirs.display_matrix == ours.display_matrix
        first, second = next(iter(ours)).tensor(), next(iter(theirs)).tensor()
    assert float((first - second).abs().mean()) < 0.05


def test_the_sound_is_copied_bit_for_bit(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", list(range(0, 960, 40)), with_sound=True)
    target = tmp_path / "out.mp4"
    translate_video(unchanged, source, target)
    assert packets(source, "audio")[0]
    assert packets(target, "audio") == packets(source, "audio")


def _failing(at: int) -> Callable[[Tensor], Tensor]:
    done = 0

    def apply(frames: Tensor) -> Tensor:
        nonlocal done
        if done == at:
            raise UserError("the model cannot go on")
        done += 1
        return frames

    return apply


def test_an_error_names_the_frame_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", list(range(0, 800, 40)))
    with pytest.raises(UserError, match=r"a\.mp4: frame 7: the model cannot go on"):
        translate_video(_failing(7), source, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_model_that_changes_the_size_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", [0, 40])
    with pytest.raises(RunError, match="the shape should stay"):
        translate_video(lambda frames: frames[:, :, ::2], source, tmp_path / "out.mp4")


def test_frames_in_flight_do_not_grow_with_the_clip(tmp_path: Path) -> None:
    """No more frames are decoded ahead of the model than the queues hold."""
    source = make_clip(tmp_path / "a.mp4", list(range(0, 12000, 40)))
    decoded, ahead, done = 0, [], 0
    original = VideoReader._frame

    def counted(self: VideoReader, item: object) -> object:
        nonlocal decoded
        decoded += 1
        return original(self, item)  # type: ignore[arg-type]

    def apply(frames: Tensor) -> Tensor:
        nonlocal done
        done += len(frames)
        ahead.append(decoded - done)
        return frames

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoReader, "_frame", counted)
        translate_video(apply, source, tmp_path / "out.mp4", batch_size=2)
    assert done == 300
    # Two batches wait, one is in the decoder's hand, one packet of frames may be under way.
    assert max(ahead) <= 2 * (2 + 2)
