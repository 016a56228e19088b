"""Two made-up voices that say made-up sentences, so that a conversion has a known right answer.

This is a small formant synthesiser, not speech: it babbles syllables of about twenty sounds, with
word accents and pauses, and no language. A sentence is its seed. It can be said by voice ``"a"``
or ``"b"``, and by one of them with the timing of the other; the latter is the truth for a
conversion, which keeps the timing of what it converts, and which unpaired training never sees.

The voices differ in what people's do: ``"a"`` has the formants of the women and ``"b"`` those of
the men whose vowels Peterson & Barney measured ("Control Methods Used in a Study of the Vowels",
1952, table II), which is more than one factor for all, since every vowel moves by its own way;
and consonants, pitch and its range, the slope and the breath of the glottal source, bandwidths,
tempo and the rhythm of long and short.

The model of speech is source and filter (Fant: "Acoustic Theory of Speech Production", 1960):
pulses and breath through a cascade of formants, hiss of fricatives and bursts through a band of
their own. Everything glides from sound to sound, and is applied frame by frame in the frequency
domain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cyclegan_media.errors import UserError
from cyclegan_media.files import atomic_directory

Speaker = Literal["a", "b"]
Floats = NDArray[np.floating[Any]]

SAMPLE_RATE = 16000
_HOP = 80  # samples from one frame of the filter to the next: 5 ms
_WINDOW = 320
_FFT = 1024
_GLIDE = 4.0  # frames; how far a sound reaches into its neighbours (deviation of a Gaussian)
_FASTER_GLIDE = 1.2  # frames; the same for loudness, whose steps make consonants
_ROOM = 3e-4  # amplitude of the noise of the room
_EDGE_SECONDS = 0.08  # of silence before and after a sentence


@dataclass(frozen=True)
class Sound:
    """One sound of the inventory. Formants in Hz, by speaker; levels in dB, −99 for none."""

    formants: dict[Speaker, tuple[float, float, float]]
    seconds: float
    voice: float = -99.0
    """Level of the glottal source."""
    hiss: float = -99.0
    """Level of the noise of a fricative or a burst."""
    band: tuple[float, float] = (4000.0, 1000.0)
    """Centre and deviation of the noise, in Hz, as ``"b"`` says it."""
    damping: float = 1.0
    """Factor on the bandwidths: nasals lose more."""


@dataclass(frozen=True)
class Voice:
    """What makes a speaker, besides the formants of each sound."""

    pitch: float  # Hz, the geometric mean
    range: float  # natural logarithm: deviation of the pitch
    fourth: float  # Hz, the fourth formant
    hiss_shift: float  # factor on the bands of noise
    slope: float  # dB per octave, of the glottal source
    breath: float  # dB, noise beside the pulses
    bandwidth: float  # Hz, of the first formant
    tempo: float  # factor on all durations
    stretch: float  # exponent: above 1, long sounds are longer and short ones shorter


VOICES: dict[Speaker, Voice] = {
    "a": Voice(
        pitch=205, range=0.20, fourth=4300, hiss_shift=1.15, slope=-13, breath=-26,
        bandwidth=80, tempo=0.95, stretch=1.0,
    ),
    "b": Voice(
        pitch=112, range=0.15, fourth=3500, hiss_shift=1.0, slope=-9, breath=-36,
        bandwidth=55, tempo=1.1, stretch=1.25,
    ),
}  # fmt: skip


def _vowel(a: tuple[float, float, float], b: tuple[float, float, float], seconds: float) -> Sound:
    return Sound({"a": a, "b": b}, seconds, voice=0.0)


def _consonant(b: tuple[float, float, float], seconds: float, **keys: Any) -> Sound:
    # Peterson & Barney measured vowels only; a woman's tract is about 15 % shorter.
    return Sound({"a": (1.12 * b[0], 1.18 * b[1], 1.15 * b[2]), "b": b}, seconds, **keys)


SOUNDS: dict[str, Sound] = {
    "i": _vowel((310, 2790, 3310), (270, 2290, 3010), 0.11),
    "e": _vowel((610, 2330, 2990), (530, 1840, 2480), 0.11),
    "ae": _vowel((860, 2050, 2850), (660, 1720, 2410), 0.13),
    "a": _vowel((850, 1220, 2810), (730, 1090, 2440), 0.13),
    "o": _vowel((590, 920, 2710), (570, 840, 2410), 0.12),
    "u": _vowel((370, 950, 2670), (300, 870, 2240), 0.11),
    "uh": _vowel((760, 1400, 2780), (640, 1190, 2390), 0.09),
    "er": _vowel((500, 1640, 1960), (490, 1350, 1690), 0.12),
    "m": _consonant((250, 1100, 2200), 0.07, voice=-9.0, damping=2.5),
    "n": _consonant((250, 1550, 2500), 0.06, voice=-9.0, damping=2.5),
    "l": _consonant((350, 1050, 2800), 0.06, voice=-5.0),
    "w": _consonant((290, 650, 2200), 0.06, voice=-6.0),
    "j": _consonant((270, 2200, 2950), 0.06, voice=-6.0),
    "s": _consonant((320, 1500, 2550), 0.10, hiss=-14.0, band=(5600, 900)),
    "sh": _consonant((320, 1750, 2500), 0.10, hiss=-12.0, band=(3200, 800)),
    "f": _consonant((320, 1000, 2200), 0.09, hiss=-24.0, band=(5000, 2500)),
    "z": _consonant((280, 1500, 2550), 0.07, voice=-12.0, hiss=-20.0, band=(5600, 900)),
    "p": _consonant((300, 850, 2200), 0.02, hiss=-20.0, band=(1200, 900)),
    "t": _consonant((320, 1700, 2600), 0.02, hiss=-13.0, band=(4600, 1200)),
    "k": _consonant((300, 1900, 2400), 0.03, hiss=-15.0, band=(2200, 500)),
    "closure": _consonant((300, 1300, 2400), 0.05),
    "pause": _consonant((450, 1450, 2450), 0.12),
}
_VOWELS = ("i", "e", "ae", "a", "o", "u", "uh", "er")
_ONSETS = ("m", "n", "l", "w", "j", "s", "sh", "f", "z", "p", "t", "k", "")
_CODAS = ("n", "m", "l", "s", "")
_STOPS = ("p", "t", "k")


def say(sentence: int, voice: Speaker, *, timing_of: Speaker | None = None) -> NDArray[np.float32]:
    """One sentence, about 1.5 to 3 s: ``(n,)`` in −1…1 at :data:`SAMPLE_RATE`.

    Args:
        sentence: its seed, 0 or more; equal seeds give equal recordings.
        voice: who says it.
        timing_of: whose durations it has; ``None`` for the voice's own. ``say(k, "b",
            timing_of="a")`` is in step with ``say(k, "a")``, sample by sample.

    Raises:
        UserError: another voice, or a negative seed.
    """
    timing = timing_of or voice
    for name in (voice, timing):
        if name not in VOICES:
            raise UserError(f"voice {name!r}: must be 'a' or 'b'")
    if sentence < 0:
        raise UserError(f"sentence {sentence}: must be 0 or more")
    names, accents = _sentence(sentence)
    tracks = _tracks(names, accents, _durations(sentence, names, timing), voice)
    noise = np.random.default_rng([sentence, 2, ord(voice)])
    return _synthesise(tracks, VOICES[voice], noise)


def write_recordings(
    folder: str | Path,
    sentences: Iterable[int],
    voice: Speaker,
    *,
    timing_of: Speaker | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``say`` of every sentence as ``sentence_00042.wav`` into a new ``folder``.

    For unpaired training give the two voices sentences that have none in common.
    """
    from cyclegan_media.media import write_audio

    with atomic_directory(folder, overwrite=overwrite) as partial:
        for sentence in sentences:
            samples = say(sentence, voice, timing_of=timing_of)
            write_audio(partial / f"sentence_{sentence:05d}.wav", samples, SAMPLE_RATE)
    return Path(folder)


