"""Convert a voice by filtering its waveform, without a vocoder; the pitch stays.

Kobayashi, Toda, Neubig, Sakti, Nakamura: "Statistical Singing Voice Conversion with Direct
Waveform Modification based on the Spectrum Differential", Interspeech 2014. Each frame is filtered
by what the converted envelope has more, or less, than the recording's own,

    |H_t(ω)| = |E'_t(ω)| / |E_t(ω)|

with the phase that makes the filter causal and as short as can be: that of the cepstrum of
ln |H_t| folded to positive times (Oppenheim & Schafer, "Discrete-Time Signal Processing", the
minimum-phase response). The paper's MLSA filter approximates the same response recursively.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclegan_media.errors import UserError
from cyclegan_media.speech.interface import Floats


def filter_frames(
    samples: Floats, log_amplitude: NDArray[np.float64], period: float
) -> NDArray[np.float32]:
    """Filter a signal by a minimum-phase response that changes from frame to frame.

    Every sample goes through the filters of the two frames around it, in the shares of linear
    interpolation, so responses of 1 give back what came in.

    Args:
        samples: ``(n,)``.
        log_amplitude: ``(frames, bins)``, ln of the response at equally spaced frequencies from 0
            to half the sample rate.
        period: samples from one frame to the next; frame ``k`` is centred at ``k · period``.

    Returns:
        ``(n,)``; responses longer than ``2 · (bins − 1 − period)`` samples wrap around.

    Raises:
        UserError: there are too few bins for a response longer than two frames.
    """
    signal = np.asarray(samples, dtype=np.float64)
    frames, bins = log_amplitude.shape
    size = 2 * (bins - 1)
    if size < 4 * period:
        raise UserError(f"filter: {bins} bins are too few for frames of {period:g} samples")
    out = np.zeros(len(signal) + size)
    for frame in range(frames):
        start = max(0, int(np.floor((frame - 1) * period)) + 1)
        # The last frame's filter holds to the end.
        end = len(signal) if frame == frames - 1 else int(np.ceil((frame + 1) * period))
        response = _minimum_phase(log_amplitude[frame])
        for left in range(start, min(end, len(signal)), size // 2):
            right = min(end, len(signal), left + size // 2)
            place = np.minimum(np.arange(left, right) / period, frames - 1)
            part = signal[left:right] * (1 - np.abs(place - frame))
            out[left : left + size] += np.fft.irfft(np.fft.rfft(part, size) * response, size)
    return out[: len(signal)].astype(np.float32)


def _minimum_phase(log_amplitude: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The response ``(bins,)`` with that amplitude."""
    cepstrum = np.fft.irfft(log_amplitude)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum))
