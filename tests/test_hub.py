"""Models of the Hub, against a small server that speaks its protocol, and from its cache."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest
import yaml
from many_to_many import noise

from cyclegan_media.backbones.registry import build
from cyclegan_media.cli import main
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate import Translator

pytest.importorskip("huggingface_hub")

SHA = "0123456789abcdef0123456789abcdef01234567"
RESNET = {"name": "resnet", "width": 4, "blocks": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(
        modality="image",
        domains={"a": "horse", "b": "zebra"},
        generators={"a2b": RESNET},
        recipe="cyclegan",
    )
    model = PretrainedModel(config, {"a2b": build(RESNET).eval()})
    return save_model(tmp_path / "model", model)


class Hub(BaseHTTPRequestHandler):
    """Answers what a download of ``me/h2z`` asks."""

    files: dict[str, bytes]
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(path)
        here = f"http://{self.headers['Host']}/me/h2z"
        answer: dict[str, object] = {"url": here}
        if path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(content)["files"]]
            answer = {
                "files": [
                    {"path": k, "uploadMode": "regular", "shouldIgnore": False} for k in names
                ]
            }
        elif path.endswith("/commit/main"):
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[f"sent/{value['path']}"] = base64.b64decode(value["content"])
            answer = {"commitUrl": f"{here}/commit/{SHA}", "commitOid": SHA}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        self.asked.append(path)
        if path.startswith("/api/models/me/h2z/tree/"):
            listed = [
                {"type": "file", "path": k, "size": len(v), "oid": hashlib.sha1(v).hexdigest()}
                for k, v in self.files.items()
            ]
            content = json.dumps(listed).encode()
        elif path.startswith("/api/models/me/h2z"):
            siblings = [{"rfilename": k, "size": len(v)} for k, v in self.files.items()]
            content = json.dumps({"id": "me/h2z", "sha": SHA, "siblings": siblings}).encode()
        elif path.startswith("/me/h2z/resolve/"):
            content = self.files[path.rpartition("/")[2]]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
        return None


@pytest.fixture
def site(folder: Path) -> Iterator[tuple[str, type[Hub]]]:
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files["model.pkl"] = b"not to be fetched"
    asked: list[str] = []
    handler = type("Bound", (Hub,), {"files": files, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub(site: tuple[str, type[Hub]]) -> tuple[str, list[str]]:
    return site[0], site[1].asked


def translate(model: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # In a process of its own: huggingface_hub reads its settings when it is imported.
    PIL.Image.fromarray(noise(1)).save(tmp_path / "in.png")
    out = ["-o", str(tmp_path / "out.png"), "--overwrite", "--precision", "fp32"]
    line = ["translate", str(tmp_path / "in.png"), "-m", model, *out]
    return subprocess.run(
        [sys.executable, "-m", "cyclegan_media.cli", *line],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), **environment},
    )


def test_a_model_is_fetched_used_and_kept_for_when_there_is_no_network(
    folder: Path, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, asked = hub
    done = translate("hf:me/h2z", tmp_path, HF_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    expected = Translator.load(folder, precision="fp32").translate(noise(1))
    got = np.asarray(PIL.Image.open(tmp_path / "out.png"))
    assert np.array_equal(got, expected)
    assert any(path.endswith("config.json") for path in asked)
    assert not any(path.endswith(".pkl") for path in asked)
    asked.clear()
    done = translate("hf:me/h2z", tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert asked == []


@pytest.mark.parametrize(
    ("name", "offline", "message"),
    [
        ("hf:me/other", "0", "hf:me/other: there is no such model"),
        ("hf:me/h2z", "1", "hf:me/h2z: is not in the Hub's cache"),
        ("hf:nonsense", "0", "hf:nonsense: a model of the Hub is named hf:user/model"),
    ],
)
def test_what_cannot_be_had_is_said(
    name: str, offline: str, message: str, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    done = translate(name, tmp_path, HF_ENDPOINT=hub[0], HF_HUB_OFFLINE=offline)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_a_card_states_what_the_model_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"a2b": {"fid": 77.25, "note": "x"}}')
    card = tmp_path / "README.md"
    metrics = ["--metrics", str(tmp_path / "report.json"), "--licence", "apache-2.0"]
    line = ["push", str(folder), "hf:me/h2z", *metrics, "--card-only", str(card)]
    assert main(line) == 0
    _, front, text = card.read_text(encoding="utf-8").split("---\n", 2)
    stated = yaml.safe_load(front)
    assert stated["library_name"] == "cyclegan-media"
    assert stated["license"] == "apache-2.0"
    assert stated["pipeline_tag"] == "image-to-image"
    assert "Recipe: cyclegan" in text
    assert "horse → zebra" in text
    assert "| a2b.fid | 77.25 |" in text
    assert "-m hf:me/h2z" in text
    for heading in ("Intended use", "Consent", "Limitations"):
        assert f"## {heading}\n" in text


def test_a_dry_run_names_the_files_and_sends_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.txt").write_text("private")
    assert main(["push", str(folder), "hf:me/h2z", "--dry-run"]) == 0
    assert [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "README.md",
        "config.json",
        "generator_a2b.safetensors",
    ]


def test_what_is_pushed_is_the_model_and_its_card(
    folder: Path, site: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    endpoint, handler = site
    (folder / "notes.txt").write_text("private")
    done = subprocess.run(
        [sys.executable, "-m", "cyclegan_media.cli", "push", str(folder), "hf:me/h2z"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": "hf_none",
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"/commit/{SHA}")
    sent = {k: v for k, v in handler.files.items() if k.startswith("sent/")}
    for name in ("config.json", "generator_a2b.safetensors"):
        assert sent.pop(f"sent/{name}") == (folder / name).read_bytes()
    assert sent.pop("sent/README.md").startswith(b"---\nlibrary_name: cyclegan-media")
    assert not sent
