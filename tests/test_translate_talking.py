"""Talking clips: picture and voice in one pass, in sync to the sample, all else as it was."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from talking_clips import heard, same_picture, same_voice, write_clip

from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import VideoReader
from cyclegan_media.media.audio import resample
from cyclegan_media.media.info import read_provenance
from cyclegan_media.media.sound_track import SoundReader
from cyclegan_media.pretrained import save_model
from cyclegan_media.speech.activity import find_speech
from cyclegan_media.translate import Translator
from cyclegan_media.translate.options import Options
from cyclegan_media.translate.talking import Talking, translate_talking
from cyclegan_media.translate.talking_voice import parts_of

RATE = 48000
SPOKEN = 1.4
"""Seconds, at which the speech begins; a click at 0.6 s and a hiss throughout are background."""
CLICK = 0.6


@pytest.fixture(scope="module")
def voice() -> Translator:
    return same_voice()


@pytest.fixture(scope="module")
def picture() -> Translator:
    return same_picture()


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    return resample((0.3 * say(3, "a"))[None].astype(np.float32), 16000, RATE)[0]


def sound(sentence: np.ndarray, channels: int = 2) -> np.ndarray:
    """Speech louder on the left, and in all channels a click and a hiss before and after it."""
    count = round(SPOKEN * RATE) + len(sentence) + RATE
    count -= count % (RATE // 25)
    track = 0.001 * np.random.default_rng(0).standard_normal((channels, count))
    start = round(SPOKEN * RATE)
    track[:, start : start + len(sentence)] += sentence
    track[:, round(CLICK * RATE)] = 0.9
    if channels == 2:
        track[1] *= 0.5
    return track.astype(np.float32)


def click_of(track: np.ndarray) -> int:
    """The sample at which the click before the speech is loudest."""
    return int(np.abs(track[0, : round((SPOKEN - 0.2) * RATE) + RATE // 2]).argmax())


def flash_of(path: Path) -> Fraction:
    with VideoReader(path) as video:
        return max((float(frame.tensor().mean()), frame.time) for frame in video)[1]


def spoken_level(track: np.ndarray, sentence: np.ndarray, start: float = 0.0) -> np.ndarray:
    first = round((SPOKEN + start) * RATE)
    part = track[:, first : first + len(sentence)]
    return 10 * np.log10(np.square(part).mean(axis=1))


def envelope_lag(before: np.ndarray, after: np.ndarray) -> float:
    """Milliseconds by which the energy of ``after`` lies behind that of ``before``."""
    smooth = np.hanning(RATE // 50)
    one, other = (np.sqrt(np.convolve(np.square(x), smooth, "same")) for x in (before, after))
    one, other = one - one.mean(), other - other.mean()
    size = 2 * len(one)
    both = np.fft.irfft(np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size))
    place = int(both.argmax())
    return 1000 * (place if place < len(one) else place - size) / RATE


def packets(path: Path, index: int) -> list[tuple[bytes, Fraction]]:
    """Content and presentation time of a stream's packets, as they lie in the file."""
    with av.open(str(path)) as container:
        stream = container.streams[index]
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize(
    ("suffix", "codec", "start", "with_picture"),
    [
        ("mp4", "aac", 0, True),
        ("mp4", "aac", 0.5, True),
        ("mp4", "aac", 0.5, False),
        ("mkv", "libopus", 0, False),
        ("mkv", "libopus", 0.5, True),
        ("mkv", "flac", 0.5, False),
        ("mov", "pcm_s16le", 0.5, True),
    ],
)
def test_picture_and_voice_stay_in_sync(
    suffix: str,
    codec: str,
    start: float,
    with_picture: bool,
    picture: Translator,
    voice: Translator,
    sentence: np.ndarray,
    tmp_path: Path,
) -> None:
    track = sound(sentence)
    source = write_clip(
        tmp_path / f"in.{suffix}",
        [track],
        codec=codec,
        start=Fraction(start),
        flash=CLICK + start,
    )
    target = tmp_path / f"out.{suffix}"
    translate_talking(source, target, Talking(picture if with_picture else None, voice))
    before, after = heard(source)[0], heard(target)[0]
    # A flash and a click that are at one time stay so: to the sample, but that Matroska counts
    # the beginning of a packet in milliseconds, and a packet of Opus begins between two of them.
    allowed = RATE // 1000 if codec == "libopus" and start else 0
    assert abs(click_of(before) - click_of(after)) <= allowed
    assert flash_of(source) == flash_of(target)
    assert abs(after.shape[1] - before.shape[1]) <= 1024
    with av.open(str(source)) as one, av.open(str(target)) as other:
        assert other.duration == pytest.approx(one.duration, abs=1e6 * 0.001)
    # The speech is another's waveform at the same time and level in each channel.
    first = round((SPOKEN + start) * RATE)
    part = slice(first, first + len(sentence))
    assert abs(envelope_lag(before[0, part], after[0, part])) < 5
    change = spoken_level(after, sentence, start) - spoken_level(before, sentence, start)
    np.testing.assert_allclose(change, 0, atol=0.5)
    difference = np.square(after[:, part] - before[:, part]).mean()
    assert difference > 0.01 * np.square(before[:, part]).mean()


