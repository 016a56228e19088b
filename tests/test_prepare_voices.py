"""Long recordings become utterances of one loudness, and data sets are checked."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from cyclegan_media.cli import main
from cyclegan_media.demo.voices import say
from cyclegan_media.prepare.utterances import find_utterances
from cyclegan_media.prepare.voices import VoiceOptions, clipped_share, loudness, prepare_voices

RATE = 16000
PAUSE = 1.5


def sentences(count: int, first: int = 0) -> list[np.ndarray]:
    return [0.4 * say(first + k, "a") / np.abs(say(first + k, "a")).max() for k in range(count)]


def recording(path: Path, parts: list[np.ndarray]) -> list[tuple[float, float]]:
    """Write them with pauses, and say where each begins and ends, in seconds."""
    silence, places, time = np.zeros(round(PAUSE * RATE)), [], PAUSE
    sound = [silence]
    for part in parts:
        places.append((time, time + len(part) / RATE))
        sound += [part, silence]
        time += len(part) / RATE + PAUSE
    soundfile.write(path, np.concatenate(sound), RATE)
    return places


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "prepared.jsonl").read_text().splitlines()]


def heard_by_ffmpeg(path: Path) -> float:
    """Integrated loudness by FFmpeg's ebur128, which knows nothing of this toolkit."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        graph = av.filter.Graph()
        source = graph.add_abuffer(template=stream)
        measure = graph.add("ebur128", "metadata=1")
        sink = graph.add("abuffersink")
        source.link_to(measure)
        measure.link_to(sink)
        graph.configure()
        values = []
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    found = graph.pull()
                except (av.BlockingIOError, av.EOFError):
                    break
                values.append(dict(found.metadata).get("lavfi.r128.I"))
    known = [float(value) for value in values if value is not None]
    if not known:
        pytest.skip("this FFmpeg does not hand its measurement over")
    return known[-1]


def test_utterances_begin_and_end_where_somebody_speaks(tmp_path: Path) -> None:
    places = recording(tmp_path / "long.wav", sentences(6))
    out = tmp_path / "out"
    result = prepare_voices([str(tmp_path / "long.wav")], out, VoiceOptions(test=0))
    rows = rows_of(out)
    assert result.train == len(rows) == len(places)
    for row, (start, stop) in zip(rows, places, strict=True):
        assert row["start"] == pytest.approx(start, abs=0.3)
        assert row["stop"] == pytest.approx(stop, abs=0.4)
        samples, rate = soundfile.read(out / row["file"])
        assert rate == RATE
        assert len(samples) / rate == pytest.approx(row["stop"] - row["start"], abs=1e-3)


def test_they_come_at_the_rate_and_loudness_asked_for(tmp_path: Path) -> None:
    parts = [gain * part for gain, part in zip((0.05, 0.3, 1.0), sentences(3), strict=True)]
    recording(tmp_path / "a.wav", parts)
    out = tmp_path / "out"
    line = ["prepare", "voices", str(tmp_path / "a.wav"), "-o", str(out), "--test", "0"]
    assert main([*line, "--rate", "22050", "--loudness", "-27"]) == 0
    files = sorted((out / "train").iterdir())
    assert len(files) == 3
    for path in files:
        samples, rate = soundfile.read(path)
        assert rate == 22050
        assert np.abs(samples).max() < 1
        assert loudness(samples, rate) == pytest.approx(-27, abs=0.5)
        assert heard_by_ffmpeg(path) == pytest.approx(-27, abs=0.5)


def test_what_is_long_is_cut_where_it_is_quiet_and_nothing_is_said_twice() -> None:
    speech = np.concatenate(sentences(8))  # without pauses
    found = find_utterances(speech, RATE, shortest=0.5, longest=4.0)
    assert len(found) > 2
    assert all(stop - start <= 4.0 + 0.25 for start, stop in found)
    assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(found))
    covered = sum(stop - start for start, stop in found)
    assert covered > 0.9 * len(speech) / RATE


def test_clipping_is_found_and_loud_speech_is_not_taken_for_it() -> None:
    speech = sentences(1)[0]
    assert clipped_share(speech / np.abs(speech).max()) < 0.0005
    assert clipped_share(np.clip(4 * speech / np.abs(speech).max(), -1, 1)) > 0.005
    assert clipped_share(np.zeros(0)) == 0


def test_clipped_and_repeated_utterances_are_left_out(tmp_path: Path) -> None:
    parts = sentences(4)
    loud = np.clip(8 * parts[1] / np.abs(parts[1]).max(), -1, 1)
    recording(tmp_path / "a.wav", [parts[0], loud, parts[2], 0.3 * parts[0], parts[3]])
    out = tmp_path / "out"
    result = prepare_voices([str(tmp_path / "a.wav")], out, VoiceOptions(test=0))
    assert [row["left_out"] for row in rows_of(out)] == [None, "clipped", None, "duplicate", None]
    assert result.left_out == {"clipped": 1, "duplicate": 1}


def test_silence_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(5 * RATE), RATE)
    code = main(["prepare", "voices", str(tmp_path / "quiet.wav"), "-o", str(tmp_path / "out")])
    assert code == 2
    assert "no utterance of 1 s or more was found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_check_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = tmp_path / "data" / "trainA", tmp_path / "data" / "testA"
    train.mkdir(parents=True)
    test.mkdir()
    parts = sentences(5)
    for k in range(3):
        soundfile.write(train / f"{k}.wav", parts[k], RATE)
    soundfile.write(train / "silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(train / "loud.wav", np.clip(9 * parts[3], -1, 1), RATE)
    soundfile.write(train / "slow.wav", parts[4][::2], RATE // 2)
    (train / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(test / "leak.mp3", 0.5 * parts[0], RATE, format="MP3")
    line = ["prepare", "check", str(tmp_path / "data"), "--json"]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = {(Path(p["file"]).name, p["kind"]) for p in found["problems"]}
    assert kinds == {
        ("silent.wav", "silent"),
        ("loud.wav", "clipped"),
        ("slow.wav", "low rate"),
        ("broken.wav", "unreadable"),
        ("leak.mp3", "leakage"),
        ("trainA", "mixed rates"),
        ("trainA", "few"),
    }
    assert found["parts"][str(train)]["files"] == {"audio": 7}
    assert main([*line[:-1], "--strict"]) == 1
    assert "leak.mp3: is nearly the same as" in capsys.readouterr().out


def test_check_of_a_clean_set_has_nothing_to_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k, part in enumerate(sentences(20)):
        soundfile.write(tmp_path / f"{k}.wav", part, RATE)
    assert main(["prepare", "check", str(tmp_path), "--strict"]) == 0
    assert "nothing wrong was found" in capsys.readouterr().out
    assert main(["prepare", "check", str(tmp_path / "missing")]) == 2
