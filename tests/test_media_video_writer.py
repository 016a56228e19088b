"""Writing videos: what each container can hold, and what is told and refused where it cannot."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from video_files import moving, packets, picture, write_video

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoFrame, VideoReader, VideoWriter
from cyclegan_media.media.video_encoder import encoder_options


def rewrite(source: Path, target: Path, **options: object) -> tuple[str, ...]:
    """Write the frames of ``source`` as they are, and all else of it; what was told."""
    with VideoReader(source) as video:
        with VideoWriter(target, video, **options) as writer:  # type: ignore[arg-type]
            for item in video.demux(writer.tracks):
                if isinstance(item, VideoFrame):
                    writer.write(item, item.tensor())
                else:
                    writer.copy(item)
        return writer.messages


def kinds(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [
            (s.type, s.codec_context.codec.canonical_name if s.codec_context else "")
            for s in container.streams
        ]


def texts(path: Path) -> list[tuple[float, float, str]]:
    """Start, duration and words of the subtitles."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            shown = stream.codec_context.decode2(packet) if packet.size else None
            for text in shown or ():
                start = float(packet.pts * packet.time_base)
                duration = float(packet.duration * packet.time_base)
                found.append((start, duration, text.dialogue.decode().strip()))
    return found


def sound(path: Path) -> tuple[float, np.ndarray]:
    """When the sound begins to be heard, in seconds, and its samples ``(n,)`` from then on."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
        start = float(frames[0].pts * frames[0].time_base)
        to_float = av.AudioResampler(format="fltp")
        samples = np.concatenate([p.to_ndarray()[0] for f in frames for p in to_float.resample(f)])
        rate = frames[0].sample_rate
    first = int(np.argmax(np.abs(samples) > 0.05))
    return start + first / rate, samples[first:]


SUBTITLES = [(0.1, 0.3, "Text 0"), (0.7, 0.3, "Text 1")]


# ---------------------------------------------------------------------------- other tracks


@pytest.mark.parametrize(
    ("first", "second", "suffix", "becomes"),
    [
        ("mov_text", ".mp4", ".mkv", "subrip"),
        ("mov_text", ".mp4", ".webm", "webvtt"),
        ("ass", ".mkv", ".mp4", "mov_text"),
        ("subrip", ".mkv", ".mov", "mov_text"),
        ("ass", ".mkv", ".mkv", "ass"),
    ],
)
def test_subtitles_are_copied_or_brought_into_another_notation(
    tmp_path: Path, first: str, second: str, suffix: str, becomes: str
) -> None:
    source = write_video(tmp_path / f"source{second}", moving(30), subtitles=first)
    target = tmp_path / f"target{suffix}"
    messages = rewrite(source, target)
    assert ("subtitle", becomes) in kinds(target)
    assert texts(target) == SUBTITLES
    with av.open(str(target)) as container:
        assert container.streams.subtitles[0].language == "spa"
    told = f"subtitle track 1 is encoded anew as {becomes}"
    assert any(told in message for message in messages) == (first != becomes)
    if first == becomes:
        assert packets(target, 1) == packets(source, 1)


def test_subtitles_that_nothing_can_hold_are_left_out(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", moving(5), subtitles="mov_text")
    messages = rewrite(source, tmp_path / "target.ts")
    assert kinds(tmp_path / "target.ts") == [("video", "h264")]
    assert "subtitle track 1 is left out: mpegts cannot hold mov_text" in messages


@pytest.mark.parametrize(
    ("codec", "source", "target", "becomes"),
    [
        ("aac", ".mp4", ".mkv", "aac"),
        ("aac", ".mp4", ".ts", "aac"),
        ("libopus", ".mkv", ".mp4", "opus"),
        ("flac", ".mkv", ".mp4", "flac"),
        ("aac", ".mp4", ".webm", "opus"),
        ("flac", ".mkv", ".mov", "aac"),
        ("pcm_s16le", ".mkv", ".ts", "aac"),
    ],
)
def test_sound_is_copied_or_encoded_anew_in_step(
    tmp_path: Path, codec: str, source: str, target: str, becomes: str
) -> None:
    start = Fraction(1, 4)
    one = write_video(tmp_path / f"source{source}", moving(30), sound=codec, sound_start=start)
    other = tmp_path / f"target{target}"
    messages = rewrite(one, other)
    assert kinds(other)[1] == ("audio", becomes)
    anew = any("is encoded anew" in message for message in messages)
    assert anew == (codec.removeprefix("lib") != becomes)
    (begin, before), (began, after) = sound(one), sound(other)
    with VideoReader(one) as a, VideoReader(other) as b:
        moved = next(iter(b)).time - next(iter(a)).time
        origin = float(b.origin)
    # To the picture; a millisecond is what Matroska rounds to.
    assert began - origin - float(moved) == pytest.approx(begin, abs=0.0021)
    assert len(after) == pytest.approx(len(before), rel=0.05)
    length = min(len(before), len(after)) - 3000
    error = before[1000:length] - after[1000:length]
    # A lag of one sample of this tone alone makes an error of 0.02.
    assert np.sqrt(np.mean(error**2)) < (0.04 if anew else 1e-6)
    if not anew and target != ".ts":
        # All that is heard: MP4 hides what only gets the decoder going.
        heard = [packet[0] for packet in packets(one, 1) if packet[1] >= 0]
        assert [packet[0] for packet in packets(other, 1)][-len(heard) :] == heard


def test_fonts_are_kept_where_there_is_a_place_for_them(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mkv", moving(3), subtitles="ass")
    source = tmp_path / "source.mkv"
    with av.open(str(plain)) as read, av.open(str(source), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in read.streams}
        out.add_attachment("letters.ttf", "application/x-truetype-font", b"font" * 50)
        for packet in read.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    rewrite(source, tmp_path / "target.mkv")
    with av.open(str(tmp_path / "target.mkv")) as container:
        (font,) = container.streams.attachments
        assert (font.name, font.data) == ("letters.ttf", b"font" * 50)
    messages = rewrite(source, tmp_path / "target.mp4")
    assert "attachment track 2 is left out: mp4 cannot hold it" in messages
    assert [kind for kind, _ in kinds(tmp_path / "target.mp4")] == ["video", "subtitle"]


def test_a_cover_picture_is_left_out(tmp_path: Path) -> None:
    source = write_video(tmp_path / "cover.mp4", moving(3), cover=True)
    messages = rewrite(source, tmp_path / "target.mp4")
    assert messages == ("video track 1 is left out",)


def test_what_mp4_hides_before_the_beginning_does_not_delay_the_picture(tmp_path: Path) -> None:
    source = write_video(tmp_path / "talk.mp4", moving(30), sound="aac")
    hidden = [packet for packet in packets(source, 1) if packet[1] < 0]
    assert len(hidden) == 1
    messages = rewrite(source, tmp_path / "target.mkv")
    assert messages == ("matroska cannot hide what lies before 0; it is left out",)
    with VideoReader(tmp_path / "target.mkv") as video:
        assert [frame.time for frame in video] == [Fraction(k, 25) for k in range(30)]
    kept = packets(source, 1)[1:]
    assert [packet[0] for packet in packets(tmp_path / "target.mkv", 1)] == [p[0] for p in kept]


def test_times_that_are_rounded_are_told(tmp_path: Path) -> None:
    stamps = [0, 512, 700]
    source = write_video(tmp_path / "vfr.mp4", moving(3), times=stamps)
    assert rewrite(source, tmp_path / "target.mkv") == ("matroska rounds times to 1/1000 s",)
    with VideoReader(tmp_path / "target.mkv") as video:
        assert [frame.time for frame in video] == [0, Fraction(40, 1000), Fraction(55, 1000)]
    even = write_video(tmp_path / "even.mp4", moving(3))
    assert rewrite(even, tmp_path / "target.mkv") == ()


# ---------------------------------------------------------------------------- codecs


@pytest.mark.parametrize(
    ("codec", "suffix", "bits", "stored"),
    [
        ("h264", ".mp4", 10, "yuv420p10le"),
        ("hevc", ".mp4", 10, "yuv420p10le"),
        ("libsvtav1", ".mp4", 10, "yuv420p10le"),
        ("libvpx-vp9", ".webm", 8, "yuv420p"),
        ("prores_ks", ".mov", 8, "yuv422p10le"),
        ("ffv1", ".mkv", 10, "yuv420p10le"),
        ("mpeg4", ".mp4", 8, "yuv420p"),
        ("mjpeg", ".mov", 8, "yuv420p"),
        ("libx264rgb", ".mp4", 8, "gbrp"),
        (None, ".webm", 8, "yuv420p"),
        (None, ".ogv", 8, "yuv420p"),
        (None, ".avi", 8, "yuv420p"),
    ],
)
def test_codecs_keep_the_picture(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    codec: str | None,
    suffix: str,
    bits: int,
    stored: str,
) -> None:
    colours = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}
    source = write_video(tmp_path / "source.mp4", moving(4, (96, 128), bits), colours=colours)
    target = tmp_path / f"target{suffix}"
    rewrite(source, target, codec=codec)
    with VideoReader(source) as before, VideoReader(target) as after:
        assert after.layout.format == stored
        pairs = [(a.tensor(), b.tensor()) for a, b in zip(before, after, strict=True)]
    error = max(float((a - b).square().mean()) for a, b in pairs)
    assert 10 * np.log10(4 / error) > 33
    # A wrong matrix or range moves colours by several steps of 255.
    assert max(float((a - b).mean((1, 2)).abs().max()) for a, b in pairs) < 4 / 255
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_clips_may_be_as_short_as_a_frame(tmp_path: Path, codec: str, count: int) -> None:
    source = write_video(tmp_path / "source.mp4", moving(count, (96, 128)))
    rewrite(source, tmp_path / "target.mp4", codec=codec)
    with VideoReader(tmp_path / "target.mp4") as video:
        assert [frame.time for frame in video] == [Fraction(k, 25) for k in range(count)]
        assert video.duration == Fraction(count, 25)


def test_a_smaller_rate_factor_is_a_better_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128)).astype(np.uint8)
    source = write_video(tmp_path / "source.mp4", [picture([noise, *[noise[::2, ::2]] * 2])] * 2)
    sizes = []
    for crf in (10, 30):
        target = tmp_path / f"{crf}.mp4"
        rewrite(source, target, crf=crf, preset="veryfast")
        sizes.append(target.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_bits_that_a_codec_cannot_hold_are_told(tmp_path: Path) -> None:
    source = write_video(tmp_path / "deep.mp4", moving(2, bits=10))
    messages = rewrite(source, tmp_path / "target.mp4", codec="mpeg4")
    assert messages == ("10 bits become 8 in codec mpeg4",)


def test_what_hdr_says_of_its_display_is_told_to_be_left_out(tmp_path: Path) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    options = {"x264-params": f"mastering-display={display}:cll=1000,400"}
    colours = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    source = write_video(tmp_path / "hdr.mp4", moving(2, bits=10), options=options, colours=colours)
    messages = rewrite(source, tmp_path / "target.mp4", codec="hevc")
    assert "the mastering display of HDR is left out" in messages
    assert "the light level of HDR is left out" in messages
    with VideoReader(source) as before, VideoReader(tmp_path / "target.mp4") as after:
        assert after.tags == before.tags


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", {}, r"a\.xyz: \.xyz names no format that videos are written in"),
        ("noname", {}, "noname: a name without suffix names no format"),
        ("a.mxf", {}, r"a\.mxf: this format cannot hold"),
        ("a.gif", {}, r"a\.gif: this format cannot hold"),
        ("a.mp4", {"codec": "h265x"}, "codec h265x: FFmpeg has no such video encoder"),
        ("a.mp4", {"codec": "aac"}, "codec aac: FFmpeg has no such video encoder"),
        ("a.mp4", {"codec": "libvpx"}, r"a\.mp4: this format cannot hold codec libvpx"),
        ("a.webm", {"codec": "h264"}, r"a\.webm: this format cannot hold codec h264"),
        ("a.mp4", {"preset": "sideways"}, "codec libx264 refuses .*preset sideways.*"),
        ("a.mp4", {"codec": "av1", "crf": 99}, "codec libsvtav1 refuses .*crf 99"),
        ("a.mov", {"codec": "prores_ks", "crf": 20}, "crf: codec prores_ks has none"),
        ("a.mkv", {"codec": "ffv1", "preset": "slow"}, "preset: codec ffv1 has none"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, name: str, options: dict[str, object], message: str
) -> None:
    source = write_video(tmp_path / "source.mp4", moving(2))
    before = _open_files()
    with pytest.raises(UserError, match=message) as caught:
        rewrite(source, tmp_path / name, **options)
    assert "\n" not in str(caught.value)
    assert _open_files() == before


NVENC = pytest.mark.skipif(
    "h264_nvenc" not in av.codecs_available, reason="FFmpeg was built without NVENC"
)


@NVENC
@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc", "av1_nvenc"])
def test_nvenc_takes_the_rate_factor_for_its_quality(codec: str) -> None:
    options = encoder_options(codec, "mp4", 23.5, "p5")
    assert options == {"preset": "p5", "rc": "vbr", "cq": "23.5"}
    # Else it would be told a quantiser that is next to lossless.
    assert 0 < float(encoder_options(codec, "mp4", None, None)["cq"]) < 30
    with pytest.raises(UserError, match=f"crf 0: leaves the quality to codec {codec}"):
        encoder_options(codec, "mp4", 0, None)


@NVENC
@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there may be an NVENC here")
@pytest.mark.parametrize("options", [{}, {"crf": 20, "preset": "p5"}, {"preset": "sideways"}])
def test_an_encoder_without_its_hardware_is_refused_in_one_sentence(
    tmp_path: Path, options: dict[str, object]
) -> None:
    source = write_video(tmp_path / "source.mp4", moving(2))
    message = "codec h264_nvenc: the hardware that it needs cannot be used here: .*; try h264"
    with pytest.raises(UserError, match=message) as caught:
        rewrite(source, tmp_path / "out.mp4", codec="h264_nvenc", **options)
    assert "\n" not in str(caught.value)


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


# ---------------------------------------------------------------------------- failures


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_told_with_the_frame(tmp_path: Path, suffix: str) -> None:
    rng = torch.Generator().manual_seed(0)
    source = write_video(tmp_path / "source.mp4", moving(60, (96, 128)))
    target = tmp_path / f"target{suffix}"
    target.symlink_to("/dev/full")
    noise = [torch.rand(3, 96, 128, generator=rng) * 2 - 1 for _ in range(60)]
    with VideoReader(source) as video, pytest.raises(RunError) as caught:
        _write_all(video, noise, target, crf=1, preset="ultrafast", name="final.mp4")
    text = str(caught.value)
    assert text.startswith("final.mp4: the disk is full while ")
    assert "frame" in text or "beginning" in text


def test_a_writer_that_is_left_by_an_error_stops_at_once(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", moving(10))
    target = tmp_path / "target.mp4"
    with VideoReader(source) as video:
        pictures = (frame.tensor() * (1 // (5 - frame.number)) for frame in video)
        with pytest.raises(ZeroDivisionError):
            _write_all(video, pictures, target)
    with pytest.raises(UserError):
        VideoReader(target)


def _write_all(
    video: VideoReader, pictures: Iterable[torch.Tensor], target: Path, **options: object
) -> None:
    with VideoWriter(target, video, **options) as writer:  # type: ignore[arg-type]
        for frame, rgb in zip(video, pictures, strict=True):
            writer.write(frame, rgb)


def test_a_clip_becomes_the_same_bytes_each_time(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    blocks = np.kron(random.integers(0, 256, (16, 16)), np.ones((8, 8)))
    clip = []
    for k in range(16):
        seen = blocks[k : k + 64, 2 * k : 2 * k + 64] + random.normal(0, 4, (64, 64))
        luma = seen.clip(0, 255).astype(np.uint8)
        clip.append(picture([luma, luma[::2, ::2], luma[1::2, 1::2]]))
    source, target = write_video(tmp_path / "source.mp4", clip), tmp_path / "target.mp4"
    made = set()
    for _ in range(60):
        # The encoder's memory lies where these were.
        sizes = random.integers(1_000, 400_000, 60)
        remains = [np.full(size, random.integers(1, 256), np.uint8) for size in sizes]
        del remains
        with VideoReader(source) as video, VideoWriter(target, video) as writer:
            for frame in video:
                writer.keep(frame)
        made.add(target.read_bytes())
    assert len(made) == 1
