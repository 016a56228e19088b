"""A long recording is converted in sections: nothing is lost, doubled or heard at the cuts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media.audio import read_audio
from cyclegan_media.media.audio_blocks import (
    Levels,
    join,
    measure_levels,
    mono_blocks,
    pieces,
    quiet_cuts,
)
from cyclegan_media.media.audio_writer import write_audio, write_audio_blocks
from cyclegan_media.metrics.voice import METRIC_ANALYSIS, mel_cepstral_distortion
from cyclegan_media.pretrained import ModelConfig, PretrainedModel
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, analyse
from cyclegan_media.translate import long_voice
from cyclegan_media.translate.voice import convert_voice, translate_recording

RATE = 16000
CONFIG = AnalysisConfig(f0="dio")
SPEC = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}


@pytest.fixture(scope="module")
def model() -> PretrainedModel:
    speakers = {
        voice: SpeakerStatistics.from_features([analyse(say(k, voice), CONFIG) for k in (10, 11)])
        for voice in ("a", "b")
    }
    config = ModelConfig(
        modality="voice", generators={"a2b": SPEC}, analysis=CONFIG.model_dump(mode="json")
    )
    statistics = {**speakers["a"].to_tensors("a"), **speakers["b"].to_tensors("b")}
    generator = build(SPEC).eval()
    with torch.no_grad():  # the target's mean goes out, so all else of a conversion can be compared
        for parameter in generator.head.parameters():
            parameter.zero_()
    return PretrainedModel(config, {"a2b": generator}, statistics)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """45 s of sentences, with pauses of half a second, and noise as of a room."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < 45 * RATE:
        parts += [0.1 * say(len(parts) % 12, "a"), np.zeros(RATE // 2)]
    noise = np.random.default_rng(0).normal(0, 1e-4, sum(map(len, parts)))
    return (np.concatenate(parts) + noise).astype(np.float32)


@pytest.mark.parametrize("size", [1, 37, 1000, 5000])
def test_pieces_that_are_joined_are_the_recording(size: int) -> None:
    samples = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    cuts, overlap = [0, 300, 450, 1000], 20
    bounds = [(max(0, a - 10), min(1000, b + 10)) for a, b in pairwise(cuts)]
    blocks = (samples[start : start + size] for start in range(0, 1000, size))
    joined = np.concatenate(list(join(pieces(blocks, bounds), overlap)))
    np.testing.assert_allclose(joined, samples, atol=1e-6)


def test_cuts_are_where_it_is_quiet_and_no_section_is_long_or_a_mere_rest() -> None:
    for frames in (1001, 1500, 2000, 4321):
        power = np.ones(frames, dtype=np.float32)
        power[::95] = power[1::95] = power[2::95] = power[3::95] = power[4::95] = 0.01
        cuts = quiet_cuts(Levels(RATE, 320 * frames - 7, 320, power), 20.0)  # 1000 frames
        assert cuts[0] == 0
        assert cuts[-1] == 320 * frames - 7
        lengths = np.diff(cuts) / 320
        assert lengths.max() <= 1000
        assert lengths.min() >= 300
        assert all(cut // 320 % 95 == 2 for cut in cuts[1:-1])


def test_levels_are_those_of_the_mix(tmp_path: Path) -> None:
    samples = np.random.default_rng(2).normal(0, 0.1, (2, 70_001)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", samples.T, 44100, "FLOAT")
    levels = measure_levels(tmp_path / "in.wav")
    assert levels is not None
    assert (levels.sample_rate, levels.samples, levels.frame) == (44100, 70_001, 882)
    mono = samples.mean(axis=0)
    wanted = [np.square(mono[k : k + 882]).mean() for k in range(0, 70_001, 882)]
    np.testing.assert_allclose(levels.power, wanted, rtol=1e-4)
    np.testing.assert_array_equal(np.concatenate(list(mono_blocks(tmp_path / "in.wav"))), mono)


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_sections_make_what_the_whole_makes(
    model: PretrainedModel, speech: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    source = write_audio(tmp_path / f"in{suffix}", np.stack([speech, speech]), RATE)
    target = translate_recording(model, source, tmp_path / "out.wav")
    heard = read_audio(source, mono=True)
    whole, _ = convert_voice(model, heard.samples, RATE)
    sections, rate = soundfile.read(target, dtype="float32")
    assert rate == RATE
    assert sections.shape == whole.shape
    assert np.abs(np.diff(sections)).max() < 1.5 * np.abs(np.diff(whole)).max()  # no clicks
    # WORLD's noise and the phase of its pulses depend on all that came before: so the measure of
    # what is no difference is the whole itself, begun a second later.
    samples = heard.samples[0]
    later = convert_voice(model, np.concatenate([samples[:RATE], samples]), RATE)[0][RATE:]
    for start in range(0, len(whole) - RATE, 5 * RATE):  # also where the cuts are
        here = slice(start, start + 5 * RATE)
        level, wanted = (10 * np.log10(np.square(out[here]).mean()) for out in (sections, whole))
        assert level == pytest.approx(wanted, abs=1)
        one, other, same = (analyse(out[here], METRIC_ANALYSIS) for out in (sections, later, whole))
        distortion = mel_cepstral_distortion(one, same)
        assert distortion < 1.5 * mel_cepstral_distortion(other, same)


def test_a_section_without_speech_stays_as_it_was(
    model: PretrainedModel, speech: np.ndarray, tmp_path: Path
) -> None:
    quiet = np.random.default_rng(3).normal(0, 1e-4, 40 * RATE).astype(np.float32)
    samples = np.concatenate([speech[: 8 * RATE], quiet])
    source = write_audio(tmp_path / "in.wav", samples, RATE)
    translate_recording(model, source, tmp_path / "out.wav")
    out, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert len(out) == len(samples)
    there = slice(-20 * RATE, None)  # the last section at least
    np.testing.assert_allclose(out[there], samples[there], atol=2 / 32768)
    assert np.abs(out[: 8 * RATE] - samples[: 8 * RATE]).max() > 0.01


def test_what_fails_in_a_later_section_leaves_nothing(
    model: PretrainedModel, speech: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_audio(tmp_path / "in.wav", speech, RATE)
    before = source.read_bytes()
    (tmp_path / "cut.wav").write_bytes(before[: len(before) * 3 // 4])
    with pytest.raises(UserError, match="is cut short"):
        translate_recording(model, tmp_path / "cut.wav", tmp_path / "out.wav")
    seen = []

    def fail(levels: Levels, start: int, stop: int) -> float:
        seen.append(start)
        if start > 0:
            raise RunError("the second section")
        return 0.0

    monkeypatch.setattr(long_voice, "_below_loudest", fail)
    with pytest.raises(RunError, match="the second section"):
        translate_recording(model, source, tmp_path / "out.wav")
    assert len(seen) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.wav", "in.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_blocks_are_written_as_the_whole_is(tmp_path: Path, suffix: str, rate: int) -> None:
    samples = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
    tags = {"title": "A tone"}
    whole = write_audio(tmp_path / f"whole{suffix}", samples, rate, tags=tags)
    blocks = (samples[start : start + 30_000] for start in range(0, len(samples), 30_000))
    parts = write_audio_blocks(tmp_path / f"parts{suffix}", blocks, rate, tags=tags)
    one, other = read_audio(whole), read_audio(parts)
    assert one.sample_rate == other.sample_rate
    assert one.samples.shape == other.samples.shape
    # A lossy codec may see frames of other lengths.
    np.testing.assert_allclose(one.samples[0, 4000:-4000], other.samples[0, 4000:-4000], atol=0.02)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".m4a"])
def test_a_full_disk_is_named(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cyclegan_media.files._partial_name", lambda path: tmp_path / "full")
    (tmp_path / "full").symlink_to("/dev/full")
    samples = np.random.default_rng(0).normal(0, 0.1, 400_000).astype(np.float32)
    with pytest.raises(RunError, match="disk is full"):
        write_audio_blocks(tmp_path / f"out{suffix}", [samples] * 3, 48000)
    assert not (tmp_path / f"out{suffix}").exists()