def write_voices(
    folder: str | Path, sentences: int = 45, held_out: int = 4, *, overwrite: bool = False
) -> Path:
    """Write the demonstration's data: two voices to train on, and held-out pairs with the truth.

    ``trainA`` and ``trainB`` hold ``sentences`` recordings each, no sentence in both. ``testA``
    and ``testB`` hold the same ``held_out`` sentences, in neither training half; ``truthA2B``
    has those of ``testA`` said by ``"b"`` with the timing of ``"a"``, ``truthB2A`` the reverse.
    """
    test = range(held_out)
    train_a = range(held_out, held_out + sentences)
    train_b = range(held_out + sentences, held_out + 2 * sentences)
    with atomic_directory(folder, overwrite=overwrite) as partial:
        write_recordings(partial / "trainA", train_a, "a")
        write_recordings(partial / "trainB", train_b, "b")
        write_recordings(partial / "testA", test, "a")
        write_recordings(partial / "testB", test, "b")
        write_recordings(partial / "truthA2B", test, "b", timing_of="a")
        write_recordings(partial / "truthB2A", test, "a", timing_of="b")
    return Path(folder)


def _sentence(seed: int) -> tuple[list[str], list[float]]:
    """The sounds of a sentence, and for each the height of its pitch (about −2…2)."""
    rng = np.random.default_rng([seed, 0])
    names, accents = ["pause"], [0.0]
    words = int(rng.integers(3, 6))
    for word in range(words):
        if word and rng.random() < 0.25:
            names.append("pause")
            accents.append(accents[-1])
        height = float(rng.normal(0.4, 0.9)) - 1.2 * word / words  # pitch declines
        for _ in range(int(rng.integers(1, 4))):
            onset, coda = str(rng.choice(_ONSETS)), ""
            if rng.random() < 0.35:
                coda = str(rng.choice(_CODAS))
            syllable = [onset, str(rng.choice(_VOWELS)), coda]
            for name in syllable:
                if name:
                    names += ["closure", name] if name in _STOPS else [name]
            accents += [height] * (len(names) - len(accents))
            height -= 0.5
    return [*names, "pause"], [*accents, accents[-1]]


