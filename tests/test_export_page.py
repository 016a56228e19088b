"""The page for the browser, in a real one: the picture is that of the toolkit."""

from __future__ import annotations

import base64
import functools
import io
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from many_to_many import noise

from cyclegan_media.backbones.registry import build
from cyclegan_media.errors import UserError
from cyclegan_media.export import export_model
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.translate import Translator

pytest.importorskip("onnx")

RESNET = {"name": "resnet", "width": 4, "blocks": 1}
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = ModelConfig(modality="image", generators={"a2b": RESNET})
    model = PretrainedModel(config, {"a2b": build(RESNET).eval()})
    return save_model(tmp_path / "model", model)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


def test_a_picture_comes_out_of_the_browser_as_out_of_the_toolkit(
    folder: Path, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    browser, dist = shutil.which("chromium"), os.environ.get("ONNXRUNTIME_WEB_DIST")
    if browser is None or dist is None:
        pytest.skip(
            "needs chromium, and the dist folder of onnxruntime-web by the environment's"
            " ONNXRUNTIME_WEB_DIST"
        )
    web = export_model(folder, tmp_path / "web", "web")
    for file in RUNTIME:
        shutil.copy(Path(dist) / file, web)
    picture = noise(2, (37, 54))
    PIL.Image.fromarray(picture).save(tmp_path / "in.png")
    handler = functools.partial(_Quiet, directory=str(web))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with playwright.sync_playwright() as p:
            chromium = p.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
            page.get_by_text("Choose a picture.").wait_for(timeout=30_000)
            page.set_input_files("#file", tmp_path / "in.png")
            page.wait_for_function(
                "/Done|not work/.test(document.getElementById('status').textContent)"
            )
            assert page.inner_text("#status") == "Done."
            url = page.evaluate("document.getElementById('output').toDataURL('image/png')")
            chromium.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
    expected = Translator.load(folder, precision="fp32").translate(picture)
    assert np.abs(np.asarray(shown).astype(int) - expected).max() <= 2
    assert np.abs(expected.astype(int) - picture).max() > 20


def test_the_page_is_for_pictures(tmp_path: Path) -> None:
    spec = {"name": "gated_cnn", "width": 2, "residual_blocks": 1}
    config = ModelConfig(modality="voice", generators={"a2b": spec}, analysis={})
    save_model(tmp_path / "model", PretrainedModel(config, {"a2b": build(spec).eval()}))
    with pytest.raises(UserError, match="the page is for models of pictures"):
        export_model(tmp_path / "model", tmp_path / "web", "web")
    assert not (tmp_path / "web").exists()
