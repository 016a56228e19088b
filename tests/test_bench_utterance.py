"""The benchmark of conversions runs, and compares conversions that are the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cyclegan_media.metrics.voice import METRIC_ANALYSIS, mel_cepstral_distortion
from cyclegan_media.speech import analyse

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import bench_utterance as bench


def test_every_conversion_and_analysis_is_in_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    command = ["--recipes", "cyclegan_vc_small", "--seconds", "1", "--rounds", "2", "--files", "1"]
    threads = torch.get_num_threads()
    try:
        assert bench.main([*command, "--json", str(figures)]) == 0
    finally:
        torch.set_num_threads(threads)
    found = json.loads(figures.read_text())
    for f0 in ("harvest", "dio"):
        for way in ("plainly", "this toolkit, fp32"):
            taken = found["factors"][f"cyclegan_vc_small, {f0}, {way}"]
            assert len(taken) == 2
            assert min(taken) > 0
    assert found["corpus"].keys() == {"1", "2"}
    printed = capsys.readouterr().out
    assert all(name in printed for name in found["factors"])


def test_both_ways_make_the_same_of_a_recording(tmp_path: Path) -> None:
    torch.manual_seed(0)
    samples, source = bench.made_voice(2.0), tmp_path / "source.wav"
    soundfile.write(source, samples, 16000)
    runs = bench.contenders_of("cyclegan_vc_small", samples, 16000, source)
    plainly = np.asarray(runs["cyclegan_vc_small, dio, plainly"](), dtype=np.float32)
    runs["cyclegan_vc_small, dio, this toolkit, fp32"]()
    ours, _ = soundfile.read(tmp_path / "target.wav", dtype="float32")
    level = np.sqrt(np.square(samples).mean() / np.square(plainly).mean())
    heard = [analyse(out, METRIC_ANALYSIS) for out in (plainly * level, ours, samples)]
    # pyworld codes the envelope on another scale of frequency, so they are near and not equal.
    assert mel_cepstral_distortion(heard[0], heard[1]) < mel_cepstral_distortion(heard[0], heard[2])
