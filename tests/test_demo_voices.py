"""The made-up voices are a fair test: one babble, two voices, a truth that pays to reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cyclegan_media.demo.voices import SAMPLE_RATE, VOICES, Speaker, say, write_voices
from cyclegan_media.errors import UserError
from cyclegan_media.speech import (
    AnalysisConfig,
    Features,
    SpeakerStatistics,
    active_frames,
    analyse,
)

CONFIG = AnalysisConfig(f0="dio")


@pytest.fixture(scope="module")
def heard() -> dict[str, list[Features]]:
    """Twelve sentences: of a, of b in step with a, and other ones of b."""
    return {
        "a": [analyse(say(k, "a"), CONFIG) for k in range(12)],
        "truth": [analyse(say(k, "b", timing_of="a"), CONFIG) for k in range(12)],
        "b": [analyse(say(k, "b"), CONFIG) for k in range(50, 62)],
    }


def distortion(x: Features, y: Features) -> float:
    """Mel-cepstral distortion in dB of recordings that are in step."""
    both = active_frames(x) & active_frames(y)
    difference = (x.mel_cepstrum - y.mel_cepstrum)[:, both]
    return float((10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(0))).mean())


def test_a_sentence_is_its_seed() -> None:
    np.testing.assert_array_equal(say(5, "a"), say(5, "a"))
    assert not np.array_equal(say(5, "a")[:8000], say(6, "a")[:8000])
    np.testing.assert_array_equal(say(5, "a", timing_of="a"), say(5, "a"))


@pytest.mark.parametrize("voice", ["a", "b"])
def test_sentences_last_one_to_four_seconds_and_fit_the_range(voice: Speaker) -> None:
    lengths = []
    for sentence in range(20):
        samples = say(sentence, voice)
        assert samples.dtype == np.float32
        assert 0.4 < np.abs(samples).max() < 0.6
        lengths.append(len(samples) / SAMPLE_RATE)
    assert min(lengths) > 0.8
    assert max(lengths) < 4
    assert 1.5 < np.mean(lengths) < 3


def test_pitch_and_its_range_are_those_of_the_voice(heard: dict[str, list[Features]]) -> None:
    for voice in ("a", "b"):
        found = SpeakerStatistics.from_features(heard[voice])
        assert found.log_f0_mean == pytest.approx(np.log(VOICES[voice].pitch), abs=0.25)
    a, b = (SpeakerStatistics.from_features(heard[voice]) for voice in ("a", "b"))
    assert a.log_f0_mean - b.log_f0_mean > 0.4
    assert a.log_f0_std > 1.15 * b.log_f0_std


def test_the_truth_is_in_step_with_the_input(heard: dict[str, list[Features]]) -> None:
    for sentence in range(12):
        own, truth = say(sentence, "a"), say(sentence, "b", timing_of="a")
        assert own.shape == truth.shape != say(sentence, "b").shape
    agreement = []
    for before, after in zip(heard["a"], heard["truth"], strict=True):
        agreement.append((before.voiced == after.voiced).mean())
        assert np.corrcoef(before.level(), after.level())[0, 1] > 0.8
        both = before.voiced & after.voiced
        assert np.corrcoef(np.log(before.f0[both]), np.log(after.f0[both]))[0, 1] > 0.7
    assert np.mean(agreement) > 0.85


def test_leaving_the_voice_alone_is_far_from_the_truth(heard: dict[str, list[Features]]) -> None:
    # Two renderings of one sound in one voice differ by chance alone; that is the floor.
    errors = [distortion(x, y) for x, y in zip(heard["a"], heard["truth"], strict=True)]
    assert np.mean(errors) > 6


def test_matching_mean_and_deviation_is_far_from_the_truth(
    heard: dict[str, list[Features]],
) -> None:
    # Needs no pairs, and no network.
    a, b = (SpeakerStatistics.from_features(heard[voice]) for voice in ("a", "b"))
    errors = []
    for before, truth in zip(heard["a"], heard["truth"], strict=True):
        matched = b.destandardise(a.standardise(before.mel_cepstrum))
        both = active_frames(before) & active_frames(truth)
        difference = (matched - truth.mel_cepstrum)[:, both]
        errors.append((10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(0))).mean())
    assert np.mean(errors) > 4.5


def test_the_truth_follows_from_what_is_heard(heard: dict[str, list[Features]]) -> None:
    # A linear map of frames, fitted on pairs that training never sees, and tried on others.
    def joined(name: str, part: slice) -> np.ndarray:
        return np.concatenate(
            [
                item.mel_cepstrum[:, active_frames(item) & active_frames(other)]
                for item, other in zip(heard[name][part], heard[_other(name)][part], strict=True)
            ],
            axis=1,
        )

    def _other(name: str) -> str:
        return "truth" if name == "a" else "a"

    def with_one(x: np.ndarray) -> np.ndarray:
        return np.vstack([x, np.ones((1, x.shape[1]))])

    fit, test = slice(0, 8), slice(8, 12)
    linear = np.linalg.lstsq(with_one(joined("a", fit)).T, joined("truth", fit).T, rcond=None)[0]
    difference = linear.T @ with_one(joined("a", test)) - joined("truth", test)
    assert (10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(0))).mean() < 3


def test_the_data_set_shares_no_sentence_between_its_halves(tmp_path: Path) -> None:
    folder = write_voices(tmp_path / "data", sentences=3, held_out=2)
    names = {part.name: sorted(path.name for path in part.iterdir()) for part in folder.iterdir()}
    assert sorted(names) == ["testA", "testB", "trainA", "trainB", "truthA2B", "truthB2A"]
    assert len(names["trainA"]) == len(names["trainB"]) == 3
    assert not set(names["trainA"]) & set(names["trainB"])
    assert not set(names["testA"]) & {*names["trainA"], *names["trainB"]}
    assert names["testA"] == names["testB"] == names["truthA2B"] == names["truthB2A"]
    assert names["testA"] == ["sentence_00000.wav", "sentence_00001.wav"]
    for part, of in (("truthA2B", "testA"), ("truthB2A", "testB")):
        for name in names[part]:
            truth, rate = soundfile.read(folder / part / name)
            assert rate == SAMPLE_RATE
            assert truth.shape == soundfile.read(folder / of / name)[0].shape
    written, _ = soundfile.read(folder / "truthA2B/sentence_00001.wav")
    np.testing.assert_allclose(written, say(1, "b", timing_of="a"), atol=1e-4)
    with pytest.raises(UserError, match="exists already"):
        write_voices(folder, sentences=3, held_out=2)


def test_bad_requests_are_named() -> None:
    with pytest.raises(UserError, match="'c': must be 'a' or 'b'"):
        say(0, "c")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'c': must be 'a' or 'b'"):
        say(0, "a", timing_of="c")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="0 or more"):
        say(-1, "a")
