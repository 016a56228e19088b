"""The same batch on Ray: a local cluster of two processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_files import expected, hooked, inputs, media, picture, tiny_model

from cyclegan_media.batch import BatchOptions, run_batch

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hooked(tmp_path, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_a_batch_on_ray_is_that_of_local_workers(cluster: None, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    source, out = inputs(tmp_path / "in", pictures=4, frames=6), tmp_path / "out"
    wanted = expected(model, source, tmp_path / "wanted")
    picture(source / "exits.png")
    picture(source / "dies-once.png", 7)
    (source / "bad.png").write_bytes(b"no picture")
    options = BatchOptions(model=str(model), device="cpu", engine="ray")
    result = run_batch([str(source)], str(out), options)
    totals = result.totals
    assert (totals.done, totals.failed, totals.set_aside) == (6, 1, 1)
    made = media(out)
    assert made.pop("dies-once.png")
    assert made == wanted
    files = {
        file["output"]: file for file in json.loads((out / "report.json").read_text())["files"]
    }
    attempts = {name: file["attempts"] for name, file in files.items()}
    assert (attempts["0.png"], attempts["dies-once.png"], attempts["exits.png"]) == (1, 2, 2)
    assert files["exits.png"]["reason"].startswith("its process in Ray died: ")
    # What is done is not done again, here as there.
    again = run_batch([str(source)], str(out), options)
    assert again.totals.done == 6
    local = run_batch([str(source)], str(out), BatchOptions(model=str(model), device="cpu"))
    assert local.totals.done == 6
    report = json.loads((out / "report.json").read_text())["files"]
    assert {file["output"]: file["attempts"] for file in report} == attempts
    assert ray.is_initialized()  # it was not the batch's to end


def test_a_file_that_takes_too_long_is_killed(cluster: None, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    picture(tmp_path / "hangs.png")
    options = BatchOptions(model=str(model), device="cpu", engine="ray", timeout=5)
    result = run_batch([str(tmp_path / "hangs.png")], str(tmp_path / "out"), options)
    assert (result.totals.set_aside, result.totals.files) == (1, 1)