def test_what_is_no_speech_stays_to_the_bit(
    voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    track = sound(sentence)
    source = write_clip(tmp_path / "in.mkv", [track])
    translate_talking(source, tmp_path / "out.mkv", Talking(None, voice))
    before, after = heard(source)[0], heard(tmp_path / "out.mkv")[0]
    assert before.shape == after.shape
    speech = np.zeros(before.shape[1], dtype=bool)
    for start, stop in find_speech(before.mean(axis=0), RATE):
        speech[round(start * RATE) : round(stop * RATE)] = True
    assert 0.5 < speech.mean() * before.shape[1] / len(sentence) < 1.5
    np.testing.assert_array_equal(after[:, ~speech], before[:, ~speech])
    # No click where one sound becomes the other: no step is larger than in the two sounds.
    edges = np.flatnonzero(np.diff(speech.astype(int)))
    for edge in edges:
        near = slice(edge - 1000, edge + 1000)
        steps = np.abs(np.diff(after[:, near], axis=1)).max()
        assert steps < 2 * np.abs(np.diff(before[:, near], axis=1)).max() + 1e-3


def test_without_a_gate_all_of_it_is_converted(
    voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "in.mkv", [sound(sentence)])
    translate_talking(source, tmp_path / "out.mkv", Talking(None, voice, gate=False))
    before, after = heard(source)[0], heard(tmp_path / "out.mkv")[0]
    assert before.shape == after.shape
    assert np.abs(after[:, click_of(before)]).max() < 0.2  # no voice can say that
    (record,) = read_provenance(tmp_path / "out.mkv")
    assert record.source_type == "trainedAlgorithmicMedia"


def test_other_tracks_are_copied_packet_by_packet(
    picture: Translator, voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    track = sound(sentence)
    tone = 0.2 * np.sin(np.arange(track.shape[1]) / 20)[None]
    source = write_clip(tmp_path / "in.mkv", [tone, track, tone], codec="flac")
    for talking, copied in (
        (Talking(picture, voice, audio_stream=1), (1, 3)),
        (Talking(None, voice, audio_stream=1), (0, 1, 3)),
        (Talking(picture, None), (1, 2, 3)),
    ):
        target = tmp_path / "out.mkv"
        translate_talking(source, target, talking, Options(overwrite=True))
        for index in copied:
            assert packets(target, index) == packets(source, index)
        if talking.voice is not None:
            assert packets(target, 2) != packets(source, 2)
        with av.open(str(source)) as one, av.open(str(target)) as other:
            assert [s.language for s in other.streams] == [s.language for s in one.streams]
            assert other.metadata["title"] == "A talk"
            assert [c["metadata"]["title"] for c in other.chapters()] == ["Opening"]


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_copied_picture_keeps_its_times(
    codec: str, voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "in.mov", [sound(sentence)], codec=codec)
    translate_talking(source, tmp_path / "out.mov", Talking(None, voice))
    assert packets(tmp_path / "out.mov", 0) == packets(source, 0)


@pytest.mark.parametrize(("channels", "rate"), [(1, 44100), (6, 48000), (2, 8000)])
def test_layout_and_rate_are_the_sources(
    channels: int, rate: int, voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    track = sound(sentence, channels)
    if channels == 6:  # somebody speaks in the middle, and nowhere else
        track[[0, 1, 3, 4, 5]] = track[[0, 1, 3, 4, 5]][:, : RATE // 2].repeat(20, 1)[
            :, : track.shape[1]
        ]
    source = write_clip(tmp_path / "in.mp4", [resample(track, RATE, rate)], rate=rate, codec="aac")
    translate_talking(source, tmp_path / "out.mp4", Talking(None, voice))
    with av.open(str(tmp_path / "out.mp4")) as made, av.open(str(source)) as given:
        one, other = given.streams.audio[0], made.streams.audio[0]
        assert (other.rate, other.layout.name) == (one.rate, one.layout.name)
    if channels == 6:
        before, after = heard(source)[0], heard(tmp_path / "out.mp4")[0]
        levels = spoken_level(after, sentence)
        assert levels[2] == pytest.approx(spoken_level(before, sentence)[2], abs=0.5)
        assert np.delete(levels, 2).max() < levels[2] - 20


def test_channels_without_names_go_into_formats_that_ask_for_them(
    voice: Translator, sentence: np.ndarray, tmp_path: Path
) -> None:
    track = sound(sentence)
    source = write_clip(tmp_path / "in.mkv", [track])  # Matroska says that there are two, no more
    translate_talking(source, tmp_path / "out.mp4", Talking(None, voice))
    before, after = heard(source)[0], heard(tmp_path / "out.mp4")[0]
    assert click_of(before) == click_of(after)
    assert after.shape == before.shape


def test_gaps_and_late_starts_are_read_as_time_passes(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for place in (4000, 4800, 12000):  # ends at 5600, so half a second and more is missing
            frame = av.AudioFrame.from_ndarray(np.full((1, 800), 9999, np.int16), "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 8000, Fraction(1, 8000), place
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    blocks = list(SoundReader(path))
    samples = np.concatenate([block.samples for block in blocks], axis=1)[0]
    assert blocks[0].number == 0
    assert len(samples) == 8800
    assert (samples[:1600] > 0.3).all()
    assert not samples[1600:8000].any()
    assert (samples[8000:] > 0.3).all()


def test_long_sound_is_converted_in_parts_between_pauses() -> None:
    stretches = [(5, 20), (30, 60), (90, 100), (120, 400), (420, 430)]
    assert parts_of(stretches, 60) == [(5, 60), (90, 100), (120, 400), (420, 430)]
    assert parts_of(stretches, 95) == [(5, 100), (120, 400), (420, 430)]
    assert parts_of(stretches, 95, 500) == [(0, 110), (110, 410), (410, 500)]
    assert parts_of([], 60) == []
    assert parts_of([], 60, 500) == [(0, 500)]


def test_a_clip_without_speech_keeps_its_sound(
    voice: Translator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hiss = 0.01 * np.random.default_rng(0).standard_normal((1, RATE))
    source = write_clip(tmp_path / "in.mkv", [hiss], codec="flac")
    with caplog.at_level(logging.WARNING):
        translate_talking(source, tmp_path / "out.mkv", Talking(None, voice))
    assert "no speech is found" in caplog.text
    assert packets(tmp_path / "out.mkv", 1) == packets(source, 1)
    assert read_provenance(tmp_path / "out.mkv") == []


def test_the_command_line(
    picture: Translator,
    voice: Translator,
    sentence: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    faces, voices = tmp_path / "faces", tmp_path / "voices"
    save_model(faces, picture.model)
    save_model(voices, voice.model)
    source = write_clip(tmp_path / "in.mp4", [sound(sentence)], codec="aac")
    target = tmp_path / "out.mp4"
    base = ["translate", str(source), "-o", str(target), "--device", "cpu"]
    models = ["--video-model", str(faces), "--voice-model", str(voices)]
    assert main([*base, *models, "--video-direction", "b2a"]) == 0
    looks, sounds = read_provenance(target)
    assert (looks.model, looks.medium, looks.direction) == ("faces", "video", "b2a")
    assert (sounds.model, sounds.medium, sounds.direction) == ("voices", "voice", "a2b")
    assert sounds.source_type == "compositeWithTrainedAlgorithmicMedia"
    capsys.readouterr()
    for arguments, said in (
        ([], "--model: is needed"),
        (["-m", str(faces), *models], "goes alone"),
        (["-m", str(voices), "--no-gate"], "--no-gate: goes with"),
        (["-m", str(voices), "--audio-stream", "1"], "--audio-stream: goes with"),
        (["--video-model", str(voices)], "video model: is for voices"),
        ([*models, "--direction", "b2a", "--overwrite"], "no generator for the direction b2a"),
        ([*models, "--audio-stream", "7", "--overwrite"], "no sound stream 7; there is 1"),
        (["--voice-model", str(voices), "--steady", "--overwrite"], "go with a video model"),
    ):
        before = target.read_bytes()
        assert main([*base, *arguments]) == 2, arguments
        assert said in capsys.readouterr().err
        assert target.read_bytes() == before
    wave = tmp_path / "in.wav"
    soundfile.write(wave, sentence, RATE)
    base[1] = str(wave)
    assert main([*base, *models, "--overwrite"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_failures_leave_nothing(
    voice: Translator, sentence: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_clip(tmp_path / "in.mkv", [sound(sentence)], codec="flac")
    with pytest.raises(UserError, match="cannot hold the source's pictures as they are"):
        translate_talking(source, tmp_path / "out.ogv", Talking(None, voice))
    monkeypatch.setenv("CYCLEGAN_MEDIA_MAX_HOURS", "0.0001")
    with pytest.raises(UserError, match="longer than what is converted at once"):
        translate_talking(source, tmp_path / "out.mkv", Talking(None, voice))
    monkeypatch.delenv("CYCLEGAN_MEDIA_MAX_HOURS")
    content = bytearray(source.read_bytes())
    place = len(content) // 2
    content[place : place + 5000] = bytes(5000)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(content)
    with pytest.raises((RunError, UserError), match=r"broken\.mkv"):
        translate_talking(broken, tmp_path / "out.mkv", Talking(None, voice, gate=False))
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "broken.mkv"}


@pytest.mark.parametrize("speaker", ["SF1", "TM1"])
def test_a_real_voice_in_a_real_clip(
    speaker: str, picture: Translator, voice: Translator, shared_data: Path, tmp_path: Path
) -> None:
    spoken, rate = soundfile.read(shared_data / f"vcc2016/{speaker}/200001.wav", dtype="float32")
    track = np.pad(0.5 * resample(spoken[None], rate, RATE), ((0, 0), (RATE, RATE)))
    track += 0.001 * np.random.default_rng(0).standard_normal(track.shape).astype(np.float32)
    track[0, RATE // 2] = 0.9
    source = tmp_path / "in.mp4"
    nasa = shared_data / "video/nasa_13013.mp4"
    with av.open(str(nasa)) as clip, av.open(str(source), "w") as out:
        moving = clip.streams.best("video")
        shown = out.add_stream_from_template(moving)
        heard_as = out.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(track, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        out.mux(heard_as.encode(frame))
        out.mux(heard_as.encode(None))
        for packet in clip.demux(moving):
            if packet.dts is not None and packet.pts * packet.time_base < track.shape[1] / RATE:
                packet.stream = shown
                out.mux(packet)
    target = tmp_path / "out.mp4"
    translate_talking(source, target, Talking(picture, voice), Options(preset="ultrafast"))
    before, after = heard(source)[0][0], heard(target)[0][0]
    clicks = [int(np.abs(one[: RATE * 3 // 4]).argmax()) for one in (before, after)]
    assert clicks == [RATE // 2] * 2
    assert abs(envelope_lag(before[RATE:-RATE], after[RATE:-RATE])) < 1000 * 1024 / RATE
    with av.open(str(source)) as one, av.open(str(target)) as other:
        assert abs(one.duration - other.duration) <= 1000
