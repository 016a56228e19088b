"""A voice model converts any recording into one that can take its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cyclegan_media.backbones.registry import build
from cyclegan_media.demo.voices import say
from cyclegan_media.errors import UserError
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, load_model, save_model
from cyclegan_media.speech import AnalysisConfig, SpeakerStatistics, active_frames, analyse
from cyclegan_media.translate.voice import convert_voice, translate_recording

CONFIG = AnalysisConfig(f0="dio")
SPEC = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}


@pytest.fixture(scope="module")
def speakers() -> dict[str, SpeakerStatistics]:
    return {
        voice: SpeakerStatistics.from_features([analyse(say(k, voice), CONFIG) for k in (10, 11)])
        for voice in ("a", "b")
    }


@pytest.fixture(scope="module")
def model(speakers: dict[str, SpeakerStatistics]) -> PretrainedModel:
    """Generators of random weights: what they say is nonsense, all else must hold."""
    torch.manual_seed(0)
    return PretrainedModel(
        config=ModelConfig(
            modality="voice", generators={"a2b": SPEC}, analysis=CONFIG.model_dump(mode="json")
        ),
        generators={"a2b": build(SPEC).eval()},
        statistics={**speakers["a"].to_tensors("a"), **speakers["b"].to_tensors("b")},
    )


def level(samples: np.ndarray, speech_of: np.ndarray) -> float:
    """In dB, over the speech of a recording at 16 kHz."""
    speech = np.repeat(active_frames(analyse(speech_of, CONFIG)), 80)[: len(samples)]
    return float(10 * np.log10(np.square(samples[: len(speech)][speech]).mean()))


def test_the_output_can_take_the_place_of_the_input(model: PretrainedModel) -> None:
    sentence = 0.3 * say(3, "a")  # far from where peaks are turned down
    out, rate = convert_voice(model, sentence, 16000)
    assert rate == 16000
    assert out.shape == sentence.shape
    assert out.dtype == np.float32
    assert level(out, sentence) == pytest.approx(level(sentence, sentence), abs=0.5)


def test_the_pitch_becomes_the_targets(
    model: PretrainedModel, speakers: dict[str, SpeakerStatistics]
) -> None:
    out, _ = convert_voice(model, say(10, "a"), 16000)
    heard = SpeakerStatistics.from_features([analyse(out, CONFIG)])
    assert heard.log_f0_mean == pytest.approx(speakers["b"].log_f0_mean, abs=0.1)
    assert speakers["a"].log_f0_mean - speakers["b"].log_f0_mean > 0.5


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_sample_rate_comes_back(model: PretrainedModel, rate: int) -> None:
    clock = np.arange(rate // 2 + 7) / rate
    samples = sum(np.cos(2 * np.pi * 150 * k * clock) / k for k in range(1, 15)) * 0.1
    out, same = convert_voice(model, samples, rate)
    assert same == rate
    assert out.shape == samples.shape
    if rate > 16000:  # nothing above what the model knows
        spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) ** 2
        above = np.fft.rfftfreq(len(out), 1 / rate) > 8100
        assert spectrum[above].sum() < 1e-4 * spectrum.sum()


def test_several_channels_become_one_voice(model: PretrainedModel) -> None:
    sentence = say(3, "a")
    mono, _ = convert_voice(model, sentence, 16000)
    stereo, _ = convert_voice(model, np.stack([1.5 * sentence, 0.5 * sentence]), 16000)
    assert stereo.shape == sentence.shape
    np.testing.assert_allclose(stereo, mono, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 2, 79, 500, 1601])
def test_short_recordings_keep_their_length(model: PretrainedModel, samples: int) -> None:
    out, _ = convert_voice(model, say(3, "a")[8000 : 8000 + samples], 16000)
    assert out.shape == (samples,)
    assert np.isfinite(out).all()


def test_silence_stays_silent(model: PretrainedModel) -> None:
    constant = np.full(20000, 0.2)  # cannot be heard
    for silence, rate in ((np.zeros(20000), 44100), (constant, 16000)):
        out, _ = convert_voice(model, silence, rate)
        assert out.shape == (20000,)
        assert not out.any()


def test_nothing_clips_and_what_would_is_said(
    model: PretrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = say(3, "a")
    out, _ = convert_voice(model, sentence * (0.03 / np.abs(sentence).max()), 16000)
    assert not caplog.messages
    out, _ = convert_voice(model, sentence * (3 / np.abs(sentence).max()), 16000)
    assert np.abs(out).max() <= 0.99
    [message] = caplog.messages
    assert "exceeds full scale by" in message


def test_nothing_is_left_to_chance(model: PretrainedModel) -> None:
    first, second = (convert_voice(model, say(3, "a"), 16000)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_model_folder_converts_files_alike(model: PretrainedModel, tmp_path: Path) -> None:
    save_model(tmp_path / "model", model)
    loaded = load_model(tmp_path / "model")
    source, target = tmp_path / "in.wav", tmp_path / "out.flac"
    soundfile.write(source, np.stack([say(3, "a")] * 2, axis=1), 16000)
    assert translate_recording(loaded, source, target) == target
    written, rate = soundfile.read(target)
    wanted, _ = convert_voice(model, soundfile.read(source)[0].T, 16000)
    assert rate == 16000
    assert written.shape == wanted.shape
    np.testing.assert_allclose(written, wanted, atol=1e-3)


def test_a_speaker_with_more_warping_sounds_lower(
    model: PretrainedModel, speakers: dict[str, SpeakerStatistics]
) -> None:
    # The same cepstrum on an axis that is warped more has its resonances at lower frequencies.
    generator = build(SPEC).eval()
    with torch.no_grad():  # whatever comes in, the target's mean goes out
        for parameter in generator.head.parameters():
            parameter.zero_()
    centres = []
    for alpha in (None, 0.52):
        b = replace(speakers["b"], alpha=alpha)
        statistics = {**speakers["a"].to_tensors("a"), **b.to_tensors("b")}
        changed = PretrainedModel(model.config, {"a2b": generator}, statistics)
        out, _ = convert_voice(changed, say(3, "a"), 16000)
        hertz = np.fft.rfftfreq(len(out), 1 / 16000)
        power = np.abs(np.fft.rfft(out)) ** 2 * (hertz > 300)
        centres.append((hertz * power).sum() / power.sum())
    assert centres[1] < 0.95 * centres[0]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "need shape"),
        (np.zeros((2, 3, 4)), "need shape"),
        (np.array([0.1, np.nan] * 500), "not finite"),
    ],
)
def test_what_is_no_recording_is_refused(
    model: PretrainedModel, samples: np.ndarray, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        convert_voice(model, samples, 16000)


def test_models_that_do_not_fit_are_refused(model: PretrainedModel) -> None:
    sentence = say(3, "a")
    with pytest.raises(UserError, match="no generator for the direction b2a, only for a2b"):
        convert_voice(model, sentence, 16000, "b2a")
    bare = PretrainedModel(model.config, model.generators)
    with pytest.raises(UserError, match=r"'a\.mean' is missing"):
        convert_voice(bare, sentence, 16000)
    narrow = model.config.model_copy(
        update={"analysis": {"coefficients": 12, "f0": "dio", "sample_rate": 16000}}
    )
    with pytest.raises(UserError, match="holds 24 coefficients, but the analysis has 12"):
        convert_voice(PretrainedModel(narrow, model.generators, model.statistics), sentence, 16000)
    strange = model.config.model_copy(update={"analysis": {"mels": 80}})
    with pytest.raises(UserError, match=r"config\.json: analysis\.mels"):
        convert_voice(PretrainedModel(strange, model.generators, model.statistics), sentence, 16000)
    picture = PretrainedModel(ModelConfig(modality="image", generators={"a2b": {}}), {})
    with pytest.raises(UserError, match="is for images, but a voice model is needed"):
        convert_voice(picture, sentence, 16000)


def test_a_failed_conversion_leaves_nothing(model: PretrainedModel, tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, say(3, "a")[:8000], 16000)
    there = tmp_path / "there.wav"
    there.write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        translate_recording(model, source, there)
    assert there.read_bytes() == b"mine"
    with pytest.raises(UserError, match=r"\.xyz"):
        translate_recording(model, source, tmp_path / "out.xyz")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(source.read_bytes()[:20])
    with pytest.raises(UserError, match=r"broken\.wav"):
        translate_recording(model, broken, tmp_path / "out.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.wav", "in.wav", "there.wav"]
    translate_recording(model, source, there, overwrite=True)
    assert len(soundfile.read(there)[0]) == 8000


def test_a_real_recording_keeps_its_pauses(model: PretrainedModel, shared_data: Path) -> None:
    samples, rate = soundfile.read(shared_data / "vcc2016/SF1/200001.wav", dtype="float32")
    samples *= 0.3
    out, _ = convert_voice(model, samples, rate)
    assert out.shape == samples.shape
    assert level(out, samples) == pytest.approx(level(samples, samples), abs=0.5)
    loudness = analyse(samples, CONFIG).level()
    pause = np.repeat(loudness < loudness.max() - 55, 80)[: len(samples)]
    assert pause.sum() > 1600
    assert 10 * np.log10(np.square(out[pause]).mean()) < level(out, samples) - 30
