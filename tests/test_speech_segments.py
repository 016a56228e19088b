"""Training segments: standardised speech, silence cut off, short recordings mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan_media.datasets.unpaired import random_generator
from cyclegan_media.datasets.voices import VoiceSegments
from cyclegan_media.errors import UserError
from cyclegan_media.speech import Features, SpeakerStatistics

UNIT = SpeakerStatistics(np.zeros(1, np.float32), np.ones(1, np.float32), 5.0, 0.1)


def recording(active: list[tuple[int, int]], frames: int, voiced: bool = True) -> Features:
    """One coefficient that counts the frames; loud and voiced in the ranges given."""
    level = np.full(frames, -80.0)
    f0 = np.zeros(frames, np.float32)
    for start, stop in active:
        level[start:stop] = -20
        f0[start:stop] = 100 if voiced else 0
    return Features(
        f0=f0,
        mel_cepstrum=np.arange(frames, dtype=np.float32)[None],
        energy=(level * np.log(10) / 20).astype(np.float32),
        samples=80 * frames,
    )


def samples(segments: VoiceSegments, index: int = 0, count: int = 200) -> torch.Tensor:
    return torch.stack([segments.sample(index, random_generator(k)) for k in range(count)])[:, 0]


def test_segments_lie_within_the_speech_and_are_contiguous() -> None:
    segments = VoiceSegments([recording([(50, 250)], 400)], UNIT, frames=64)
    drawn = samples(segments)
    assert drawn.shape == (200, 64)
    assert (drawn.diff(dim=1) == 1).all()
    starts = drawn[:, 0]
    assert starts.min() == 50
    assert starts.max() == 250 - 64
    assert len(starts.unique()) > 60


def test_a_sample_depends_on_its_arguments_alone() -> None:
    segments = VoiceSegments([recording([(0, 300)], 300)], UNIT, frames=32)
    again = VoiceSegments([recording([(0, 300)], 300)], UNIT, frames=32)
    assert torch.equal(samples(segments), samples(again))
    one = segments.sample(0, random_generator(1))
    one += 1000  # what a caller does to it stays with the caller
    assert samples(segments).max() < 1000


def test_segments_are_at_least_half_speech_where_there_is_such_a_place() -> None:
    segments = VoiceSegments([recording([(0, 100), (300, 400)], 400)], UNIT, frames=50)
    drawn = samples(segments, count=400)
    speech = (drawn < 100) | (drawn >= 300)
    assert (speech.float().mean(dim=1) >= 0.5).all()
    sparse = VoiceSegments([recording([(0, 20), (100, 110), (180, 200)], 200)], UNIT, frames=50)
    drawn = samples(sparse)
    speech = (drawn < 20) | ((drawn >= 100) & (drawn < 110)) | (drawn >= 180)
    assert (speech.sum(dim=1) == 20).all()  # the most there is anywhere


def test_a_short_recording_is_continued_by_its_mirror_image() -> None:
    item = recording([(10, 15)], 30)
    segments = VoiceSegments([item, recording([(0, 40)], 40)], UNIT, frames=12)
    assert samples(segments, 0, 1).tolist() == [[10, 11, 12, 13, 14, 14, 13, 12, 11, 10, 10, 11]]


def test_recordings_without_voice_are_left_out() -> None:
    hiss, speech = recording([(0, 90)], 90, voiced=False), recording([(0, 90)], 90)
    assert len(VoiceSegments([hiss, speech, hiss], UNIT, frames=16)) == 1


def test_segments_are_standardised() -> None:
    speaker = SpeakerStatistics(np.float32([100]), np.float32([50]), 5.0, 0.1)
    segments = VoiceSegments([recording([(0, 400)], 400)], speaker, 100)
    original = samples(segments, count=50) * 50 + 100
    torch.testing.assert_close(original, original.round(), atol=1e-3, rtol=0)
    torch.testing.assert_close(original.diff(dim=1), torch.ones(50, 99), atol=1e-3, rtol=0)


def test_too_little_speech_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="folder/a: the recordings hold 20 frames of speech"):
        VoiceSegments([recording([(0, 20)], 500)], UNIT, 64, where="folder/a")
    with pytest.raises(UserError, match="folder/a: the recordings hold 0 frames of speech"):
        VoiceSegments([], UNIT, 64, where="folder/a")
