"""The speaker verifier: two made-up voices, a user's embedding, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from cyclegan_media.errors import UserError
from cyclegan_media.metrics.speaker import SpeakerVerifier, equal_error

RATE = 16000
VOICE_A, VOICE_B = (500.0, 1500.0), (650.0, 1900.0)


def voice(resonances: tuple[float, ...], seed: int, seconds: float = 1.5) -> np.ndarray:
    """Noise through resonances that wander by 15 %, with pauses: a whisper of a kind."""
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(round(seconds / 0.1)):
        part = random.standard_normal(RATE // 10)
        for resonance in resonances:
            angle = 2 * np.pi * resonance * random.uniform(0.85, 1.15) / RATE
            part = lfilter([1.0], [1.0, -2 * 0.97 * np.cos(angle), 0.97**2], part)
        parts.append(part / np.abs(part).max() * (0 if random.uniform() < 0.2 else 0.5))
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def verifier() -> SpeakerVerifier:
    recordings = [[voice(v, seed) for seed in range(10)] for v in (VOICE_A, VOICE_B)]
    return SpeakerVerifier(*recordings, sample_rate=RATE)


def test_new_recordings_are_told_apart(verifier: SpeakerVerifier) -> None:
    assert verifier.equal_error == 0
    for seed in range(100, 105):
        a, b = (voice(v, seed) for v in (VOICE_A, VOICE_B))
        assert verifier.score(b).probability > 0.9
        assert verifier.score(a).probability < 0.1
        assert verifier.score(a, "a").probability == pytest.approx(
            1 - verifier.score(a, "b").probability
        )
        assert verifier.score(b).similarity == pytest.approx(1, abs=0.4)
        assert verifier.score(a).similarity == pytest.approx(0, abs=0.4)
        assert verifier.score(a, "a").similarity == pytest.approx(
            1 - verifier.score(a, "b").similarity
        )


def test_similarity_grows_on_the_way_from_one_voice_to_the_other(verifier: SpeakerVerifier) -> None:
    ways = [0.0, 0.25, 0.5, 0.75, 1.0]
    scores = []
    for way in ways:
        between = tuple((1 - way) * a + way * b for a, b in zip(VOICE_A, VOICE_B, strict=True))
        scores.append(verifier.score(voice(between, 200, seconds=6)))
    assert [s.similarity for s in scores] == sorted(s.similarity for s in scores)
    assert [s.probability for s in scores] == sorted(s.probability for s in scores)


def test_level_and_pauses_do_not_count(verifier: SpeakerVerifier) -> None:
    speech = voice(VOICE_B, 300)
    score = verifier.score(speech)
    quiet = verifier.score(np.concatenate([np.zeros(RATE), 0.05 * speech, np.zeros(RATE)]))
    assert quiet.similarity == pytest.approx(score.similarity, abs=0.1)


def test_voices_that_are_the_same_cannot_be_told_apart() -> None:
    recordings = [[voice(VOICE_A, seed + s) for seed in range(0, 20, 2)] for s in (0, 1)]
    assert SpeakerVerifier(*recordings, sample_rate=RATE).equal_error >= 0.2


def test_equal_recordings_give_equal_verifiers() -> None:
    recordings = [[voice(v, seed) for seed in range(5)] for v in (VOICE_A, VOICE_B)]
    one, other = (SpeakerVerifier(*recordings, sample_rate=RATE) for _ in range(2))
    sample = voice(VOICE_A, 400)
    assert one.score(sample) == other.score(sample)


def test_a_users_embedding_takes_the_place_of_the_mixtures() -> None:
    def loudness_and_sign(samples: np.ndarray, rate: int) -> np.ndarray:
        assert rate == RATE
        return np.array([1.0, samples[0]])

    high, low = [np.full(10, v) for v in (1.0, 1.1, 0.9, 1.0, 1.2)], 5 * [np.full(10, -1.0)]
    verifier = SpeakerVerifier(low, high, RATE, embed=loudness_and_sign)
    assert verifier.equal_error == 0
    # (1, 1) and (1, −1) are at right angles, (1, 0) is as near to one as to the other.
    assert verifier.score(np.full(10, 1.0)).similarity == pytest.approx(1, abs=0.05)
    assert verifier.score(np.zeros(10)).similarity == pytest.approx(0.5, abs=0.05)
    assert verifier.score(np.zeros(10)).probability == pytest.approx(0.5, abs=0.05)


def test_equal_error_by_hand() -> None:
    # Above 0.5: one of four A's passes, one of four B's does not.
    high, low = np.array([0.9, 0.8, 0.7, 0.3]), np.array([0.1, 0.2, 0.3, 0.6])
    assert equal_error(high, low) == 0.25
    assert equal_error(high + 1, low) == 0
    assert equal_error(low, high + 1) == 1


def test_says_what_it_cannot_use(verifier: SpeakerVerifier) -> None:
    few, enough = [voice(VOICE_A, 0)] * 4, [voice(VOICE_B, 0)] * 5
    with pytest.raises(UserError, match="4 recordings of A; needs at least 5"):
        SpeakerVerifier(few, enough)
    with pytest.raises(UserError, match="silent"):
        verifier.score(np.zeros(RATE))
    with pytest.raises(UserError, match=r"one channel, shape \(n,\), not \(2, 9\)"):
        verifier.score(np.zeros((2, 9)))
    with pytest.raises(UserError, match="not finite"):
        verifier.score(np.full(RATE, np.nan))
    with pytest.raises(UserError, match="size differs"):
        SpeakerVerifier(enough, [*enough[:4], enough[0][:-1]], embed=lambda x, rate: x)
    with pytest.raises(UserError, match=r"finite values of shape \(dimensions,\)"):
        SpeakerVerifier(enough, enough, embed=lambda x, rate: np.zeros(3))


def test_real_speakers_are_told_apart(shared_data: Path) -> None:
    def recordings(speaker: str, pattern: str) -> list[np.ndarray]:
        folder = shared_data / "vcc2016" / speaker
        return [soundfile.read(path)[0] for path in sorted(folder.glob(pattern))]

    verifier = SpeakerVerifier(recordings("SF1", "10001*"), recordings("TM1", "10002*"))
    assert verifier.equal_error == 0
    for samples in recordings("TM1", "2*"):
        assert verifier.score(samples).probability > 0.9
    for samples in recordings("SF1", "2*"):
        assert verifier.score(samples).probability < 0.1
