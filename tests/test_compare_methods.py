"""The comparison of methods: equal compute, resuming, and the page."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
from compare_photos import write_photographs
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import compare_methods
import compare_problems
from compare_problems import SIDE
from compare_runs import Result
from compare_tables import Comparison, reading, spread, table
from compare_variants import METHODS, equal_steps, flops_per_step, recipe_of

SMALL = ["--set", "model.generator.width=4", "--set", "model.discriminator.width=4"]
SETS = ["model.generator.width=4", "model.discriminator.width=4"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"))


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
    assert lines[:3] == [
        "- Cycle decay (Wang & Lin): PSNR A→B +3.50 dB, better.",
        "- Quality weighting (Wang & Lin): no difference that counts.",
        "- SSIM cycle (Face-off): PSNR A→B −3.00 dB, worse.",
    ]


def test_less_distance_is_better() -> None:
    page = comparison("monet", "kid_a2b", {"vanilla": [5.2, 5.21], "decay": [4.9, 4.91]})
    lines = list(reading(page, "monet"))
    assert "- Cycle decay (Wang & Lin): KID A→B −0.300, better." in lines
    assert "- KID A→B: Unconverted 5.000; Cycle decay (Wang & Lin)." in lines


def test_baselines_are_beaten_by_more_than_the_deviation() -> None:
    page = comparison(
        "known",
        "psnr_a2b",
        {"vanilla": [5.0, 6.0, 7.0], "decay": [5.5, 6.5, 7.5], "cut": [4.0, 4.1]},
    )
    # Unconverted has 5: decay's mean of 6.5 is more than its deviation of 1 above, vanilla's not.
    wanted = "- PSNR A→B: Unconverted 5.00 dB; Cycle decay (Wang & Lin)."
    assert wanted in list(reading(page, "known"))


def test_one_seed_proves_nothing() -> None:
    page = comparison("known", "psnr_a2b", {"vanilla": [10.0], "decay": [20.0]})
    assert "- Cycle decay (Wang & Lin): one seed, so nothing can be said." in reading(page, "known")


def test_methods_for_a_resnet_are_compared_with_that() -> None:
    page = comparison(
        "known",
        "psnr_a2b",
        {"vanilla": [20.0, 20.1], "vanilla_resnet": [10.0, 10.1], "cut": [12.0, 12.1]},
    )
    assert "- CUT: PSNR A→B +2.00 dB, better." in reading(page, "known")


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
