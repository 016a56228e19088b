"""The web page as programs meet it: sessions, limits, refusals, and the conversions behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from batch_files import picture, tiny_model
from filelock import FileLock
from video_files import moving, write_video
from web_pages import served, slow_model, speech, voice_model, wait_for

from cyclegan_media import load
from cyclegan_media.batch.settings import FileSettings
from cyclegan_media.cli import main
from cyclegan_media.errors import UserError
from cyclegan_media.media import read_image
from cyclegan_media.media.info import read_provenance
from cyclegan_media.web.conversions import Conversions
from cyclegan_media.web.look import look
from cyclegan_media.web.models import find_models
from cyclegan_media.web.runs import find_runs, mark, show_run
from cyclegan_media.web.sessions import Sessions
from cyclegan_media.web.settings import WebSettings

gradio_client = pytest.importorskip("gradio_client", reason="needs the extra 'web'")


def test_models_are_found_where_they_are_and_described(tmp_path: Path) -> None:
    tiny_model(tmp_path / "models" / "horses", both=True)
    voice_model(tmp_path / "models" / "deep" / "run" / "model")
    (tmp_path / "models" / "notes").mkdir()
    (tmp_path / "models" / "notes" / "config.json").write_text('{"other": "program"}')
    horses, voice = sorted(find_models([str(tmp_path / "models")]), key=lambda offer: offer.name)
    assert (horses.name, voice.name) == ("horses", "run")  # of a training's model, the training
    assert horses.directions == ("a2b", "b2a")
    assert horses.direction("b2a") == "zebra → horse"
    assert (voice.modality, voice.direction("a2b")) == ("voice", "anna → ben")


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        tiny_model(tmp_path / folder / "horses")
    tiny_model(tmp_path / "zebras" / "model")
    names = [offer.name for offer in find_models([str(tmp_path)])]
    assert names == ["x/horses", "y/horses", "zebras"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no such folder"),
        ("", "cannot be read"),
        ('{"modality": "image"}', "damaged"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    place = tmp_path / "model"
    if content is not None:
        place.mkdir()
        (place / "config.json").write_text(content)
    with pytest.raises(UserError, match=says):
        find_models([str(place)])


def test_sessions_do_not_mix_and_leave_nothing(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    one, two = sessions.of("one"), sessions.of("two")
    assert sessions.of("one") is one
    assert one.folder != two.folder
    assert one.folder.name not in ("one", "two")  # a page's name tells nobody its folder
    (sessions.files / "hash").mkdir()
    upload = sessions.files / "hash" / "same.png"
    upload.write_bytes(b"sent by both")
    assert sessions.adopt(one, str(upload)) == sessions.adopt(two, str(upload))
    made = one.new_folder() / "out.png"
    made.write_bytes(b"mine")
    asked = []
    one.cancel = lambda: asked.append("stop")
    sessions.end("one")
    assert asked == ["stop"]
    assert not made.exists()
    assert upload.exists()  # the other still uses it
    sessions.end("two")
    assert not upload.exists()
    assert not list(sessions.files.iterdir())
    sessions.close()
    assert not list(tmp_path.iterdir())


def test_what_another_has_just_sent_is_not_removed_with_its_equal(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    (sessions.files / "hash").mkdir()
    upload = sessions.files / "hash" / "same.png"
    upload.write_bytes(b"sent by both")
    for _ in range(2):
        sessions.expect(str(upload))
    sessions.adopt(sessions.of("one"), str(upload))
    sessions.end("one")
    assert sessions.adopt(sessions.of("two"), str(upload)).exists()
    sessions.end("two")
    assert not upload.exists()
    sessions.close()


def test_only_what_was_sent_is_taken(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"of this machine")
    (sessions.files / "link").symlink_to(secret)
    for path in (secret, sessions.files / ".." / "lock", sessions.files / "link", Path("gone")):
        with pytest.raises(UserError, match="choose it again"):
            sessions.adopt(sessions.of("one"), str(path))
    sessions.close()


def test_files_of_a_killed_server_are_swept_by_the_next_and_others_are_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / "cyclegan-media-web-dead", tmp_path / "cyclegan-media-web-alive"
    for root in (dead, alive):
        (root / "files").mkdir(parents=True)
        (root / "lock").touch()
        (root / "files" / "of a visitor").write_bytes(b"x")
    with FileLock(alive / "lock"):
        Sessions(tmp_path).close()
        assert not dead.exists()
        assert (alive / "files" / "of a visitor").exists()


def test_tidying_takes_what_nobody_comes_back_for(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, max_idle=100)
    used = sessions.of("one")
    kept, idle = used.new_folder() / "kept", sessions.of("idle")
    kept.touch()
    (sessions.files / "hash").mkdir()
    for name in ("tmp-broken", "tmp-new", "hash/unused.png"):
        (sessions.files / name).touch()
    old = time.time() - 7200
    for name in ("tmp-broken", "hash"):
        os.utime(sessions.files / name, (old, old))
    idle.used -= 200
    waits = sessions.of("waits for an hour")
    waits.cancel, waits.used = (lambda: None), waits.used - 200
    os.utime(used.folder, (old, old))
    sessions.tidy()
    assert {path.name for path in sessions.files.iterdir()} == {"tmp-new", used.folder.name}
    assert kept.exists()
    assert sessions.of("waits for an hour") is waits
    assert sessions.of("idle") is not idle
    # What a page that was closed had asked for last comes to its turn, and is not kept for hours.
    sessions.end("one")
    late = sessions.of("one")
    late.used -= 90
    sessions.tidy()
    assert sessions.of("one") is not late
    sessions.close()


def test_what_browsers_cannot_show_is_shown_another_way(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    found = look(picture(tmp_path / "in.tiff"), str(place), 60)
    assert (found.kind, found.summary) == ("image", "picture, 14 × 10 pixels")
    shown = read_image(found.shown).pixels
    np.testing.assert_array_equal(shown, read_image(tmp_path / "in.tiff").pixels)
    found = look(speech(tmp_path / "in.flac", 0.5), str(place), 60)
    assert found.kind == "audio"
    assert soundfile.info(found.shown).duration == pytest.approx(0.5, abs=0.001)
    write_video(tmp_path / "in.mp4", moving(5))
    found = look(tmp_path / "in.mp4", str(place), 60)
    assert (found.kind, found.shown) == ("video", str(tmp_path / "in.mp4"))
    write_video(tmp_path / "in.mkv", moving(5))
    found = look(tmp_path / "in.mkv", str(place), 60)
    assert found.shown.endswith(".png")
    assert read_image(found.shown).pixels.shape == (48, 64, 3)


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in\.wav: lasts 1 s, and this page takes 0\.5 s at most"):
        look(speech(tmp_path / "in.wav"), str(tmp_path), 0.5)


def test_conversions_wait_run_and_are_cancelled(tmp_path: Path) -> None:
    slow, quick = slow_model(tmp_path / "slow"), tiny_model(tmp_path / "quick")
    write_video(tmp_path / "long.mp4", moving(400, (128, 128)))
    source = picture(tmp_path / "in.png")
    (tmp_path / "out").mkdir()
    conversions = Conversions(WebSettings(device="cpu", max_waiting=3), tmp_path)
    try:
        long = conversions.submit(
            tmp_path / "long.mp4", tmp_path / "out" / "long.mp4", str(slow), FileSettings()
        )
        wait_for(lambda: long.frames > 0)
        second, third, fourth = (
            conversions.submit(source, tmp_path / "out" / f"{k}.png", str(quick), FileSettings())
            for k in range(3)
        )
        assert (long.state, long.total) == ("running", 400)
        assert [conversions.before(t) for t in (second, third, fourth)] == [0, 1, 2]
        with pytest.raises(UserError, match="3 conversions are waiting already"):
            conversions.submit(source, tmp_path / "out" / "5.png", str(quick), FileSettings())
        third.cancel()
        assert conversions.before(fourth) == 1
        long.cancel()
        wait_for(lambda: long.ended, 5)
        wait_for(lambda: fourth.ended)
        states = [ticket.state for ticket in (long, second, third, fourth)]
        assert states == ["cancelled", "done", "cancelled", "done"]
        # Nothing half-written is left, hidden or not, where browsers get files of.
        assert names_in(tmp_path / "out") == {"0.png", "2.png"}
        expected = load(quick, device="cpu").translate(read_image(source).pixels)
        np.testing.assert_array_equal(read_image(second.output).pixels, expected)
    finally:
        conversions.close()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_one_that_fails_says_why_and_the_next_one_runs(tmp_path: Path) -> None:
    model, source = tiny_model(tmp_path / "model"), picture(tmp_path / "in.png")
    (tmp_path / "cut.png").write_bytes(source.read_bytes()[:100])
    conversions = Conversions(WebSettings(device="cpu"), tmp_path)
    try:
        broken = conversions.submit(
            tmp_path / "cut.png", tmp_path / "1.png", str(model), FileSettings()
        )
        fine = conversions.submit(source, tmp_path / "2.png", str(model), FileSettings())
        wait_for(lambda: fine.ended)
        assert broken.state == "failed"
        assert "cut.png" in broken.reason
        assert fine.state == "done"
    finally:
        conversions.close()


def test_one_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving(400, (128, 128)))
    conversions = Conversions(WebSettings(device="cpu", timeout=0.5), tmp_path)
    try:
        ticket = conversions.submit(
            tmp_path / "long.mp4",
            tmp_path / "out.mp4",
            str(slow_model(tmp_path / "slow")),
            FileSettings(),
        )
        wait_for(lambda: ticket.ended)
        assert (ticket.state, ticket.reason) == ("failed", "was not done after 0.5 seconds")
    finally:
        conversions.close()


def test_a_training_is_shown_while_it_lasts(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    run = tmp_path / "runs" / "h2z"
    (run / "previews" / "step-00000010").mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: cyclegan\n")
    session = sessions.of("one")
    assert "Losses" not in show_run(run, session)
    before = mark(run)
    (run / "metrics.csv").write_text("step,cycle_a,cycle_b\n1,2.0,3.0\n2,1.5,2.5\n")
    picture(run / "previews" / "step-00000010" / "a2b.png")
    speech(run / "previews" / "step-00000010" / "said.wav", 0.2)
    assert list(find_runs([tmp_path / "runs"])) == ["h2z"]
    assert find_runs([run]) == {"h2z": run}
    html = show_run(run, session)
    assert mark(run) != before
    for shown in ("cycle", "a2b", "said", "step-00000010"):
        assert shown in html
    assert [p.name for p in session.folder.rglob("*.wav")] == ["said.wav"]
    sessions.close()


def test_the_page_converts_for_programs_and_keeps_visitors_apart(tmp_path: Path) -> None:
    models = tmp_path / "models"
    horses = tiny_model(models / "horses", both=True)
    voice_model(models / "anna2ben")
    options = ("-m", models, "--device", "cpu", "--max-seconds", "5")
    with served(tmp_path / "scratch", *options) as server:
        one, two = (gradio_client.Client(server.url, verbose=False) for _ in range(2))

        def convert(client: gradio_client.Client, path: Path, model: str = "horses") -> tuple:
            return client.predict(
                model,
                "a2b",
                gradio_client.handle_file(str(path)),
                None,
                *(0, "", 0, 0, 0, "gaussian", "vocoder", ""),
                api_name="/convert",
            )

        sources = [picture(tmp_path / f"{k}.png", k) for k in range(2)]
        results = [
            convert(client, source) for client, source in zip((one, two), sources, strict=True)
        ]
        for source, result in zip(sources, results, strict=True):
            assert "done" in result[0]
            expected = load(horses, device="cpu").translate(read_image(source).pixels)
            made = Path(result[3]["value"])
            np.testing.assert_array_equal(read_image(made).pixels, expected)
            assert read_provenance(made)  # it says that it is synthetic
        said = convert(one, speech(tmp_path / "said.wav"), "anna2ben")
        assert "done" in said[0]
        assert "after: said.wav" in said[2]

        # What cannot be converted is answered in a sentence, and is no error of the server's.
        (tmp_path / "cut.png").write_bytes(sources[0].read_bytes()[:80])
        assert "cut.png" in convert(one, tmp_path / "cut.png")[0]
        assert "takes 5 s at most" in convert(one, speech(tmp_path / "long.wav", 6))[0]
        assert "is a recording" in convert(one, tmp_path / "said.wav")[0]
        one.close()
        two.close()


def test_urls_and_files_of_the_machine_are_refused(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    secret = picture(tmp_path / "secret.png")
    model = tiny_model(tmp_path / "model")
    with (
        served(tmp_path / "scratch", "-m", model, "--max-megabytes", "1") as server,
        httpx.Client(base_url=server.url, timeout=30) as web,
    ):
        page = web.get("/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]
        function = next(
            i
            for i, d in enumerate(web.get("/config").json()["dependencies"])
            if d["api_name"] == "convert"
        )

        def asked(path: str) -> httpx.Response:
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            data = ["model", "a2b", file, None, 0, "", 0, 0, 0, "gaussian", "vocoder", ""]
            body = {"data": data, "fn_index": function, "session_hash": "s"}
            return web.post("/gradio_api/queue/join", json=body)

        for address in ("http://127.0.0.1:1/x.png", "HTTPS://example.com/x.png", "ftp://x/y.png"):
            answer = asked(address)
            assert answer.status_code == 400
            assert "a URL is not taken where a file is expected" in answer.json()["detail"]
        # A path of this machine is let in, and fails as soon as Gradio looks where it leads.
        assert asked(str(secret)).status_code == 200
        with web.stream("GET", "/gradio_api/queue/data", params={"session_hash": "s"}) as events:
            for line in events.iter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    break
        assert message["success"] is False
        for path in (
            f"/gradio_api/file={secret}",
            "/gradio_api/file=/etc/passwd",
            "/gradio_api/file=http://127.0.0.1:1/x.png",
            "/gradio_api/file=https:/example.com/x.png",
            "/gradio_api/proxy=http://127.0.0.1:1/x.png",
            "/proxy=https://example.com/",
            "/monitoring",
        ):
            assert web.get(path).status_code in (403, 404), path
        sent = web.post("/gradio_api/upload", files={"files": ("x.wav", bytes(1_500_000))})
        assert sent.status_code == 413
        assert not server.files


def test_only_those_with_an_account_are_let_in(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    accounts = tmp_path / "accounts.txt"
    accounts.write_text("anna:secret: with colon\n")
    model = tiny_model(tmp_path / "model")
    with (
        served(tmp_path / "scratch", "-m", model, "--accounts", accounts) as server,
        httpx.Client(base_url=server.url, timeout=30) as web,
    ):
        assert web.get("/config").status_code == 401
        for password, status in (("wrong", 400), ("secret: with colon", 200)):
            answer = web.post("/login", data={"username": "anna", "password": password})
            assert answer.status_code == status
        assert web.get("/config").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--models or --runs: name at least a model"),
        (["-m", "gone"], "gone: there is no such folder"),
        (["--runs", "gone"], "gone: there is no such folder"),
        (["-m", "model", "--accounts", "gone"], "gone: cannot go on reading the accounts"),
        (["-m", "model", "--accounts", "none"], "none: lists nobody"),
        (["-m", "model", "--accounts", "wrong"], "wrong: line 2 is not NAME:PASSWORD"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is(
    tmp_path: Path,
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_model(tmp_path / "model")
    (tmp_path / "none").touch()
    (tmp_path / "wrong").write_text("anna:secret\nben\n")
    assert main(["web", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "cyclegan_media.cli", "web"]
        options = ["-m", str(tiny_model(tmp_path / "model")), "--port", port]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: cannot be served at" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("cyclegan-media-web-*"))


def test_without_gradio_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "cyclegan_media.web.page", raising=False)
    assert main(["web", "-m", str(tiny_model(tmp_path / "model"))]) == 2
    assert "pip install 'cyclegan-media[web]'" in capsys.readouterr().err