def _durations(sentence: int, names: list[str], voice: Speaker) -> NDArray[np.int64]:
    """Frames of each sound; every speaker times every sentence in an own way."""
    rng = np.random.default_rng([sentence, 1, ord(voice)])
    speaker, typical = VOICES[voice], 0.09
    usual = np.array([SOUNDS[name].seconds for name in names])
    seconds = speaker.tempo * typical * (usual / typical) ** speaker.stretch
    seconds *= np.exp(rng.normal(0, 0.15, len(names)))
    seconds[[0, -1]] = _EDGE_SECONDS
    return np.maximum(2, np.rint(seconds * SAMPLE_RATE / _HOP)).astype(np.int64)


@dataclass(frozen=True)
class _Tracks:
    """What the synthesiser is told, frame by frame."""

    log_pitch: Floats  # (frames,)
    formants: Floats  # (frames, 3)
    damping: Floats  # (frames,)
    voice: Floats  # (frames,), amplitude
    hiss: Floats  # (frames,), amplitude
    band: Floats  # (frames, 2)


def _tracks(
    names: list[str], accents: list[float], frames: NDArray[np.int64], voice: Speaker
) -> _Tracks:
    speaker = VOICES[voice]
    sounds = [SOUNDS[name] for name in names]

    def held(values: list[Any]) -> Floats:
        return np.repeat(np.array(values, dtype=np.float64), frames, axis=0)

    def gliding(values: list[Any], width: float = _GLIDE) -> Floats:
        return gaussian_filter1d(held(values), width, axis=0, mode="nearest")

    def amplitude(levels: list[float]) -> Floats:
        return gliding([10 ** (level / 20) if level > -99 else 0.0 for level in levels],
                       _FASTER_GLIDE)  # fmt: skip

    return _Tracks(
        log_pitch=math.log(speaker.pitch) + speaker.range * gliding(accents, 2 * _GLIDE),
        formants=gliding([sound.formants[voice] for sound in sounds]),
        damping=gliding([sound.damping for sound in sounds]),
        voice=amplitude([sound.voice for sound in sounds]),
        hiss=amplitude([sound.hiss for sound in sounds]),
        band=held([sound.band for sound in sounds]) * speaker.hiss_shift,
    )


