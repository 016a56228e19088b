"""Random segments of recordings, as standardised spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan_media.errors import UserError
from cyclegan_media.speech import SpeakerStatistics, VoiceFeatures, active_frames, has_speech

_LEAST_SPEECH = 0.5
"""Share of a segment's frames that must be speech, where the utterance has such a place."""


class VoiceSegments:
    """One speaker's recordings as a domain to train on.

    Silence before and after the speech is cut off. Utterances without any voiced frame are left
    out (noises, room tone); shorter ones than a segment are continued by their mirror image.

    Args:
        features: one speaker's recordings.
        statistics: what they are standardised by.
        frames: length of a segment.
        where: what to call the recordings in messages, for instance their folder.

    Raises:
        UserError: there is less than a segment of speech.
    """

    def __init__(
        self,
        features: Sequence[VoiceFeatures],
        statistics: SpeakerStatistics,
        frames: int = 128,
        where: str = "voice",
    ) -> None:
        self.frames = frames
        self._utterances: list[Tensor] = []
        self._starts: list[Tensor] = []
        total = 0
        for item in features:
            if not has_speech(item):
                continue
            active = active_frames(item)
            first, last = np.flatnonzero(active)[[0, -1]]
            spectrum = statistics.standardise(item.spectrum[:, first : last + 1])
            total += int(active.sum())
            self._utterances.append(torch.from_numpy(_at_least(spectrum, frames)))
            self._starts.append(torch.from_numpy(_starts(active[first : last + 1], frames)))
        if total < frames:
            raise UserError(
                f"{where}: the recordings hold {total} frames of speech, less than one segment of"
                f" {frames}; record more, or train on shorter segments"
            )

    def __len__(self) -> int:
        return len(self._utterances)

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        """A segment ``(coefficients, frames)``, float32; a function of its arguments alone."""
        return self.cut(index, self.frames, rng)

    def cut(self, index: int, frames: int, rng: torch.Generator) -> Tensor:
        """As :meth:`sample`, but of another length, or of the recording's if it is shorter."""
        starts, utterance = self._starts[index], self._utterances[index]
        start = int(starts[torch.randint(len(starts), (), generator=rng)])
        start = max(0, min(start, utterance.shape[1] - frames))
        return utterance[:, start : start + frames].clone()


def _at_least(spectrum: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    short = max(0, frames - spectrum.shape[1])
    # "symmetric" repeats the edge frame, so that a single frame can be continued, too.
    return np.ascontiguousarray(np.pad(spectrum, ((0, 0), (0, short)), mode="symmetric"))


def _starts(active: NDArray[np.bool_], frames: int) -> NDArray[np.int64]:
    """Where segments may start: all places with enough speech, else those with the most."""
    counted = np.concatenate([[0], np.cumsum(active)])
    if len(active) <= frames:
        return np.zeros(1, dtype=np.int64)
    speech = counted[frames:] - counted[:-frames]
    enough = min(_LEAST_SPEECH * frames, speech.max())
    return np.flatnonzero(speech >= enough)
