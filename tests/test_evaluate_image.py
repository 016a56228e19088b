"""``cyclegan-media evaluate`` on pictures and clips: from folders to a page and its numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from evaluation_files import Page, picture_model
from video_files import moving, write_video

from cyclegan_media.cli import main
from cyclegan_media.evaluation.image_settings import COLOURS, REAL, UNCONVERTED
from cyclegan_media.evaluation.pictures import ColourMatch
from cyclegan_media.media import Image, read_image, write_image
from cyclegan_media.metrics.image import psnr, sliced_wasserstein, ssim
from cyclegan_media.metrics.image_features import describe
from cyclegan_media.metrics.image_sets import features_of, frechet_distance, kernel_distance
from cyclegan_media.page.fragments import number

SIDE = 32
HALF = 0.5
"""What the model multiplies by, each way."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark pictures and light ones, a model, and a report on it; two names are in both tests."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for side, base in (("A", 0), ("B", 100)):
        for part, names in (("train", "pqrst"), ("test", "cdef" if side == "A" else "efgh")):
            (root / f"{part}{side}").mkdir()
            for name in names:
                pixels = random.integers(base, base + 156, (SIDE, SIDE, 3), dtype=np.uint8)
                write_image(root / f"{part}{side}" / f"{name}.png", Image(pixels))
    picture_model(root / "half", HALF)
    assert main(_command(root, root / "report.html")) == 0
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def _command(root: Path, out: Path, *more: str) -> list[str]:
    command = ["evaluate", "--model", str(root / "half"), "--device", "cpu", "--out", str(out)]
    command += ["--data-a", str(root), "--data-b", str(root), "--size", str(SIDE)]
    return [*command, "--precision", "fp32", "--examples", "2", *more]


def _pictures(folder: Path) -> torch.Tensor:
    pixels = [read_image(path).pixels for path in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_the_numbers_are_those_of_the_metrics(folder: Path, data: dict[str, Any]) -> None:
    a, b = _pictures(folder / "testA"), _pictures(folder / "testB")
    assert data["modality"] == "image"
    assert data["pictures"] == {"a": 4, "b": 4}
    assert data["comparable_with_published_fid"] is False
    rows = data["directions"]["a2b"]
    assert list(rows) == [UNCONVERTED, COLOURS, "half", REAL]
    real = features_of(b, describe)
    trained = _pictures(folder / "trainB")
    for name, pictures in ((UNCONVERTED, a), ("half", HALF * a), (REAL, trained)):
        features = features_of(pictures, describe)
        assert rows[name]["fid"] == pytest.approx(frechet_distance(features, real), rel=1e-4)
        kernel = kernel_distance(features, real)
        assert rows[name]["kid"] == pytest.approx(kernel.mean, rel=1e-4, abs=1e-6)
        assert rows[name]["kid_deviation"] == pytest.approx(kernel.deviation, rel=1e-4, abs=1e-6)
        swd = sliced_wasserstein(pictures, b)
        assert rows[name]["sliced_wasserstein"] == pytest.approx(swd, rel=1e-4)


def test_pairs_and_cycles_are_measured_where_there_are_any(
    folder: Path, data: dict[str, Any]
) -> None:
    a, b = _pictures(folder / "testA"), _pictures(folder / "testB")
    rows = data["directions"]["a2b"]
    assert data["pairs"] == 2  # e and f
    assert rows["half"]["psnr"] == pytest.approx(psnr(HALF * a[2:], b[:2]), rel=1e-5)
    assert rows[UNCONVERTED]["ssim"] == pytest.approx(ssim(a[2:], b[:2]), rel=1e-5)
    assert "psnr" not in rows[REAL]
    # There and back multiplies by a quarter, so the error is three quarters of the picture.
    each = [10 * np.log10(4 / float((0.75 * x).square().mean())) for x in a]
    assert rows["half"]["cycle_psnr"] == pytest.approx(np.mean(each), rel=1e-5)
    assert "cycle_psnr" not in rows[UNCONVERTED]


def test_the_page_says_what_the_numbers_say_and_shows_the_pictures(
    folder: Path, data: dict[str, Any]
) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []  # every element was closed
    assert page.sections == ["a2b", "b2a", "made"]
    assert "no published FID or KID compares with" in html
    shown = ("fid", "kid", "sliced_wasserstein", "psnr", "ssim", "cycle_psnr", "cycle_ssim")
    for table, way in zip(page.tables, ("a2b", "b2a"), strict=True):
        lines = {name.removesuffix("for comparison"): cells for name, cells in table.items()}
        for name, values in data["directions"][way].items():
            for_people = {**values, "kid": 1000 * values["kid"]}
            assert lines[name] == [number(for_people.get(key)) for key in shown]
    assert all(source.startswith("data:image/jpeg") for source in page.sources)
    # Two examples a direction, by three methods, and two real pictures of the target.
    assert len(page.sources) == 2 * (2 * 3 + 2)
    made = PIL.Image.open(io.BytesIO(Page.content(page.sources[2])))
    found = torch.from_numpy(np.array(made)).permute(2, 0, 1)[None].float() / 127.5 - 1
    wanted = HALF * _pictures(folder / "testA")[:1]
    assert psnr(found, wanted) > 30  # JPEG


def test_matched_colours_have_the_mean_and_deviation_of_the_target() -> None:
    source = 0.1 * torch.randn(4, 3, 8, 8) + torch.tensor([0.3, -0.2, 0.0])[:, None, None]
    target = 0.2 * torch.randn(5, 3, 6, 6) - torch.tensor([0.1, 0.0, 0.2])[:, None, None]
    matched = ColourMatch(source, target)(source)
    for got, wanted in zip(
        torch.std_mean(matched, (0, 2, 3)), torch.std_mean(target, (0, 2, 3)), strict=True
    ):
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=0)


