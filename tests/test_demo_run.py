"""The demonstration from end to end: what it makes, what it refuses, when it says it succeeded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_media.demo.__main__ import report, summary
from cyclegan_media.demo.page import Measure
from cyclegan_media.demo.picture_run import PicturePlan, check_sound_kept, match_tones, tone_curves
from cyclegan_media.demo.run import DemoResult, run_demo
from cyclegan_media.demo.scenes import make_scene, write_clip
from cyclegan_media.demo.voice_run import VoicePlan
from cyclegan_media.errors import RunError, UserError

CLEAR = Measure("PSNR", 9.0, 20.0, margin=5.0, unit="dB")
SMALL = Measure("SSIM", 0.5, 0.55, margin=0.15, trivial=0.52)


def test_success_is_a_clear_gain_on_every_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "index.html"
    assert report(DemoResult(page, [CLEAR, CLEAR])) == 0
    assert str(page) in capsys.readouterr().out
    assert report(DemoResult(page, [CLEAR, SMALL])) == 1
    said = capsys.readouterr()
    assert str(page) in said.out
    assert said.err == "not clearly better than the input: SSIM: small gain\n"


def test_the_summary_is_a_table() -> None:
    head, first, second = summary([CLEAR, SMALL]).splitlines()
    assert head.split() == [
        "held-out",
        "measure",
        "unconverted",
        "trivial",
        "translated",
        "verdict",
    ]
    assert first.split() == ["PSNR", "(dB)", "9.000", "–", "20.000", "clear", "gain"]
    assert second.split() == ["SSIM", "0.500", "0.520", "0.550", "small", "gain"]


def test_an_earlier_demonstration_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "picture").mkdir()
    (tmp_path / "picture" / "old").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"picture: exists already; pass --overwrite"):
        run_demo(tmp_path, picture=None, voice=None)
    assert (tmp_path / "picture" / "old").exists()
    result = run_demo(tmp_path, picture=None, voice=None, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "notes.txt"]
    assert result.page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_sound_that_was_lost_or_changed_is_noticed(tmp_path: Path) -> None:
    def clip(name: str, seed: int, domain: str, sound: bool = True) -> Path:
        path = tmp_path / f"{name}.mp4"
        scene = make_scene(seed)
        return write_clip(path, scene, domain, 1, 10, (32, 32), sound)  # type: ignore[arg-type]

    before = clip("before", 3, "a")
    assert check_sound_kept(before, clip("same", 3, "b")) > 40  # 1024 samples each at 44.1 kHz
    for other in (clip("other", 4, "a"), clip("silent", 3, "a", False)):
        with pytest.raises(RunError, match=rf"{other.name}: its sound is not that of"):
            check_sound_kept(before, other)


def test_tone_curves_carry_one_histogram_to_another(tmp_path: Path) -> None:
    # Four levels that are equally frequent go to the four of the other set, in order.
    source, target = [[10, 20, 30, 40], [200, 160, 220, 100]]
    for name, levels in (("trainA", source), ("trainB", target)):
        (tmp_path / name).mkdir()
        row = np.repeat(np.array(levels, np.uint8), 4).reshape(4, 4)
        Image.fromarray(np.stack([row, row, 255 - row], 2)).save(tmp_path / name / "p.png")
    curves = tone_curves(tmp_path, "a2b")
    assert [int(curves[0][level]) for level in source] == [100, 160, 200, 220]
    assert [int(curves[2][255 - level]) for level in source] == [155, 95, 55, 35]
    picture = torch.full((1, 3, 2, 2), 20 / 127.5 - 1)
    picture[:, 2] = 235 / 127.5 - 1
    got = ((match_tones(picture, curves) + 1) * 127.5).round()
    assert got[0, :, 0, 0].tolist() == [160, 160, 95]


def test_both_halves_run_from_data_to_page(tmp_path: Path) -> None:
    # The whole of it, with little data and hardly any training: it must not claim success.
    short = ("trainer.steps=2", "trainer.decay_steps=0", "trainer.log_every=1")
    result = run_demo(
        tmp_path / "out",
        picture=PicturePlan(4, 2, 1, 0.5, short),
        voice=VoicePlan(4, 1, short),
    )
    assert {(m.name, m.unit) for m in result.measures if m.trivial is not None} == {
        ("PSNR, day to dusk", "dB"),
        ("SSIM, day to dusk", ""),
        ("PSNR, dusk to day", "dB"),
        ("SSIM, dusk to day", ""),
        ("Mel-cepstral distortion, high voice to low", "dB"),
        ("Log-F0 error, high voice to low", ""),
        ("Mel-cepstral distortion, low voice to high", "dB"),
        ("Log-F0 error, low voice to high", ""),
    }
    assert result.shortfalls
    html = result.page.read_text(encoding="utf-8")
    assert (html.count("<video "), html.count("<audio ")) == (8, 8)
    assert "equal bit for bit" in html
    for half in ("picture", "voice"):
        assert (tmp_path / "out" / half / "run" / "model" / "config.json").exists()
        a, b = (
            {path.name for path in (tmp_path / "out" / half / "data" / side).iterdir()}
            for side in ("trainA", "trainB")
        )
        assert len(a) == len(b) == 4
        assert not a & b


def test_a_half_that_fails_is_reported_and_the_other_stopped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.steps: .*'many'"):
        run_demo(tmp_path / "out", voice=VoicePlan(overrides=("trainer.steps=many",)))
    assert not (tmp_path / "out" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demonstration_succeeds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cyclegan_media.demo", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("clear gain") == 8
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert html.count("Beats the unconverted input by a clear margin on all 4 measures.") == 2
