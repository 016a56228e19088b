"""Media made to harm who opens them: each is refused in one sentence, and before it does."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
from batch_files import tiny_model
from video_files import LOSSLESS, moving, plain, write_video

from cyclegan_media import load
from cyclegan_media.cli import main
from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media import (
    Image,
    VideoReader,
    read_audio,
    read_image,
    write_audio,
    write_image,
)
from cyclegan_media.media.info import describe_media
from cyclegan_media.media.limits import MAX_FRAME_VARIABLE, MAX_HOURS_VARIABLE
from cyclegan_media.media.sound_track import SoundReader


def refused(read: Callable[[], object], *said: str) -> None:
    with pytest.raises(CycleganMediaError) as caught:
        read()
    assert "\n" not in str(caught.value)
    for part in said:
        assert part in str(caught.value)


def tone(seconds: float = 0.2, rate: int = 16000) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * rate)) / 9)).astype(np.float32)


PROGRAM = """\
%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 4 4
%%EndComments
(executed) (w) file closefile
showpage
%%EOF
"""


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_postscript_program_is_no_picture(name: str, tmp_path: Path) -> None:
    """Pillow hands EPS to Ghostscript, which runs it."""
    path = tmp_path / name
    path.write_text(PROGRAM)
    refused(lambda: read_image(path), f"{path}: is not a picture of a format that can be read")
    refused(lambda: describe_media(path), f"{path}: is not a picture")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("concat", "ffconcat version 1.0\nfile secret.wav\n"),
        ("hls", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("address", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost:9/a.ts\n"),
        ("sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
        (
            "dash",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
            "<Period><AdaptationSet><Representation><BaseURL>secret.wav</BaseURL>"
            "</Representation></AdaptationSet></Period></MPD>",
        ),
    ],
)
def test_a_recording_cannot_make_us_read_another(name: str, content: str, tmp_path: Path) -> None:
    write_audio(tmp_path / "secret.wav", tone(), 16000)
    for suffix in (".m4a", ".wav", ".mp4", ".ogg"):
        path = tmp_path / f"{name}{suffix}"
        path.write_text(content)
        refused(lambda path=path: read_audio(path), str(path))  # type: ignore[misc]
        refused(lambda path=path: describe_media(path), str(path))  # type: ignore[misc]


def test_names_of_deep_pictures_are_no_patterns(tmp_path: Path) -> None:
    """FFmpeg, which reads 16 bits, takes %d for the numbers of a sequence."""
    for k, value in enumerate((1000, 60000)):
        pixels = np.full((8, 8, 3), value, np.uint16)
        write_image(tmp_path / ("a0.png", "a%d.png")[k], Image(pixels))
    assert read_image(tmp_path / "a%d.png").pixels.max() == 60000
    (tmp_path / "a%d.png").rename(tmp_path / "concat:a0.png|b.png")
    assert read_image(tmp_path / "concat:a0.png|b.png").pixels.max() == 60000


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(path: Path, size: tuple[int, int], *chunks: tuple[bytes, bytes], depth: int = 8) -> Path:
    header = struct.pack(">IIBBBBB", *size, depth, 2, 0, 0, 0)
    pieces = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*piece) for piece in pieces))
    return path


def tiff(path: Path, width: int, height: int) -> Path:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 99)]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4))
    return path


def jpeg(path: Path, width: int, height: int) -> Path:
    PIL.Image.new("RGB", (8, 8)).save(path, "JPEG")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    path.write_bytes(content)
    return path


def webp(path: Path, width: int, height: int) -> Path:
    size = (width - 1) | ((height - 1) << 14)
    data = b"\x2f" + struct.pack("<I", size) + bytes(30)
    content = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: png(folder / "a.png", (2**31 - 1, 2**31 - 1)),
        lambda folder: png(folder / "a.png", (40_000, 40_000), depth=16),
        lambda folder: tiff(folder / "a.tif", 2**31 - 1, 2**31 - 1),
        lambda folder: tiff(folder / "a.tif", 60_000, 60_000),
        lambda folder: jpeg(folder / "a.jpg", 65_500, 65_500),
        lambda folder: webp(folder / "a.webp", 16_384, 16_384),
    ],
    ids=["png", "deep png", "tiff", "large tiff", "jpeg", "webp"],
)
def test_pictures_that_claim_to_be_huge(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    refused(lambda: read_image(path), f"{path}: ", "megapixels", "CYCLEGAN_MEDIA_MAX_MEGAPIXELS")


def test_a_text_that_unpacks_to_fill_the_memory(tmp_path: Path) -> None:
    bomb = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    path = png(tmp_path / "a.png", (4, 4), (b"zTXt", bomb))
    refused(lambda: read_image(path), f"{path}: is damaged")


@pytest.mark.parametrize("kind", ["entities", "a file's content", "depth"])
def test_tags_that_harm_who_parses_them(kind: str, tmp_path: Path) -> None:
    begin = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>'
    entities = '<!ENTITY a0 "xxxxxxxxxx">' + "".join(
        f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10)
    )
    (tmp_path / "secret").write_text("dear reader")
    secret = f'<!ENTITY e SYSTEM "file://{tmp_path}/secret">'
    packet = {
        "entities": f"<!DOCTYPE x [{entities}]>{begin}&a9;</a></x:xmpmeta>",
        "a file's content": f"<!DOCTYPE x [{secret}]>{begin}&e;</a></x:xmpmeta>",
        "depth": f"{begin}{'<b>' * 5000}{'</b>' * 5000}</a></x:xmpmeta>",
    }[kind]
    tags = PIL.PngImagePlugin.PngInfo()
    tags.add_itxt("XML:com.adobe.xmp", packet)
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=tags)
    load(tiny_model(tmp_path / "model"), device="cpu").translate(
        tmp_path / "a.png", tmp_path / "b.png"
    )
    described = describe_media(tmp_path / "b.png")
    assert [record["source"] for record in described["synthetic"]] == ["horse"]
    assert b"dear reader" not in (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "b.png").stat().st_size < 100_000


def test_a_video_of_huge_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [plain((90, 9, 9), (512, 512))] * 2
    path = write_video(tmp_path / "a.mp4", frames, options=LOSSLESS)
    monkeypatch.setenv(MAX_FRAME_VARIABLE, "0.2")
    said = (f"{path}: its frames of 512 × 512 pixels", "0.2 megapixels", MAX_FRAME_VARIABLE)
    refused(lambda: VideoReader(path), *said)
    monkeypatch.setenv(MAX_FRAME_VARIABLE, "0.27")
    with VideoReader(path) as video:
        assert len(list(video)) == 2


def test_frames_that_grow_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's header states the size of the first ones."""
    small = write_video(tmp_path / "a.ts", moving(3, (32, 32)), options=LOSSLESS)
    large = write_video(tmp_path / "b.ts", [plain((90, 9, 9), (512, 512))] * 3, options=LOSSLESS)
    path = tmp_path / "c.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    monkeypatch.setenv(MAX_FRAME_VARIABLE, "0.01")

    def read() -> None:
        with VideoReader(path) as video:
            for _ in video:
                pass

    refused(read, str(path))


