"""Where a converted voice is heard, and where the recording itself: in pauses, it stays.

A network is trained on speech, and a vocoder has no words for room tone: what either makes of
background is louder or buzzes, and the gain that keeps the level of speech moves the background,
too. So what is a pause beyond doubt sounds as it was recorded, at its own level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.speech.interface import VoiceFeatures
from cyclegan_media.speech.statistics import ACTIVE_RANGE_DB, active_frames

_FLOOR_SECONDS = 4.0
"""Nobody speaks so long without a pause, so the quietest tenth of it is background."""
_SMOOTHED_SECONDS = 0.05
"""By the median: noise fluctuates by several dB from frame to frame, consonants last longer."""
_ABOVE_FLOOR_DB = 6.0
_BELOW_SPEECH_DB = 40.0
"""Below the loudest frame within 2 s; the weakest fricatives are some 30 dB below vowels."""
_NEAR_SECONDS = 2.0
_LOWEST_HERTZ = 20.0
FADE_SECONDS = 0.03
"""From the recording to the voice and back, all of it within the pause."""


def speech_share(
    features: VoiceFeatures, frame_seconds: float, range_db: float = ACTIVE_RANGE_DB
) -> NDArray[np.float32]:
    """``(frames,)``: how much of the converted voice is heard in each frame; 0 in pauses.

    A frame is a pause if it is none of :func:`~cyclegan_media.speech.statistics.active_frames` and
    either near the background, a floor that is followed over 4 s, or far below the speech around
    it. So words that are quiet only beside a shout in the same recording are no pauses, and nor is
    anything in a recording whose noise is as loud as its quiet sounds. All others have share 1,
    which falls linearly to 0 over the first 30 ms of a pause.

    Args:
        features: of the recording that is converted.
        frame_seconds: from one frame to the next.
        range_db: of the active frames.
    """
    from scipy.ndimage import (
        distance_transform_edt,
        maximum_filter1d,
        median_filter,
        percentile_filter,
    )

    smoothed = 2 * round(_SMOOTHED_SECONDS / frame_seconds / 2) + 1
    level = median_filter(features.level(), size=smoothed, mode="nearest")
    size = min(len(level), max(1, round(_FLOOR_SECONDS / frame_seconds)))
    floor = percentile_filter(level, 10, size=size, mode="nearest")
    around = 2 * round(_NEAR_SECONDS / frame_seconds) + 1
    loudest = maximum_filter1d(level, around, mode="nearest")
    quiet = level < np.maximum(floor + _ABOVE_FLOOR_DB, loudest - _BELOW_SPEECH_DB)
    pause = quiet & ~active_frames(features, range_db)
    if pause.all():
        return np.zeros(len(level), dtype=np.float32)
    distance = distance_transform_edt(pause)
    fade = max(1.0, FADE_SECONDS / frame_seconds)
    return np.clip(1 - distance / fade, 0, 1).astype(np.float32)


def without_offset(signal: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """``(n,)`` without what lies below 20 Hz and cannot be heard."""
    from scipy.signal import butter, sosfilt, sosfilt_zi

    # In single precision, as a recording of hours in double would fill the memory.
    sections = butter(2, _LOWEST_HERTZ, "highpass", fs=sample_rate, output="sos")
    settled = (sosfilt_zi(sections) * signal[0]).astype(np.float32)
    filtered, _ = sosfilt(sections.astype(np.float32), signal, zi=settled)
    return np.asarray(filtered, dtype=np.float32)
