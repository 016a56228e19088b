"""The comparison of methods: its problem, equal compute, resuming, and the page."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import compare_methods
import compare_problems
from compare_look import painted
from compare_problems import SIDE, Source, cut, exposed, known_problem, photographs, regions
from compare_runs import Result
from compare_tables import Comparison, reading, spread, table
from compare_variants import METHODS, equal_steps, flops_per_step, recipe_of

SMALL = ["--set", "model.generator.width=4", "--set", "model.discriminator.width=4"]
SETS = ["model.generator.width=4", "model.discriminator.width=4"]


def photograph(seed: int, height: int = 208, width: int = 240) -> np.ndarray:
    """Blots of light and colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        Image.fromarray(photograph(number)).save(folder / f"photo-{number}.png")
    return folder


# --- the look ----------------------------------------------------------------------------------


def test_look_of_grey_is_its_tone_curve_under_the_weave() -> None:
    got = (painted(torch.zeros(1, 3, 16, 16)) + 1) / 2  # 0 is half of the light
    tone = [0.06 + 0.84 * 0.5**1.1, 0.05 + 0.57 * 0.5**1.3, 0.10 + 0.32 * 0.5**1.5]
    threads = torch.tensor([1.0, -1.0, -1.0, 1.0])
    weave = 0.03 * torch.outer(threads, threads).repeat(4, 4)
    wanted = torch.tensor(tone)[:, None, None] + weave
    torch.testing.assert_close(got[0], wanted, atol=1e-5, rtol=0)


def test_look_is_a_function_of_each_picture_alone_and_mirrors_with_it() -> None:
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    together = painted(pictures)
    assert torch.equal(together, painted(pictures))
    torch.testing.assert_close(painted(pictures[1:2])[0], together[1])
    torch.testing.assert_close(painted(pictures.flip(-1)), together.flip(-1))
    assert together.min() >= -1
    assert together.max() <= 1


def test_look_darkens_edges_below_both_sides() -> None:
    step = torch.full((1, 3, 32, 32), -0.4)
    step[..., 16:] = 0.4
    # Along columns the weave averages out.
    light = painted(step).mean((0, 1, 2))
    dark_side, light_side, edge = light[4:8].mean(), light[-8:-4].mean(), light[15:17].mean()
    assert edge < dark_side < light_side


def test_look_brushes_detail_away_and_keeps_steps() -> None:
    noisy = torch.randn(1, 3, 64, 64) * 0.02
    noisy[..., 32:] += 0.02
    plain = painted(torch.zeros(1, 3, 64, 64))
    rough = (painted(noisy) - plain)[..., 4:28]
    # Halved at least: the tone curves alone take less than half (their slopes are 0.57 or more).
    assert rough[:, 0].std() < noisy[:, 0, :, 4:28].std() / 2


# --- the problem -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [200, 208, 277, 400])
def test_held_out_columns_are_not_trained_on(width: int) -> None:
    # Red tells the column, blue the photograph; green is rough enough for no tile to be flat.
    pictures = []
    for number in (1, 2):
        picture = np.zeros((100, width, 3), np.uint8)
        picture[..., 0] = np.arange(width) % 256
        picture[..., 1] = np.random.default_rng(number).integers(0, 2, (100, width)) * 255
        picture[..., 2] = number + (np.arange(width) >= 256) * 100
        pictures.append(Source(f"{number}", [picture]))

    def places(tiles: list[np.ndarray]) -> set[tuple[int, int]]:
        columns = (tile[..., 0] + 256 * (tile[..., 2].astype(int) >= 100) for tile in tiles)
        photo = (tile[..., 2] % 100 for tile in tiles)
        return {
            (int(number), int(column))
            for numbers, across in zip(photo, columns, strict=True)
            for number, column in zip(numbers[0], across[0], strict=True)
        }

    train, test = (cut(pictures, 40, held_out=held_out) for held_out in (False, True))
    assert len(train) == len(test) == 40
    assert {tile.shape for tile in train + test} == {(SIDE, SIDE, 3)}
    assert not places(train) & places(test)
    assert {number for number, _ in places(train)} == {1, 2}
    (first, last), *sides = [*regions(width, True), *regions(width, False)]
    assert sides == [(0, first), (last, width)]


