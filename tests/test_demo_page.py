"""The demonstration page: complete in one file, honest in its verdicts, playable."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from cyclegan_media.demo.page import (
    Exhibit,
    Measure,
    PictureSection,
    RunFacts,
    VoiceSection,
    build_page,
    overall,
)
from cyclegan_media.demo.scenes import make_scene, write_clip
from cyclegan_media.errors import UserError
from cyclegan_media.page.plots import curves_png, spectrogram_png

RUN = RunFacts("2024-05-06", "a test machine", 83.0, {"Seed": 0})


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for domain in ("a", "b"):
        write_clip(folder / f"{domain}.mp4", make_scene(3), domain, 1, 10, (64, 64))
        pitch = {"a": 150, "b": 300}[domain]
        tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000)
        soundfile.write(folder / f"{domain}.wav", tone, 16000)
    rows = ["step,cycle_a,cycle_b,identity_a2b,learning_rate_generators"]
    rows += [f"{step},{1 / (step + 1)},{2 / (step + 1)},,0.001" for step in range(0, 300, 10)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    return folder


def picture(folder: Path) -> PictureSection:
    return PictureSection(
        heading="Pictures",
        introduction="Day <to> dusk & back.",
        exhibits=[
            Exhibit(
                "Scene 3",
                folder / "a.mp4",
                folder / "b.mp4",
                cycle=folder / "a.mp4",
                truth=folder / "b.mp4",
            )
        ],
        measures=[Measure("PSNR", 9.0, 19.5, margin=4.0, unit="dB", note="8 held-out pictures")],
        settings={"Steps": 600, "Parameters": 213543, "Moving average": True},
        curves=folder / "metrics.csv",
    )


def voice(folder: Path) -> VoiceSection:
    return VoiceSection(
        heading="Voices",
        introduction="One tone to another.",
        exhibits=[Exhibit("Sentence 1", folder / "a.wav", folder / "b.wav")],
        measures=[Measure("MCD", 9.0, 8.6, margin=1.0, unit="dB", higher_is_better=False)],
    )


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def built(material: Path) -> Path:
    return build_page(
        material / "page.html", "What was learned", picture(material), voice(material), RUN
    )


def test_the_page_asks_for_nothing_outside_itself(built: Path) -> None:
    page = Page(built)
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "poster", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert not page.all("link")
    style_and_script = built.read_text(encoding="utf-8")
    assert "@import" not in style_and_script
    assert not re.search(r"(?i)\burl\(|https?://", style_and_script)


def test_clips_and_recordings_are_the_files_themselves(built: Path, material: Path) -> None:
    page = Page(built)
    videos, sounds = page.all("video"), page.all("audio")
    assert (len(videos), len(sounds)) == (4, 2)
    for element, file in ((videos[0], "a.mp4"), (videos[1], "b.mp4"), (sounds[1], "b.wav")):
        kind, content = (element["src"] or "").split(";base64,")
        assert kind in ("data:video/mp4", "data:audio/wav")
        assert base64.b64decode(content) == (material / file).read_bytes()
    for video in videos:
        assert {"controls", "playsinline", "loop"} <= set(video)
        assert (video["poster"] or "").startswith("data:image/jpeg")


def test_everything_seen_or_heard_has_words(built: Path) -> None:
    page = Page(built)
    assert all(image["alt"] for image in page.all("img"))
    assert all(element["aria-label"] for element in page.all("video") + page.all("audio"))
    assert len(page.all("h1")) == 1
    figures = len(page.all("figure"))
    assert figures == len(page.all("figcaption")) == 4 + 2 + 1
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_what_a_reader_wants_to_know_is_there(built: Path) -> None:
    text = Page(built).text
    for words in (
        "What was learned", "All data on this page is synthetic", "Day <to> dusk & back.",
        "Before", "After", "Cycle", "Truth", "8 held-out pictures", "+10.50", "clear gain",
        "small gain", "Steps 600", "a test machine", "2024-05-06", "1 min 23 s",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("unconverted", "converted", "higher", "gain", "verdict"),
    [
        (9.0, 13.0, True, 4.0, "clear gain"),
        (9.0, 12.9, True, 3.9, "small gain"),
        (9.0, 9.0, True, 0.0, "no gain"),
        (9.0, 5.0, True, -4.0, "no gain"),
        (9.0, 5.0, False, 4.0, "clear gain"),
        (9.0, 13.0, False, -4.0, "no gain"),
        (9.0, float("nan"), False, None, "not a number"),
    ],
)
def test_verdicts_follow_from_the_numbers(
    unconverted: float, converted: float, higher: bool, gain: float | None, verdict: str
) -> None:
    measure = Measure("m", unconverted, converted, margin=4.0, higher_is_better=higher)
    assert measure.verdict == verdict
    if gain is not None:
        assert measure.gain == pytest.approx(gain)


@pytest.mark.parametrize(
    ("trivial", "higher", "closer"),
    [(14.0, True, True), (12.0, True, False), (12.0, False, True), (13.0, True, False)],
)
def test_a_trivial_method_that_is_closer_is_named(
    trivial: float, higher: bool, closer: bool
) -> None:
    unconverted = 5.0 if higher else 20.0
    measure = Measure("m", unconverted, 13.0, 4.0, higher_is_better=higher, trivial=trivial)
    said = "; the trivial method is closer" if closer else ""
    assert measure.verdict == "clear gain"
    assert measure.remark == f"clear gain{said}"


def test_one_failed_measure_spoils_the_overall_verdict() -> None:
    clear = Measure("PSNR", 9, 20, margin=4)
    small, worse = replace(clear, name="small", converted=10), replace(clear, converted=3)
    assert overall([clear, clear]) == (
        "Beats the unconverted input by a clear margin on all 2 measures.",
        "good",
    )
    sentence, kind = overall([clear, small])
    assert (kind, "1 of 2" in sentence, "small: small gain" in sentence) == ("fair", True, True)
    assert overall([clear, worse])[1] == "bad"
    assert overall([worse])[1] == "bad"
    assert overall([])[1] == "bad"


def test_a_section_can_be_left_out(material: Path, tmp_path: Path) -> None:
    page = Page(build_page(tmp_path / "p.html", "Voices only", None, voice(material), RUN))
    assert not page.all("video")
    assert len(page.all("audio")) == 2


def test_a_page_is_not_overwritten_unasked(material: Path, tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        build_page(tmp_path / "p.html", "t", None, voice(material), RUN)
    build_page(tmp_path / "p.html", "t", None, voice(material), RUN, overwrite=True)


def test_files_that_browsers_do_not_play_are_refused(material: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "old.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    for name, words in (
        ("old.mp4", "not every browser plays"),
        ("broken.mp4", "no video that can be decoded"),
        ("missing.mp4", "cannot be read"),
        ("clip.mkv", "a page can hold here .mp4"),
    ):
        section = replace(
            picture(material), exhibits=[Exhibit("e", tmp_path / name, material / "b.mp4")]
        )
        with pytest.raises(UserError, match=f"{name}: .*{words}"):
            build_page(tmp_path / "p.html", "t", section, None, RUN)
    section = replace(voice(material), exhibits=[Exhibit("e", tmp_path / "broken.wav", Path())])
    with pytest.raises(UserError, match="no sound that can be read"):
        build_page(tmp_path / "p.html", "t", None, section, RUN)
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16000)
    section = replace(voice(material), exhibits=[Exhibit("e", tmp_path / "click.wav", Path())])
    with pytest.raises(UserError, match=r"click.wav: is shorter than 32 ms"):
        build_page(tmp_path / "p.html", "t", None, section, RUN)
    assert not (tmp_path / "p.html").exists()


def test_curves_are_one_chart_per_term(material: Path) -> None:
    charts = curves_png(material / "metrics.csv")
    assert list(charts) == ["cycle"]  # nothing logged for identity; a learning rate is no loss
    image = Image.open(io.BytesIO(charts["cycle"]))
    assert image.format == "PNG"
    assert curves_png(material / "metrics.csv", dark=True)["cycle"] != charts["cycle"]


def test_curves_survive_a_log_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("step,cycle_a,cycle_b\n0,1.0,2.0\n10,0.9,nan\n20,0.8")
    assert list(curves_png(tmp_path / "m.csv")) == ["cycle"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "no log"),
        ("a,b\n1,2\n", "no log"),
        ("step,x\n0,y\n", "line 2"),
    ],
)
def test_what_is_no_log_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "m.csv").write_text(content)
    with pytest.raises(UserError, match=f"m.csv: .*{words}"):
        curves_png(tmp_path / "m.csv")


def test_a_spectrogram_shows_where_the_energy_is() -> None:
    # A tone at 6 kHz of 8: the brightest row lies in the upper third of the picture.
    tone = 0.5 * np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000)
    image = np.asarray(Image.open(io.BytesIO(spectrogram_png(tone, 16000))).convert("RGBA"))
    brightness = image[..., :3].sum(2) * (image[..., 3] > 250)
    middle = brightness[:, image.shape[1] // 2]
    assert np.argmax(middle) < image.shape[0] / 3
    assert spectrogram_png(np.zeros(16000), 16000)  # digital silence has a picture, too
    with pytest.raises(UserError, match="at least 32 ms"):
        spectrogram_png(np.zeros(100), 16000)


def test_a_real_browser_plays_it(built: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium is installed; the page is not tried in a browser")
    probe = """<script>addEventListener("load", () => {
      const media = [...document.querySelectorAll("video, audio")];
      document.title = "probe " + media.map((m) => m.error ? "error" : m.duration).join(" ");
    });</script></body>"""
    html = built.read_text(encoding="utf-8").replace("</body>", probe)
    (tmp_path / "probe.html").write_text(html, encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
        (tmp_path / "probe.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>probe (.*?)</title>", done.stdout)
    assert title, "the page's scripts did not run"
    durations = [float(value) for value in title.group(1).split()]
    assert durations == pytest.approx([1.0] * 6, abs=0.05)
    assert done.stdout.count("Play side by side</button>") == 1


def test_a_trivial_method_has_a_column_where_there_is_one(material: Path, tmp_path: Path) -> None:
    section = picture(material)
    without = Page(build_page(tmp_path / "p.html", "t", section, None, RUN)).text
    assert "Trivial" not in without
    measures = [replace(section.measures[0], trivial=14.25), *section.measures]
    page = Page(
        build_page(tmp_path / "q.html", "t", replace(section, measures=measures), None, RUN)
    )
    assert "Unconverted Trivial method Translated" in page.text
    cells = [cell["data-label"] for cell in page.all("td") if "data-label" in cell]
    assert cells == ["Unconverted", "Trivial method", "Translated", "Gain", "Margin"] * 2
    assert "9.00 14.25 19.50" in page.text
    assert "9.00 – 19.50" in page.text
