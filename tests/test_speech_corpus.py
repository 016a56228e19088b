"""Corpora: every way of analysing them gives the same, and the cache is only a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cyclegan_media.datasets.recordings import read_samples
from cyclegan_media.errors import UserError
from cyclegan_media.speech import AnalysisConfig, Features, analyse, analyse_corpus

CONFIG = AnalysisConfig(f0="dio")


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    clock = np.arange(4000) / 16000
    paths = []
    for number in range(18):
        pulses = np.cos(2 * np.pi * (100 + 10 * number) * clock) > 0.95
        samples = 0.3 * pulses + 0.001 * rng.normal(size=4000)
        paths.append(tmp_path / f"{number:02d}.wav")
        soundfile.write(paths[-1], samples, 16000)
    return paths


def same(x: Features, y: Features) -> bool:
    return x.samples == y.samples and all(
        np.array_equal(a, b)
        for a, b in zip((x.f0, x.mel_cepstrum, x.energy), (y.f0, y.mel_cepstrum, y.energy),
                        strict=True)
    )  # fmt: skip


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "speech").iterdir())


def test_several_processes_find_what_one_does_in_order(recordings: list[Path]) -> None:
    alone = analyse_corpus(recordings, CONFIG, read=read_samples, cache=False, workers=1)
    together = analyse_corpus(recordings, CONFIG, read=read_samples, cache=False, workers=2)
    assert all(map(same, alone, together))
    single = analyse(read_samples(recordings[7], 16000), CONFIG)
    assert same(alone[7], single)


def test_what_is_known_is_not_analysed_again(recordings: list[Path], tmp_path: Path) -> None:
    reads: list[str] = []

    def read(path: Path, rate: int) -> np.ndarray:
        reads.append(path.name)
        return read_samples(path, rate)

    def run(paths: list[Path], config: AnalysisConfig = CONFIG, **keys: bool) -> Sequence[Features]:
        reads.clear()
        return analyse_corpus(paths, config, read=read, cache=tmp_path / "cache", workers=1, **keys)

    first = run(recordings[:3])
    assert reads == ["00.wav", "01.wav", "02.wav"]
    assert all(map(same, first, run(recordings[:3])))
    assert reads == []

    moved = recordings[0].rename(tmp_path / "elsewhere.wav")  # its content is what counts
    run([moved, recordings[3]])
    assert reads == ["03.wav"]

    run([moved], CONFIG.model_copy(update={"coefficients": 30}))
    assert reads == ["elsewhere.wav"]
    assert run([moved], aperiodicity=True)[0].aperiodicity is not None
    assert reads == ["elsewhere.wav"]
    run([moved], CONFIG.model_copy(update={"alpha": 0.42}))  # what null stands for at 16 kHz
    assert reads == []


def test_a_damaged_entry_is_made_anew(recordings: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def run() -> Sequence[Features]:
        return analyse_corpus(recordings[:1], CONFIG, read=read_samples, cache=cache, workers=1)

    wanted = run()[0]
    [entry] = entries(cache)
    whole = entry.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not an archive", whole[:200] + b"x" * 40):
        entry.write_bytes(damaged)
        assert same(run()[0], wanted)
        assert entry.read_bytes() == whole
    arrays = dict(np.load(entry))
    arrays["f0"][3] = np.nan
    np.savez(entry, **arrays)
    assert same(run()[0], wanted)
    np.savez(entry, **{**arrays, "f0": arrays["f0"][:-1]})
    assert same(run()[0], wanted)


def test_what_is_found_stays_in_the_cache_and_is_made_anew_where_that_goes(
    recordings: list[Path], tmp_path: Path
) -> None:
    wanted = analyse_corpus(recordings, CONFIG, read=read_samples, cache=False, workers=1)
    for workers in (1, 2):
        cache = tmp_path / f"cache-{workers}"
        found = analyse_corpus(recordings, CONFIG, read=read_samples, cache=cache, workers=workers)
        assert len(entries(cache)) == len(found) == 18
        assert same(found[-1], wanted[17])
        assert all(map(same, found[3:5], wanted[3:5]))
        entries(cache)[0].unlink()
        entries(cache)[1].write_bytes(b"no archive")
        assert all(map(same, found, wanted))
        with pytest.raises(IndexError):
            found[18]


def test_a_cache_that_cannot_be_written_only_costs_time(
    recordings: list[Path], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should go")
    found = analyse_corpus(recordings[:1], CONFIG, read=read_samples, cache=blocked, workers=1)
    assert same(found[0], analyse(read_samples(recordings[0], 16000), CONFIG))


def test_progress_counts_every_recording(recordings: list[Path], tmp_path: Path) -> None:
    for _ in range(2):  # analysed, then remembered
        assert _progress(recordings[:4], tmp_path / "cache") == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _progress(paths: list[Path], cache: Path) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    analyse_corpus(paths, CONFIG, read=read_samples, cache=cache, workers=1, progress=progress)
    return seen


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_recording_is_named(recordings: list[Path], tmp_path: Path, workers: int) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF and nothing more")
    with pytest.raises(UserError, match=r"broken\.wav"):
        analyse_corpus(
            [*recordings, broken], CONFIG, read=read_samples, cache=False, workers=workers
        )


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.wav"):
        analyse_corpus([tmp_path / "gone.wav"], CONFIG, read=read_samples, cache=tmp_path)
    with pytest.raises(UserError, match=r"gone\.wav"):
        analyse_corpus([tmp_path / "gone.wav"], CONFIG, read=read_samples, cache=False)


def test_nothing_to_analyse_is_no_mistake() -> None:
    assert len(analyse_corpus([], CONFIG, read=read_samples, cache=False)) == 0
