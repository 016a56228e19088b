"""Recordings: what is written is read back, nothing is clipped, and bad files are named."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from cyclegan_media.errors import UserError
from cyclegan_media.media import read_audio, write_audio
from cyclegan_media.media.audio import MAX_HOURS_VARIABLE, resample


def tone(hertz: float, rate: int, seconds: float = 0.5, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def stereo(rate: int) -> np.ndarray:
    return np.stack([tone(440, rate), tone(660, rate, level=0.25)])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".au", ".caf", ".w64"])
def test_sixteen_bit_formats_keep_every_sample_to_half_a_step(suffix: str, tmp_path: Path) -> None:
    samples = stereo(22050)
    write_audio(tmp_path / f"a{suffix}", samples, 22050)
    back = read_audio(tmp_path / f"a{suffix}")
    assert back.sample_rate == 22050
    assert back.samples.dtype == np.float32
    # Files hold multiples of 1/32768 and full scale is written as 32767 of them.
    np.testing.assert_allclose(back.samples, samples, atol=1 / 32768)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3", ".m4a", ".opus", ".mka"])
def test_compressed_formats_keep_the_time_and_the_tone(suffix: str, tmp_path: Path) -> None:
    rate = 48000
    samples = stereo(rate)
    write_audio(tmp_path / f"a{suffix}", samples, rate)
    back = read_audio(tmp_path / f"a{suffix}")
    assert back.sample_rate == rate
    assert 0 <= back.samples.shape[1] - samples.shape[1] < 1024  # AAC fills its last block
    middle = slice(rate // 10, rate // 10 * 4)  # away from the ends, which codecs smear
    for got, wanted in zip(back.samples, samples, strict=True):
        error = np.sqrt(np.mean((got[middle] - wanted[middle]) ** 2))
        assert error < 0.1 * np.sqrt(np.mean(wanted[middle] ** 2))


def test_a_rate_that_the_codec_lacks_is_raised_to_the_next(tmp_path: Path) -> None:
    samples = tone(440, 22050)
    write_audio(tmp_path / "a.opus", samples, 22050)
    with av.open(str(tmp_path / "a.opus")) as container:
        assert container.streams.audio[0].rate in (24000, 48000)
    back = read_audio(tmp_path / "a.opus", sample_rate=22050)
    assert abs(back.samples.shape[1] - len(samples)) <= 1
    middle = slice(4000, 7000)
    assert np.abs(back.samples[0, middle] - samples[middle]).max() < 0.1


def test_too_loud_a_recording_is_scaled_as_a_whole_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = np.stack([tone(440, 16000, level=2.0), tone(440, 16000, level=0.5)])
    with caplog.at_level(logging.WARNING):
        write_audio(tmp_path / "a.wav", samples, 16000)
    back = read_audio(tmp_path / "a.wav").samples
    np.testing.assert_allclose(back, samples / np.abs(samples).max(), atol=1 / 32768)
    assert "6.0 dB quieter" in caplog.text


def test_floats_beyond_full_scale_are_read_as_they_are(tmp_path: Path) -> None:
    samples = tone(440, 16000, level=1.5)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples[0], samples)


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    samples = stereo(16000)
    soundfile.write(tmp_path / "a.wav", samples.T, 16000, subtype="FLOAT")
    mixed = read_audio(tmp_path / "a.wav", mono=True).samples
    np.testing.assert_allclose(mixed, samples.mean(axis=0, keepdims=True), atol=1e-7)


@pytest.mark.parametrize(("rate", "new"), [(44100, 16000), (16000, 48000)])
def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold(
    rate: int, new: int
) -> None:
    samples = tone(1000, rate, seconds=1.0)[None]
    got = resample(samples, rate, new)
    assert got.shape == (1, -(-samples.shape[1] * new // rate))
    middle = slice(new // 4, new * 3 // 4)
    assert np.abs(got[0, middle] - tone(1000, new, seconds=1.1)[middle]).max() < 1e-5
    if new < rate:
        aliased = resample(tone(0.6 * new, rate, seconds=1.0)[None], rate, new)
        assert np.abs(aliased[0, middle]).max() < 1e-5


@pytest.mark.parametrize(("rate", "new"), [(44101, 16000), (16000, 22050), (384000, 8000)])
def test_resampling_is_exact_to_the_last_sample_whatever_the_ratio(rate: int, new: int) -> None:
    for length in (0, 1, 2, 999, rate // 7):
        assert resample(stereo(rate)[:, :length], rate, new).shape == (2, -(-length * new // rate))
    samples = tone(100, rate, seconds=2.0)[None, : rate + 1]
    got, wanted = resample(samples, rate, new), tone(100, new, seconds=2.0)
    edge = new // 100  # where the tone is cut off
    assert np.abs(got[0, edge : new - edge] - wanted[edge : new - edge]).max() < 1e-4
    silence, hum = samples * 0, np.concatenate([samples, -samples])
    np.testing.assert_array_equal(resample(hum, rate, new)[0], -resample(hum, rate, new)[1])
    assert not resample(silence, rate, new).any()


def test_the_sound_of_a_real_video_can_be_chosen_by_stream(shared_data: Path) -> None:
    path = shared_data / "video" / "nasa_13013.mp4"
    with av.open(str(path)) as container:
        rates = [stream.rate for stream in container.streams.audio]
        length = sum(frame.samples for frame in container.decode(audio=0))
    assert len(rates) == 2
    first, second = (read_audio(path, stream=number) for number in (0, 1))
    assert first.samples.shape[1] == length
    assert [first.sample_rate, second.sample_rate] == rates
    with pytest.raises(UserError, match="no sound stream 2; there are 2, counted from 0"):
        read_audio(path, stream=2)


def test_a_video_without_sound_says_so(shared_data: Path) -> None:
    with pytest.raises(UserError, match="holds no sound"):
        read_audio(shared_data / "video" / "h265_video.mp4")


def test_a_wav_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.wav"
    write_audio(whole, tone(440, 16000), 16000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:8044])
    with pytest.raises(UserError, match=r"cut\.wav: is cut short: 8000 of 16000 bytes"):
        read_audio(cut)


def test_a_wav_file_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    # As programs write it that stream: the two length fields are left at their largest value.
    path = tmp_path / "streamed.wav"
    write_audio(path, tone(440, 16000), 16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read_audio(path).samples.shape == (1, 8000)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".ogg", ".m4a"])
@pytest.mark.parametrize("content", [b"", bytes(4000), b"neither sound nor anything else" * 99])
def test_what_is_no_recording_is_named(
    suffix: str, content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # the decoders' own complaints stay out of the way


def test_a_recording_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1), np.float32), 16000)
    with pytest.raises(UserError, match=r"a\.wav: holds no sound"):
        read_audio(tmp_path / "a.wav")


def test_samples_that_are_not_finite_are_refused_both_ways(tmp_path: Path) -> None:
    samples = tone(440, 16000)
    samples[7] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="not finite"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(UserError, match="not finite"):
        write_audio(tmp_path / "b.wav", samples, 16000)
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize("suffix", [".wav", ".mka"])
def test_recordings_beyond_the_limit_are_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    write_audio(path, tone(440, 16000, seconds=2.0), 16000)
    monkeypatch.setenv(MAX_HOURS_VARIABLE, str(1 / 3600))
    with pytest.raises(UserError, match=MAX_HOURS_VARIABLE):
        read_audio(path)
    monkeypatch.setenv(MAX_HOURS_VARIABLE, str(2.1 / 3600))
    assert read_audio(path).samples.shape == (1, 32000)


@pytest.mark.parametrize(
    ("name", "channels", "rate", "said"),
    [
        ("a.xyz", 1, 16000, r"cannot write a recording as '\.xyz'"),
        ("a", 1, 16000, "without a suffix"),
        ("a.mp3", 3, 16000, "3 channels"),
        ("a.ogg", 1, 400_000, "400000 Hz"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_without_a_trace(
    name: str, channels: int, rate: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        write_audio(tmp_path / name, np.zeros((channels, 1000), np.float32), rate)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_recording_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, tone(440, 16000), 16000)
    before = path.read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        write_audio(path, tone(880, 16000), 16000)
    assert path.read_bytes() == before
    write_audio(path, tone(880, 16000), 16000, overwrite=True)
    assert path.read_bytes() != before