def _synthesise(tracks: _Tracks, speaker: Voice, rng: np.random.Generator) -> NDArray[np.float32]:
    length = len(tracks.voice) * _HOP
    pulses = _pulses(np.exp(tracks.log_pitch), length)
    noise = rng.normal(size=(3, length))
    # Breath comes with the pulses, so that it is the speaker's and ends where the voice does.
    source = pulses + 10 ** (speaker.breath / 20) * noise[0]
    voiced = _filter(source, _tract(tracks, speaker) * tracks.voice[:, None])
    hissed = _filter(noise[1], _bands(tracks) * tracks.hiss[:, None])
    samples = voiced + hissed
    samples *= 0.5 / np.abs(samples).max()
    return (samples + _ROOM * noise[2]).astype(np.float32)


def _pulses(pitch: Floats, length: int) -> Floats:
    """Band-limited pulses of unit power: all harmonics up to 7.6 kHz, of equal amplitude.

    ``Σ cos kφ``, k = 1 … K, is half the Dirichlet kernel: ``sin((K + ½)φ) / 2 sin(φ/2) − ½``.
    """
    smooth = np.interp(np.arange(length) / _HOP, np.arange(len(pitch)), pitch)
    phase = math.tau * np.cumsum(smooth) / SAMPLE_RATE
    count = np.floor(7600 / smooth)
    half = np.sin(phase / 2)
    at_pulse = np.abs(half) < 1e-6
    ratio = np.sin((count + 0.5) * phase) / (2 * np.where(at_pulse, 1.0, half))
    return np.where(at_pulse, count, ratio - 0.5) / np.sqrt(count / 2)


_FREQUENCIES = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)


def _tract(tracks: _Tracks, speaker: Voice) -> NDArray[np.complex128]:
    """``(frames, bins)``: the formants in cascade, and the slope of source and radiation.

    A formant is ``F² / (F² − f² + i f B)``: 1 at 0 Hz, F/B at its peak, −12 dB an octave above.
    Those beyond the third stay where they are, 1 kHz apart; they go on past half the sample rate,
    since the level below hangs on them, too.
    """
    f = _FREQUENCIES
    octaves = np.log2(np.maximum(f, 50) / 200)
    response = np.tile(10 ** ((speaker.slope + 6) * octaves / 20), (len(tracks.formants), 1))
    response = response.astype(np.complex128)  # lips radiate +6 dB an octave
    for formant in speaker.fourth + 1000 * np.arange(6):
        response *= formant**2 / (formant**2 - f**2 + 1j * f * 3 * speaker.bandwidth)
    for index, formant in enumerate(tracks.formants.T):
        square, width = formant[:, None] ** 2, speaker.bandwidth * (1 + 0.4 * index)
        response *= square / (square - f**2 + 1j * f * width * tracks.damping[:, None])
    return response


def _bands(tracks: _Tracks) -> Floats:
    """``(frames, bins)``: the bands of noise, Gaussian in amplitude."""
    centre, width = tracks.band[:, :1], tracks.band[:, 1:]
    return np.exp(-0.5 * ((_FREQUENCIES - centre) / width) ** 2)


def _filter(samples: Floats, responses: Floats | NDArray[np.complex128]) -> Floats:
    """Filter with a response per frame ``(frames, bins)``: windowed, multiplied, added up."""
    frames = len(responses)
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW + _FFT))
    parts = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:frames]
    filtered = np.fft.irfft(np.fft.rfft(parts * window, _FFT) * responses, _FFT)
    out = np.zeros(frames * _HOP + _FFT)
    for start, part in enumerate(filtered):
        out[start * _HOP : start * _HOP + _FFT] += part
    # Hann windows at a quarter of their length add up to 2.
    return out[_WINDOW // 2 :][: len(samples)] / 2
