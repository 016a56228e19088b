"""The web page as a person uses it: in a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_files import picture, tiny_model
from talking_clips import write_clip
from video_files import moving, write_video
from web_pages import Server, served, slow_model, speech, voice_model, wait_for

from cyclegan_media import load
from cyclegan_media.demo.voices import SAMPLE_RATE, say
from cyclegan_media.media import read_audio, read_image
from cyclegan_media.media.info import read_provenance

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio", reason="needs the extra 'web'")

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "models"
    tiny_model(folder / "horses", both=True)
    slow_model(folder / "slow")
    voice_model(folder / "anna2ben")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("web") / "runs" / "h2z"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: cyclegan\n")
    (run / "metrics.csv").write_text("step,cycle_a,cycle_b\n1,2.0,3.0\n2,1.5,2.5\n")
    return run


@pytest.fixture(scope="module")
def server(models: Path, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scratch = tmp_path_factory.mktemp("web") / "scratch"
    options = ("-m", models, "--runs", runs.parent, "--device", "cpu", "--max-seconds", "20")
    with served(scratch, *options) as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # It may play sound without a click, as tests click by program; a microphone of a tone.
    flags = [
        *("--no-sandbox", "--autoplay-policy=no-user-gesture-required"),
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=flags)
        yield browser
        browser.close()


class Visitor:
    """One open page, and all that it asked of other servers."""

    def __init__(self, chromium: Any, server: Server) -> None:
        self.context = chromium.new_context(permissions=["microphone"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.elsewhere: list[str] = []
        self.page.on("request", self._asked)
        self._own = server.url.rstrip("/")
        self.page.goto(server.url)
        self.page.locator("#convert").wait_for()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self._own, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def choose(self, model: str) -> None:
        self.page.locator("#model input").click()
        self.page.get_by_role("option", name=model).click()
        self.page.locator("p.soft", has_text=model).wait_for()

    def clear(self) -> None:
        self.page.locator("#file").get_by_label("Clear").click()
        self.page.locator("#file input[type=file]").wait_for(state="attached")

    def drop(self, path: Path) -> None:
        self.page.set_input_files("#file input[type=file]", path)
        self.page.locator("#before figcaption", has_text=path.name).wait_for()

    def convert(self) -> None:
        self.page.click("#convert")

    def wait_for(self, text: str) -> None:
        self.page.locator("#state", has_text=text).wait_for()

    def download(self, target: Path) -> str:
        with self.page.expect_download() as download:
            self.page.click("#download")
        download.value.save_as(target)
        return str(download.value.suggested_filename)

    def plays(self, selector: str) -> bool:
        """Whether the browser plays what is there, to the end of its first half second."""
        script = """async (medium) => {
            medium.muted = true; await medium.play();
            for (let k = 0; k < 100 && medium.currentTime < 0.4 && !medium.ended; k++)
                await new Promise(resolve => setTimeout(resolve, 50));
            return medium.currentTime >= 0.4 || medium.ended;
        }"""
        return bool(self.page.locator(selector).evaluate(script))

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def visitor(chromium: Any, server: Server) -> Iterator[Visitor]:
    visitor = Visitor(chromium, server)
    yield visitor
    visitor.close()
    assert not visitor.elsewhere  # the page is whole without any other server
    wait_for(lambda: not server.files)  # nothing is kept of one who has gone


def test_a_picture_is_converted_compared_and_downloaded(
    visitor: Visitor, models: Path, tmp_path: Path
) -> None:
    source = picture(tmp_path / "a horse.png")
    visitor.choose("horses")
    visitor.drop(source)
    visitor.page.get_by_label("zebra → horse").check()
    visitor.convert()
    visitor.wait_for("done")
    for side in ("before", "after"):
        image = visitor.page.locator(f"#{side} img")
        assert image.evaluate("image => image.complete && image.naturalWidth") == 14
    assert visitor.download(tmp_path / "got.png") == "a horse-horse.png"
    expected = load(models / "horses", device="cpu").translate(
        read_image(source).pixels, direction="b2a"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "got.png").pixels, expected)


def test_a_clip_and_a_recording_are_converted_and_play(visitor: Visitor, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", moving(25))
    visitor.choose("horses")
    visitor.drop(tmp_path / "clip.mp4")
    visitor.convert()
    visitor.wait_for("done")
    assert visitor.plays("#before video")
    assert visitor.plays("#after video")
    assert visitor.download(tmp_path / "got.mp4") == "clip-zebra.mp4"
    visitor.clear()
    visitor.choose("anna2ben")
    visitor.drop(speech(tmp_path / "said.wav"))
    visitor.convert()
    visitor.wait_for("done")
    assert visitor.plays("#before audio")
    assert visitor.plays("#after audio")
    assert visitor.download(tmp_path / "got.wav") == "said-ben.wav"


def test_picture_and_voice_of_a_talking_clip_are_converted(
    visitor: Visitor, models: Path, tmp_path: Path
) -> None:
    spoken = np.repeat(say(3, "a"), 48_000 // SAMPLE_RATE)[None]
    clip = write_clip(tmp_path / "talk.mp4", [spoken])
    visitor.choose("horses")
    visitor.page.locator("button", has_text="Options").click()
    visitor.page.locator("#voice input").click()
    visitor.page.get_by_role("option", name="anna2ben: anna → ben").click()
    visitor.drop(clip)
    visitor.convert()
    visitor.wait_for("done")
    assert visitor.plays("#after video")
    visitor.download(tmp_path / "got.mp4")
    models_named = {record.model for record in read_provenance(tmp_path / "got.mp4")}
    assert models_named == {"horses", "anna2ben"}
    before, after = (read_audio(path) for path in (clip, tmp_path / "got.mp4"))
    assert after.samples.shape == before.samples.shape
    assert np.abs(after.samples - before.samples).max() > 0.05


def test_what_is_said_into_the_microphone_is_converted(visitor: Visitor) -> None:
    visitor.choose("anna2ben")
    microphone = visitor.page.locator("#microphone")
    microphone.get_by_role("button", name="Record").click()
    visitor.page.wait_for_timeout(1500)
    microphone.get_by_role("button", name="Stop").click()
    visitor.page.locator("#before audio").wait_for()
    visitor.convert()
    visitor.wait_for("done")
    assert visitor.plays("#after audio")


def test_a_conversion_is_cancelled(visitor: Visitor, server: Server, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving(400, (128, 128)))
    visitor.choose("slow")
    visitor.drop(tmp_path / "long.mp4")
    visitor.convert()
    visitor.wait_for("of 400 frames")
    visitor.page.click("#cancel")
    visitor.wait_for("cancelled")
    assert not [path for path in server.files if "night" in path.name or "partial" in path.name]
    visitor.clear()
    visitor.choose("horses")
    visitor.drop(picture(tmp_path / "next.png"))
    visitor.convert()
    visitor.wait_for("done")


def test_one_who_leaves_stops_what_was_under_way(
    chromium: Any, server: Server, tmp_path: Path
) -> None:
    write_video(tmp_path / "long.mp4", moving(400, (128, 128)))
    gone = Visitor(chromium, server)
    gone.choose("slow")
    gone.drop(tmp_path / "long.mp4")
    gone.convert()
    gone.wait_for("of 400 frames")
    gone.close()
    wait_for(lambda: not server.files)
    after = Visitor(chromium, server)  # the one worker is free again
    after.choose("horses")
    after.drop(picture(tmp_path / "in.png"))
    after.convert()
    after.wait_for("done")
    after.close()


def test_two_at_once_get_their_own(
    chromium: Any, server: Server, models: Path, tmp_path: Path
) -> None:
    visitors = [Visitor(chromium, server) for _ in range(2)]
    # The same name with another content, and the same moment.
    sources = [tmp_path / str(k) / "same.png" for k in range(2)]
    for k, (visitor, source) in enumerate(zip(visitors, sources, strict=True)):
        source.parent.mkdir()
        visitor.choose("horses")
        visitor.drop(picture(source, k))
    for visitor in visitors:
        visitor.convert()
    for k, (visitor, source) in enumerate(zip(visitors, sources, strict=True)):
        visitor.wait_for("done")
        visitor.download(tmp_path / f"got{k}.png")
        expected = load(models / "horses", device="cpu").translate(read_image(source).pixels)
        np.testing.assert_array_equal(read_image(tmp_path / f"got{k}.png").pixels, expected)
        visitor.close()


def test_what_is_wrong_is_said_and_mended(visitor: Visitor, tmp_path: Path) -> None:
    visitor.convert()
    visitor.wait_for("choose a file first")
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "in.png").read_bytes()[:80])
    visitor.page.set_input_files("#file input[type=file]", tmp_path / "cut.png")
    visitor.wait_for("cut.png: is damaged")
    visitor.clear()
    visitor.choose("anna2ben")
    visitor.drop(tmp_path / "in.png")
    visitor.convert()
    visitor.wait_for("is a picture, but this model converts voices")
    visitor.clear()
    visitor.page.set_input_files("#file input[type=file]", speech(tmp_path / "long.wav", 21))
    visitor.wait_for("lasts 21 s, and this page takes 20 s at most")


def test_recipes_and_trainings_are_shown(visitor: Visitor, runs: Path) -> None:
    visitor.page.get_by_role("tab", name="Recipes").click()
    card = visitor.page.locator(".recipes article", has_text="train cyclegan_vc2_small ")
    assert "cyclegan-media train cyclegan_vc2_small" in card.inner_text()
    visitor.page.get_by_role("tab", name="Trainings").click()
    charts = visitor.page.locator("#training figure")
    charts.first.wait_for()
    assert charts.count() == 1
    with open(runs / "metrics.csv", "a") as log:
        log.write("3,1.0,2.0\n")
    before = charts.locator("img").get_attribute("src")
    wait_for(lambda: charts.locator("img").get_attribute("src") != before)