def test_cutting_is_repeatable_and_even() -> None:
    sources = [Source(f"{seed}", [photograph(seed)]) for seed in range(3)]
    once, again = (cut(sources, 10, held_out=False) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


def test_exposure_brings_lightness_to_one_mean() -> None:
    dark = Source("dark", [np.full((70, 200, 3), 70, np.uint8)])
    # log 0.45 / log(70 / 255) is 0.618
    assert exposed(dark).pictures[0][0, 0].tolist() == [115, 115, 115]


def test_sides_share_no_photograph(photos: Path) -> None:
    a, b = photographs(photos)
    assert [path.name for path in a] == ["photo-0.png", "photo-2.png"]
    assert [path.name for path in b] == ["photo-1.png", "photo-3.png"]


def test_default_photographs_are_on_one_side_each() -> None:
    try:
        a, b = photographs(None)
    except compare_problems.UserError:
        pytest.skip("no photographs are installed")
    assert a
    assert b
    assert not set(a) & set(b)


def test_truth_is_the_look_of_the_test_tile(photos: Path, tmp_path: Path) -> None:
    tiles = known_problem(tmp_path / "known", photos, 6, 4)
    assert [len(tiles.pictures(part)) for part in ("trainA", "trainB", "testA", "testB")] == [
        6,
        6,
        4,
        4,
    ]
    eight_bits = 1 / 255 + 1e-6  # half a level, on −1…1
    for before, after in (("testA", "truthA2B"), ("truthB2A", "testB")):
        wanted = painted(tiles.pictures(before))
        torch.testing.assert_close(tiles.pictures(after), wanted, atol=eight_bits, rtol=0)
    files = tiles.files()
    assert not files.held_out_a
    assert not files.held_out_b
    assert {path.parent.name for path in files.train_a + files.train_b} == {"trainA", "trainB"}


def test_digest_follows_the_pixels(photos: Path, tmp_path: Path) -> None:
    first, same, other = (
        known_problem(tmp_path / name, photos, 6, test)
        for name, test in (("1", 4), ("2", 4), ("3", 5))
    )
    assert first.digest == same.digest != other.digest


# --- the methods -------------------------------------------------------------------------------

_CHANGES = {
    # what may differ from the reference, beside the objective
    "second_discriminator": {"model"},
    "multiscale": {"model"},
    "pix2pixhd_global": {"model"},
    "cut": {"model", "method"},
    "fastcut": {"model", "method"},
    "augmented": {"model", "method"},
}


@pytest.mark.parametrize("method", METHODS)
def test_methods_differ_from_their_reference_in_the_method_alone(method: str) -> None:
    ours, base = (
        recipe_of(name, 100, 3).model_dump(mode="json")
        for name in (method, METHODS[method].reference)
    )
    allowed = _CHANGES.get(method, {"model"} if method == "vanilla_resnet" else set())
    differing = {key for key in ours if ours[key] != base[key]}
    assert differing <= allowed | {"objective"}
    assert ours["trainer"]["steps"] + ours["trainer"]["decay_steps"] == 100
    if method == "pix2pixhd_global":
        assert ours["objective"] == base["objective"]


def test_better_cycles_follow_the_length_of_the_training() -> None:
    term = recipe_of("better_cycles", 400, 0).objective["feature_cycle"]
    assert (term["weight"], term["final_weight"], term["end"]) == (10, 1, 400)
    assert (term["gamma"]["final"], term["gamma"]["end"], term["quality"]) == (0.9, 200, "real")


def test_operations_are_counted_in_proportion_to_the_batch() -> None:
    one, three = (
        flops_per_step(recipe_of("vanilla", 4, 0, [*SETS, f"trainer.batch_size={size}"]))
        for size in (1, 3)
    )
    assert three == 3 * one


@pytest.mark.parametrize("method", ["vanilla", "second_discriminator", "fastcut"])
def test_all_methods_get_equal_compute(method: str) -> None:
    flops = 300 * equal_steps("vanilla", 0)[1]
    steps, each = equal_steps(method, flops)
    assert abs(steps * each - flops) <= each / 2
    assert (steps > 300) == (method == "fastcut")
    assert (steps < 300) == (method == "second_discriminator")


# --- tables ------------------------------------------------------------------------------------


def comparison(problem: str, key: str, values: dict[str, list[float]]) -> Comparison:
    results = [
        Result(problem, method, seed, {}, 7, 10**9, 1.0, {key: score})
        for method, scores in values.items()
        for seed, score in enumerate(scores)
    ]
    return Comparison(
        "command",
        1e12,
        1,
        "",
        list(values),
        [],
        {problem: {"Unconverted": ({key: 5.0}, {})}},
        results,
    )


def test_spread_is_the_sample_deviation() -> None:
    assert spread([10.0, 11.0, 12.0], 2) == "11.00 ± 1.00"
    assert spread([10.0], 2) == "10.00"
    assert spread([], 2) == "—"


def test_reading_counts_what_exceeds_both_deviations() -> None:
    page = comparison(
        "known",
        "psnr_a2b",
        {
            "vanilla": [10.0, 11.0, 12.0],
            "decay": [14.0, 14.5, 15.0],
            "quality": [11.5, 12.0, 12.5],
            "ssim_cycle": [8.0, 8.0, 8.0],
        },
    )
    lines = [line for line in reading(page, "known") if line.startswith("- ")]
    assert lines == [
        "- Cycle decay (Wang & Lin): PSNR, dB, A→B +3.50, better.",
        "- Quality weighting (Wang & Lin): no difference that counts.",
        "- SSIM cycle (Face-off): PSNR, dB, A→B −3.00, worse.",
    ]


def test_less_distance_is_better() -> None:
    page = comparison("monet", "kid_a2b", {"vanilla": [0.2, 0.21], "decay": [0.1, 0.11]})
    assert "- Cycle decay (Wang & Lin): KID A→B −0.100, better." in list(reading(page, "monet"))


def test_one_seed_proves_nothing() -> None:
    page = comparison("known", "psnr_a2b", {"vanilla": [10.0], "decay": [20.0]})
    assert list(reading(page, "known"))[-1].endswith("one seed, so nothing can be said.")


def test_methods_for_a_resnet_are_compared_with_that() -> None:
    page = comparison(
        "known",
        "psnr_a2b",
        {"vanilla": [20.0, 20.1], "vanilla_resnet": [10.0, 10.1], "cut": [12.0, 12.1]},
    )
    assert list(reading(page, "known"))[-1] == "- CUT: PSNR, dB, A→B +2.00, better."


# --- from end to end ---------------------------------------------------------------------------


def arguments(photos: Path, folder: Path, *more: str) -> list[str]:
    return [
        *("--only", "known", "--photos", str(photos), "--tiles", "4", "--held-out", "4"),
        *("--out", str(folder / "out"), "--work", str(folder / "work")),
        *SMALL,
        *more,
    ]


def test_page_is_made_and_results_are_used_again(photos: Path, tmp_path: Path) -> None:
    def run(methods: str, steps: int, seeds: int) -> dict[str, int]:
        """When each training was begun."""
        flags = ["--methods", methods, "--steps", str(steps), "--seeds", str(seeds)]
        assert compare_methods.main(arguments(photos, tmp_path, *flags)) == 0
        runs = (tmp_path / "work" / "runs").iterdir()
        return {path.name: (path / "recipe.yaml").stat().st_mtime_ns for path in runs}

    def result(method: str, seed: int) -> dict[str, Any]:
        file = tmp_path / "work" / "results" / f"known-{method}-{seed}.json"
        return json.loads(file.read_text())

    # One more seed trains that seed alone.
    one = run("vanilla,fastcut", 2, 1)
    two = run("vanilla,fastcut", 2, 2)
    assert one.items() < two.items()
    assert two.keys() - one.keys() == {"known-vanilla-1", "known-fastcut-1"}

    page = (tmp_path / "out" / "methods.md").read_text()
    for method, title in (("vanilla", "CycleGAN"), ("fastcut", "FastCUT")):
        scores = [result(method, seed)["scores"]["psnr_a2b"] for seed in (0, 1)]
        wanted = f"| {statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} |"
        starts = f"| {title} | {result(method, 0)['steps']} | 2 | "
        (row,) = [line for line in page.splitlines() if line.startswith(starts)]
        assert wanted in row
    assert "photo-0.png, photo-2.png. B: other photographs, photo-1.png, photo-3.png" in page
    for way in ("a2b", "b2a"):
        assert f"](known-{way}.webp)" in page
        with Image.open(tmp_path / "out" / f"known-{way}.webp") as figure:
            assert figure.width > 4 * SIDE

    # Other settings are another result.
    before = result("vanilla", 0)
    run("vanilla", 3, 1)
    assert result("vanilla", 0)["steps"] == 3
    assert result("vanilla", 0)["scores"] != before["scores"]


def test_page_says_what_failed(photos: Path, tmp_path: Path) -> None:
    diverging = ["--methods", "vanilla", "--seeds", "1", "--steps", "2"]
    limit = ["--set", "trainer.divergence_limit=1.0e-6"]
    assert compare_methods.main(arguments(photos, tmp_path, *diverging, *limit)) == 0
    page = (tmp_path / "out" / "methods.md").read_text()
    assert "**CycleGAN, seed 0, failed:** the training diverged at step 0" in page


def test_page_only_trains_nothing(photos: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("Somebody looked.")
    flags = ["--methods", "vanilla", "--steps", "2", "--page-only", "--notes", str(notes)]
    assert compare_methods.main(arguments(photos, tmp_path, *flags)) == 0
    assert not (tmp_path / "work" / "runs").exists()
    page = (tmp_path / "out" / "methods.md").read_text()
    assert "Somebody looked." in page
    assert "0 trainings" in page


def test_without_photographs_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert compare_methods.main(arguments(tmp_path / "empty", tmp_path)) == 2
    assert "too few photographs" in capsys.readouterr().err
    assert compare_methods.main(arguments(tmp_path / "nowhere", tmp_path)) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_painting_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_problems, "SHARED", tmp_path / "shared")
    flags = ["--only", "monet", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert compare_methods.main(flags) == 2
    told = capsys.readouterr().err
    assert "etretat.jpg: is missing" in told
    assert "--only known" in told


def test_unknown_methods_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_methods.main(["--methods", "vanilla,magic", "--out", str(tmp_path)]) == 2
    assert "--methods magic: unknown" in capsys.readouterr().err


def test_table_has_a_row_for_each_method_and_baseline() -> None:
    page = comparison("known", "psnr_a2b", {"vanilla": [10.0, 11.0, 12.0], "cut": []})
    rows = list(table(page, "known"))
    assert rows[2] == "| *Unconverted* | | | 5.00 |  |  |  |"
    assert rows[3] == "| CycleGAN | 7 | 3 | 11.00 ± 1.00 | — | — | — |"
    assert len(rows) == 4
