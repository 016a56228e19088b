"""The table of methods: made-up speakers from files to JSON, and real ones as known."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from cyclegan_media.errors import UserError
from cyclegan_media.metrics import voice_table
from cyclegan_media.metrics.voice_table import read_voices, score_method

RATE = 16000
SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "evaluate_voice.py"


def utterance(f0: float, resonances: tuple[float, ...], seed: int) -> np.ndarray:
    """0.8 s of pulses through resonances that move with the sentence ``seed``."""
    random = np.random.default_rng(seed)
    pitch = f0 * np.exp(0.1 * np.sin(np.linspace(0, 6, RATE * 8 // 10) + seed))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0)
    signal = pulses + 1e-3 * random.standard_normal(len(pulses))
    moves = random.uniform(0.8, 1.2, size=(8, len(resonances)))
    parts = np.split(signal, 8)
    for k, part in enumerate(parts):
        for resonance, move in zip(resonances, moves[k], strict=True):
            angle = 2 * np.pi * resonance * move / RATE
            part = lfilter([1.0], [1.0, -2 * 0.95 * np.cos(angle), 0.95**2], part)
        parts[k] = part
    whole = np.concatenate(parts)
    return 0.5 * whole / np.abs(whole).max()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two speakers with five sentences each to learn from, none shared, and one said by both."""
    root = tmp_path_factory.mktemp("voices")
    voices = {"low": (110.0, (500.0, 1500.0), 0), "high": (210.0, (650.0, 1900.0), 5)}
    for name, (f0, resonances, first) in voices.items():
        (root / name).mkdir()
        for number in [*range(first, first + 5), 90]:
            path = root / name / (f"{number}.wav" if number < 90 else "held.wav")
            soundfile.write(path, utterance(f0, resonances, number), RATE)
    return {name: root / name for name in voices}


@pytest.fixture(scope="module")
def script() -> Callable[[list[str]], int]:
    """The script's main function."""
    return runpy.run_path(str(SCRIPT))["main"]


def test_script_prints_a_table_from_folders(
    script: Callable[[list[str]], int],
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ["--data-a", str(folders["low"]), "--data-b", str(folders["high"])]
    assert script([*data, "--held-out", "held*", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["a"], got["b"], got["sentences"]) == ("low", "high", ["held"])
    assert got["verifier_equal_error"] == 0
    for table in got["directions"].values():
        # No sentence is shared, so there is nothing for a parallel method to learn from.
        assert list(table) == [voice_table.UNCONVERTED, voice_table.MOMENTS, voice_table.COPY]
        before, moments, floor = table.values()
        assert before["mcd"] > moments["mcd"] > floor["mcd"] > 0
        assert before["log_f0_rmse"] == pytest.approx(np.log(210 / 110), abs=0.1)
        assert moments["log_f0_rmse"] < 0.2
        assert before["probability"] < 0.2 < 0.8 < floor["probability"]
        assert before["similarity"] < moments["similarity"]


def test_script_says_what_is_wrong(
    script: Callable[[list[str]], int],
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    low, high = (str(folder) for folder in folders.values())
    for arguments, message in (
        (["--data-a", low, "--data-b", str(tmp_path / "none")], "none: no such folder"),
        (["--data-a", low, "--data-b", high, "--held-out", "no*"], "no file is like no*"),
        (["--data-a", low, "--data-b", high, "--model", str(tmp_path / "m")], "no such model"),
        (["--data-a", low, "--data-b", high, "--variance", "2"], "variance: must be in 0…1"),
        (["--data-a", low, "--data-b", high, "--retrieval", "2"], "retrieval: must be in 0…1"),
    ):
        assert script(arguments) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.strip().splitlines()[-1].startswith("error: ")
        assert message in output.err


def test_a_method_that_gives_the_target_itself_is_at_no_distance(folders: dict[str, Path]) -> None:
    low, high = (sorted(folder.glob("*.wav")) for folder in folders.values())
    held = [[path for path in files if path.stem == "held"] for files in (low, high)]
    voices = read_voices(low[:5], high[:5], *held)
    verifier = voice_table.train_verifier(voices)
    scores = score_method(lambda item: voices.held_out["b"][0].samples, voices, "a2b", verifier)
    assert scores.distances.mcd == 0
    assert scores.distances.log_f0_rmse == 0
    assert scores.distances.gv_distance == 0
    assert scores.distances.ms_distance == 0
    assert scores.probability > 0.8
    with pytest.raises(UserError, match="have the same name"):
        read_voices(low[:5], high[:5], held[0], high[:1])


def test_a_parallel_method_is_left_out_where_there_is_too_little_to_learn_from(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    low = sorted(folders["low"].glob("*.wav"))
    few = read_voices(low[:2], low[:2], low[5:], low[5:])
    assert [list(methods) for methods in voice_table.baselines(few).values()] == [
        [voice_table.UNCONVERTED, voice_table.MOMENTS]
    ] * 2
    assert "left out: joint-density GMM" in caplog.text


KNOWN = {
    "a2b": {
        voice_table.UNCONVERTED: (9.75, 0.51, 0.29),
        voice_table.MOMENTS: (9.01, 0.24, 0.11),
        voice_table.PARALLEL_GMM: (6.31, 0.25, 0.74),
        voice_table.COPY: (2.08, 0.09, 0.04),
    },
    "b2a": {
        voice_table.UNCONVERTED: (9.75, 0.51, 0.29),
        voice_table.MOMENTS: (9.14, 0.32, 0.16),
        voice_table.PARALLEL_GMM: (6.64, 0.28, 0.77),
        voice_table.COPY: (2.44, 0.11, 0.05),
    },
}
"""MCD, log-F0 RMSE and GV distance of SF1 and TM1 by an independent computation."""


@pytest.mark.slow
def test_real_speakers_are_as_far_apart_as_known(shared_data: Path) -> None:
    files = [
        sorted((shared_data / "vcc2016" / speaker).glob(pattern))
        for pattern in ("1*.wav", "2*.wav")
        for speaker in ("SF1", "TM1")
    ]
    voices = read_voices(*files)
    verifier = voice_table.train_verifier(voices)
    assert verifier.equal_error == 0
    for direction, methods in voice_table.baselines(voices).items():
        table = {
            name: score_method(method, voices, direction, verifier)
            for name, method in methods.items()
        }
        table[voice_table.COPY] = voice_table.score_copies(voices, direction, verifier)
        restored = table.pop(voice_table.PARALLEL_GMM_GV).distances
        assert list(table) == list(KNOWN[direction])
        # Where the variance is the target's, what is wrong is stretched with it.
        plain = table[voice_table.PARALLEL_GMM].distances
        assert restored.gv_distance < 0.4 * plain.gv_distance
        assert plain.mcd < restored.mcd < table[voice_table.MOMENTS].distances.mcd
        for name, scores in table.items():
            mcd, f0, gv = KNOWN[direction][name]
            assert scores.distances.mcd == pytest.approx(mcd, abs=0.15)
            assert scores.distances.log_f0_rmse == pytest.approx(f0, abs=0.03)
            assert scores.distances.gv_distance == pytest.approx(gv, abs=0.05)
        assert table[voice_table.UNCONVERTED].probability < 0.05
        assert table[voice_table.COPY].probability > 0.95
        assert table[voice_table.COPY].similarity == pytest.approx(1, abs=0.2)