def wav(path: Path, rate: int, samples: int = 4000, channels: int = 1) -> Path:
    data = b"\1\2" * (samples * channels)
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * 2 * channels) % 2**32, 2, 16)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return path


@pytest.mark.parametrize("rate", [0, 1, 999, 1_000_001, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("suffix", [".wav", ".mka"])
def test_absurd_sample_rates(rate: int, suffix: str, tmp_path: Path) -> None:
    """One sample a second would become gigabytes at 16 kHz."""
    path = wav(tmp_path / f"a{suffix}", rate)
    refused(lambda: read_audio(path, sample_rate=16000), f"{path}: ")


def test_the_lowest_and_the_highest_rate_are_read(tmp_path: Path) -> None:
    for rate in (1_000, 1_000_000):
        read = read_audio(wav(tmp_path / "a.wav", rate), sample_rate=16000)
        assert read.samples.shape == (1, -(-4000 * 16000 // rate))


def test_a_flac_file_that_claims_days(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, tone(), 16000)
    content = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of depth, 36 of the number of samples.
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    refused(lambda: read_audio(path), f"{path}: is longer than recordings may be", "raise")


def test_sound_after_an_endless_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time stamp days later would be days of zeros."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000)
        for pts in (0, 16000 * 3600 * 24 * 20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 16000, pts
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    begin = time.monotonic()
    refused(lambda: list(SoundReader(path)), f"{path}: its sound is interrupted for 480 hours")
    assert time.monotonic() - begin < 30  # hours, were the silence made
    refused(lambda: list(SoundReader(path)), MAX_HOURS_VARIABLE)


def test_sound_that_changes_on_the_way(tmp_path: Path) -> None:
    """A stream of MPEG frames, of which each states its own rate and channels."""
    first, second = tmp_path / "mono.mp3", tmp_path / "stereo.mp3"
    write_audio(first, tone(0.5), 16000)
    write_audio(second, np.stack([tone(0.5, 48000)] * 2), 48000)
    path = tmp_path / "a.mp3"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    refused(lambda: read_audio(path), f"{path}: its sound changes its rate or its channels")
    refused(lambda: list(SoundReader(path)), f"{path}: its sound")


def test_a_codec_that_nobody_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", moving(3), sound="aac", tags={"title": "\x1b[2Jx"})
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
    assert [one["codec"] for one in describe_media(path)["streams"]] == [None, "aac"]
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "unknown codec" in said
    assert "\\x1b[2Jx" in said  # as text, not as a command to the terminal
    refused(lambda: VideoReader(path), f"{path}: its video is coded in a way")


def test_limits_that_are_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", moving(2))
    for text in ("much", "nan", "-1", "0", "inf"):
        monkeypatch.setenv(MAX_FRAME_VARIABLE, text)
        with pytest.raises(UserError, match=f"{MAX_FRAME_VARIABLE}: '{text}' is not a number"):
            VideoReader(path)


def test_attachments_stay_where_they_are(tmp_path: Path) -> None:
    """Fonts travel in Matroska files under names that a careless program would write to."""
    inside = tmp_path / "x" / "y"
    inside.mkdir(parents=True)
    with av.open(str(inside / "a.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.add_attachment("../../evil.ttf", "font/ttf", b"no font")
        for frame in moving(3):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    load(tiny_model(tmp_path / "model"), device="cpu").translate(inside / "a.mkv", inside / "b.mkv")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "x/y/a.mkv", "x/y/b.mkv", "model/config.json", "model/generator_a2b.safetensors"
    }  # fmt: skip