def test_clips_are_measured_along_their_motion_and_shown(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    for side in "ab":
        for part in ("train", "test"):
            (tmp_path / side / part).mkdir(parents=True)
        write_video(tmp_path / side / "test" / "walk.mp4", moving(6))
        write_video(tmp_path / side / "train" / "run.mp4", moving(6))
    command = _command(folder, tmp_path / "report.html", "--clips", "1")
    for side in "ab":
        command[command.index(f"--data-{side}") + 1] = str(tmp_path / side)
    assert main([*command, "--examples", "0"]) == 0
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["pairs"] == 0  # frames of two clips are no pairs
    rows = data["clips"]["a2b"]["walk.mp4"]
    # What is half as rich in contrast changes half as much, so its mean square is a quarter.
    for key in ("warping_error", "flicker_energy"):
        assert rows["source"][key] > 0
        assert rows["half"][key] == pytest.approx(rows["source"][key] / 4, rel=1e-3)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.sections == ["a2b", "b2a", "clips", "made"]
    # Each direction: the source, matched colours and the model.
    clips = [source for source in page.sources if source.startswith("data:video/mp4")]
    assert len(clips) == page.players == 6


def test_what_is_wrong_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, message in (
        (["--size", "20"], "size: 20 pixels are too few"),
        (["--pictures", "2"], "pictures: 2 are too few"),
        (["--held-out", "c*"], "no file is like c*"),
        (["--held-out", "e*"], "domain A: 1 held-out pictures are too few"),
        (["--held-out", "[!pq]*"], "domain A: 2 training pictures are too few"),
        (["--held-out", "*"], "every file is like *"),
        (["--held-out", ""], "no file is held out"),
        (["--embedding", "x.onnx"], "x.onnx: an embedding of speakers is for models of voices"),
        (["--run", str(folder)], "is no folder of a training"),
    ):
        out = tmp_path / "report.html"
        assert main(_command(folder, out, *more)) == 2, more
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert message in lines[0]
        assert not out.exists()
