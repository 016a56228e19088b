"""Inputs that are fetched and outputs that are sent: by HTTP, file:// and fsspec's memory."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from batch_files import expected, inputs, media, picture, tiny_model

from cyclegan_media.batch import BatchOptions, remote, run_batch
from cyclegan_media.batch.inputs import find_entries
from cyclegan_media.batch.settings import FileSettings
from cyclegan_media.batch.task import Task, Work
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.files import PARTIAL_MARK

fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # As the tests themselves have: the last bit of sums depends on it.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that it is served at."""
    pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def memory() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    yield "memory://bucket"
    system.rm("/", recursive=True)


def test_urls_are_fetched_translated_and_leave_no_copy(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    model = tiny_model(tmp_path / "model")
    picture(folder / "a b.png", 1)
    local = picture(tmp_path / "ü %20.png", 2)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "large.png").write_bytes(bytes(20_000))
    manifest = tmp_path / "jobs.jsonl"
    sources = {
        "a.png": f"{address}/a%20b.png",
        "u.png": f"file://{local}",
        "bad.png": f"{address}/bad.png",
        "large.png": f"{address}/large.png",
    }
    manifest.write_text(
        "\n".join(json.dumps({"input": url, "output": name}) for name, url in sources.items())
    )
    out = tmp_path / "out"
    options = BatchOptions(model=str(model), device="cpu", workers=1, max_download=10_000)
    result = run_batch([str(manifest)], f"file://{out}", options)
    assert (result.totals.done, result.totals.failed) == (2, 2)
    files = {
        file["output"]: file for file in json.loads((out / "report.json").read_text())["files"]
    }
    assert files["bad.png"]["reason"].startswith(f"{address}/bad.png: is not a picture")
    assert "large.png: is larger than 10000 bytes; raise" in files["large.png"]["reason"]
    plain = tmp_path / "plain"  # the two inputs under the names of their outputs
    plain.mkdir()
    picture(plain / "a.png", 1)
    picture(plain / "u.png", 2)
    assert media(out) == expected(model, plain, tmp_path / "wanted")
    assert not (out / ".cyclegan-media-batch.scratch").exists()


def test_a_missing_url_and_a_missing_file_are_found_before_any_work(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "model")
    options = BatchOptions(model=str(model), device="cpu", workers=1)
    with pytest.raises(UserError, match=r"none\.png: there is no such file"):
        run_batch([f"{served[1]}/none.png"], str(tmp_path / "out"), options)
    with pytest.raises(UserError, match="is a URL that nothing can be written to"):
        run_batch(["x.png"], f"{served[1]}/out", options)
    with pytest.raises(UserError, match="name a local folder for work list and report with --sta"):
        run_batch(["x.png"], "s3://bucket/out", options)


def test_outputs_are_sent_when_they_are_complete(memory: str, tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    model = tiny_model(tmp_path / "model")
    source = inputs(tmp_path / "in", pictures=1)
    system.put_file(str(source / "0.png"), "/bucket/in/0.png")
    task = Task(
        number=1,
        source=f"{memory}/in/0.png",
        name="sub/zebra.png",
        folder=None,
        url=f"{memory}/out",
        scratch=str(tmp_path / "scratch"),
        model=str(model),
        settings=FileSettings().model_dump_json(),
        device="cpu",
        precision="auto",
        threads=1,
        overwrite=False,
        max_download=10_000,
    )
    work = Work()
    outcome = work.translate(task, lambda frames, total: None)
    assert (outcome.kind, outcome.frames) == ("done", 1), outcome
    wanted = expected(model, source, tmp_path / "wanted")["0.png"]
    assert system.cat_file("/bucket/out/sub/zebra.png") == wanted
    assert remote.existing(f"{memory}/out") == {"sub/zebra.png"}
    again = work.translate(task, lambda frames, total: None)
    assert again.kind == "failed"
    assert "memory://bucket/out/sub/zebra.png: appeared meanwhile" in again.reason
    assert work.translate(replace(task, overwrite=True), lambda frames, total: None).kind == "done"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_sent_half_is_not_there(memory: str, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    system = fsspec.filesystem("memory")

    class Broken(type(system)):  # type: ignore[misc]
        protocol = "broken"

        def put_file(self, source: str, target: str, **options: object) -> None:
            super().pipe_file(target, Path(source).read_bytes()[:10])
            raise OSError("the line is cut")

    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(RunError, match="cannot go on writing it: the line is cut"):
        remote.send(path, "broken://bucket/a.png", overwrite=False)
    assert [name for name in system.find("/") if PARTIAL_MARK in name] == []
    assert not system.exists("/bucket/a.png")


def test_folders_and_globs_elsewhere(memory: str, tmp_path: Path) -> None:
    folder = inputs(tmp_path / "in", pictures=2, frames=1)
    (folder / "notes.txt").write_text("x")
    options = BatchOptions(model="m")

    def names(job: str) -> dict[str, str]:
        return {entry.name: entry.source for entry in find_entries([job], None, options)}

    url = f"file://{folder}"
    found = names(f"{url}/")
    assert list(found) == ["0.png", "1.png", "sub/clip.mp4"]
    assert found["sub/clip.mp4"] == f"{url}/sub/clip.mp4"
    assert list(names(f"{url}/**/*.mp4")) == ["sub/clip.mp4"]
    assert list(names(f"{url}/0.png")) == ["0.png"]
    with pytest.raises(UserError, match="holds no picture, video or recording"):
        names(f"{url}/*.webm")
    with pytest.raises(UserError, match="a kind that is not read"):
        names("zip://x.png::http://host/a.zip")


def test_a_changed_file_has_another_stamp(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    size, before = remote.stamp(f"file://{path}")
    assert size == path.stat().st_size
    assert remote.stamp(f"file://{path}") == (size, before)
    picture(path, seed=3)
    assert remote.stamp(f"file://{path}")[1] != before
