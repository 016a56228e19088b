"""A training from two folders to a model: what it leaves, what it logs, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import EXACT, differences, pictures, recipe

from cyclegan_media.backbones import build
from cyclegan_media.core import normal_init
from cyclegan_media.datasets.discover import find_files
from cyclegan_media.datasets.unpaired import Unpaired
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.media import Image, read_image, write_image
from cyclegan_media.pretrained import load_model
from cyclegan_media.recipe import load_recipe
from cyclegan_media.training import TrainingResult, train, trainer
from cyclegan_media.training.checkpoint import checkpoint_name
from cyclegan_media.training.image_task import ImageTask
from cyclegan_media.training.log import Meter, Table

SUMMANDS = ["adversarial_a2b", "adversarial_b2a", "cycle_a", "cycle_b"]
IDENTITIES = ["identity_a2b", "identity_b2a"]
DISCRIMINATORS = ["discriminator_a", "discriminator_b"]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("finished")
    return train(recipe(), pictures(folder), folder / "run", device="cpu", progress=False)


def test_a_run_leaves_its_folder_complete(finished: TrainingResult) -> None:
    run = finished.run
    assert (finished.steps, finished.interrupted) == (8, False)
    assert finished.model == run / "model"
    assert {path.name for path in run.iterdir()} == {
        *("recipe.yaml", "metrics.csv", "validation.csv", "tensorboard"),
        *("previews", "checkpoints", "model"),
    }
    assert load_recipe(run / "recipe.yaml") == recipe()
    assert list((run / "tensorboard").iterdir())
    assert not [path for path in run.rglob("*") if "partial" in path.name]


def test_metrics_are_the_weighted_summands_of_every_logged_step(finished: TrainingResult) -> None:
    logged = rows(finished.run / "metrics.csv")
    assert [int(row["step"]) for row in logged] == list(range(1, 9))
    # The identity ends with the fourth step; from then on it has no value.
    expected = {*SUMMANDS, *IDENTITIES, *DISCRIMINATORS, "step", "learning_rate_factor"}
    assert set(logged[0]) == expected
    assert all(row[name] != "" for row in logged[:4] for name in IDENTITIES)
    assert all(row[name] == "" for row in logged[4:] for name in IDENTITIES)
    assert all(np.isfinite(float(row[name])) for row in logged for name in SUMMANDS)
    factors = [float(row["learning_rate_factor"]) for row in logged]
    assert factors == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_the_first_losses_are_those_of_the_core(tmp_path: Path) -> None:
    """Step 1 by hand: the same seed, the same sample, the networks as they are initialised."""
    changed = {
        **EXACT,
        "objective": {"adversarial": {}, "cycle": {"weight": 10}},
        "model": {
            **EXACT["model"],
            "generator": {"name": "resnet", "width": 2, "blocks": 1},
        },
    }
    own = recipe(changed, steps=1, decay_steps=0)
    files = pictures(tmp_path)
    train(own, files, tmp_path / "run", device="cpu", progress=False)

    torch.manual_seed(own.trainer.seed)
    g, f = (build(own.model.generator) for _ in range(2))
    d_a, d_b = (build(own.model.discriminator) for _ in range(2))
    normal_init(torch.nn.ModuleList([g, f, d_a, d_b]))
    task = ImageTask(own.data, files, lambda message: None)
    samples = [Unpaired(task.domain_a, task.domain_b, own.trainer.seed)[n] for n in range(2)]
    a, b = (torch.stack([sample[side] for sample in samples]) for side in range(2))
    with torch.no_grad():
        wanted = {
            "adversarial_a2b": (d_b(g(a)) - 1).square().mean(),
            "adversarial_b2a": (d_a(f(b)) - 1).square().mean(),
            "cycle_a": 10 * (f(g(a)) - a).abs().mean(),
            "cycle_b": 10 * (g(f(b)) - b).abs().mean(),
            "discriminator_a": (d_a(a) - 1).square().mean() / 2 + d_a(f(b)).square().mean() / 2,
            "discriminator_b": (d_b(b) - 1).square().mean() / 2 + d_b(g(a)).square().mean() / 2,
        }
    (row,) = rows(tmp_path / "run" / "metrics.csv")
    for name, value in wanted.items():
        assert float(row[name]) == pytest.approx(float(value), rel=1e-4)


def test_the_last_checkpoints_and_the_best_are_kept(finished: TrainingResult) -> None:
    logged = rows(finished.run / "validation.csv")
    scores = {int(row["step"]): float(row["score"]) for row in logged}
    assert list(scores) == [3, 6, 8]
    best = min(scores, key=lambda step: scores[step])
    kept = sorted(path.name for path in (finished.run / "checkpoints").iterdir())
    # Written: every second step, and whenever the score was the best so far.
    bests = {step for step in scores if scores[step] == min(scores[s] for s in scores if s <= step)}
    written = {2, 4, 6, 8} | bests
    assert kept == sorted(checkpoint_name(s) for s in {*sorted(written)[-2:], best})
    config = json.loads((finished.run / "model" / "config.json").read_text())
    assert config["steps"] == best


def test_the_model_is_that_of_the_best_checkpoint_and_translates(finished: TrainingResult) -> None:
    assert finished.model is not None
    model = load_model(finished.model)
    steps = model.config.steps
    assert steps is not None
    best = finished.run / "checkpoints" / checkpoint_name(steps)
    for name in ("generator_a2b.safetensors", "generator_b2a.safetensors"):
        assert (finished.model / name).read_bytes() == (best / "model" / name).read_bytes()
    assert (model.config.recipe, model.config.origin) == ("exact", "trained")
    assert model.config.ema
    for generator in model.generators.values():
        output = generator(torch.rand(1, 3, 24, 16) * 2 - 1)
        assert output.shape == (1, 3, 24, 16)


def test_what_is_saved_is_the_moving_average(finished: TrainingResult) -> None:
    last = finished.run / "checkpoints" / checkpoint_name(8)
    state = torch.load(last / "training.pt", weights_only=True)
    saved = load_model(last / "model").generators["a2b"].state_dict()
    for name, tensor in saved.items():
        assert torch.equal(tensor, state["average"][f"module.generator_a2b.{name}"])
    trained = state["networks"]["generator_a2b"]
    assert any(not torch.equal(tensor, trained[name]) for name, tensor in saved.items())


def test_without_an_average_the_networks_themselves_are_saved(tmp_path: Path) -> None:
    own = recipe(ema=0, steps=2, decay_steps=0)
    train(own, pictures(tmp_path), tmp_path / "run", device="cpu", progress=False)
    last = tmp_path / "run" / "checkpoints" / checkpoint_name(2)
    state = torch.load(last / "training.pt", weights_only=True)
    saved = load_model(last / "model")
    assert saved.config.ema is False
    for name, tensor in saved.generators["b2a"].state_dict().items():
        assert torch.equal(tensor, state["networks"]["generator_b2a"][name])


def test_previews_show_real_translated_and_back(finished: TrainingResult) -> None:
    folders = sorted(path.name for path in (finished.run / "previews").iterdir())
    assert folders == [checkpoint_name(4), checkpoint_name(8)]
    for name, least, most in (("a2b", 0, 127), ("b2a", 128, 255)):
        pixels = read_image(finished.run / "previews" / checkpoint_name(8) / f"{name}.png").pixels
        # Four columns and three rows of 16 pixels, 2 between.
        assert pixels.shape == (3 * 18 + 2, 4 * 18 + 2, 3)
        real = pixels[2:18, 2:18]
        assert least <= real.min() <= real.max() <= most


def test_figures_of_a_perfect_translation(tmp_path: Path) -> None:
    """Inverting is the truth of dark and light; the score must see that, and see its absence."""
    files = pictures(tmp_path, count=12)
    task = ImageTask(recipe().data, files, lambda message: None)

    class Invert(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -x

    class Keep(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    inverted = task.validate({"a2b": Invert(1, 1), "b2a": Invert(1, 1)})  # type: ignore[dict-item]
    kept = task.validate({"a2b": Keep(1, 1), "b2a": Keep(1, 1)})  # type: ignore[dict-item]
    assert inverted["score"] < kept["score"] / 2
    assert inverted["cycle_a"] == inverted["cycle_b"] == kept["cycle_a"] == 0
    assert inverted["score"] == (inverted["distance_a2b"] + inverted["distance_b2a"]) / 2


def test_held_out_files_are_those_that_score(tmp_path: Path) -> None:
    files = pictures(tmp_path, count=12)
    task = ImageTask(recipe().data, files, lambda message: None)
    assert (len(files.held_out_a), len(task.domain_a)) == (1, 11)
    held = read_image(files.held_out_a[0]).pixels
    wanted = torch.from_numpy(held).permute(2, 0, 1)[:, 2:18, 2:18] / 127.5 - 1
    assert torch.allclose(task._validation["a"], wanted)


def test_the_usual_layout_trains(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / part).mkdir()
        for k in range(3):
            pixels = random.integers(0, 256, (24, 30, 3), dtype=np.uint8)
            write_image(tmp_path / part / f"{k}.jpg", Image(pixels))
    files = find_files(tmp_path, tmp_path, ("image", "video"))
    own = recipe(steps=None, decay_steps=None, epochs=2, decay_epochs=1, batch_size=1)
    result = train(own, files, tmp_path / "run", device="cpu", progress=False)
    assert result.steps == 9  # three passes over three pictures


def test_a_bar_shows_losses_and_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = recipe(steps=2, decay_steps=0)
    train(own, pictures(tmp_path), tmp_path / "run", device="cpu", progress=True)
    shown = capsys.readouterr().err
    assert "exact: 100%" in shown
    assert "2/2 [" in shown
    assert "<00:00" in shown
    assert "cycle=" in shown
    assert "D=" in shown


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_of_the_cpu(tmp_path: Path, precision: Any) -> None:
    own = recipe(steps=2, decay_steps=0)
    files = pictures(tmp_path)
    train(own, files, tmp_path / "run", device="cpu", precision=precision, progress=False)
    saved = load_model(tmp_path / "run" / "model").generators["a2b"]
    assert {p.dtype for p in saved.parameters()} == {torch.float32}
    value = float(rows(tmp_path / "run" / "metrics.csv")[0]["cycle_a"])
    assert 0 < value < 20


def test_bf16_computes_otherwise_but_not_much(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    values = []
    for precision in ("fp32", "bf16"):
        run = tmp_path / precision
        own = recipe(steps=1, decay_steps=0)
        train(own, files, run, device="cpu", precision=precision, progress=False)  # type: ignore[arg-type]
        values.append(float(rows(run / "metrics.csv")[0]["cycle_a"]))
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.02)  # bf16 has 8 bits: 0.4 % a rounding


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cuda"}, "--device cuda: this machine"),
        ({"device": "mps"}, "--device mps: this machine"),
        ({"device": "cpu", "precision": "fp16"}, "--precision fp16: trains on CUDA devices only"),
    ],
)
def test_what_the_machine_lacks_is_refused(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    if options["device"] == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    if options["device"] == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has an MPS device")
    with pytest.raises(UserError, match=says):
        train(recipe(), pictures(tmp_path), tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()


def diverging(limit: float) -> dict[str, Any]:
    return {
        **EXACT,
        "optimiser": {"discriminator_lr": 10.0},
        "objective": {"adversarial": {}, "cycle": {"weight": 10}},
        "trainer": {**EXACT["trainer"], "checkpoint_every": 1, "divergence_limit": limit},
    }


def test_divergence_stops_with_step_and_term_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    files, run = pictures(tmp_path), tmp_path / "run"
    with pytest.raises(RunError, match=r"diverged at step (\d+): the term '(\w+)' is") as caught:
        train(recipe(diverging(100.0)), files, run, device="cpu", progress=False)
    (last,) = sorted((run / "checkpoints").iterdir())[-1:]
    message = str(caught.value)
    step = int(message.split("at step ")[1].split(":")[0])
    assert f"the last good checkpoint is {last}; " in message
    assert last.name == checkpoint_name(step)  # steps are counted from 0
    load_model(last / "model")
    assert not (run / "model").exists()
    # Every step before it was logged, and only these.
    assert [int(row["step"]) for row in rows(run / "metrics.csv")] == list(range(1, step + 1))


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient can be infinite while every loss is finite."""
    update = trainer.update_average

    def spoil(state: Any) -> None:
        update(state)
        if state.steps == 2:
            next(state.networks.discriminator_a.parameters()).data[0] = float("nan")

    monkeypatch.setattr(trainer, "update_average", spoil)
    run = tmp_path / "run"
    with pytest.raises(RunError, match=r"diverged in step 2: .*'layers.0.weight'.*discriminator_a"):
        train(recipe(checkpoint_every=1), pictures(tmp_path), run, device="cpu", progress=False)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        checkpoint_name(1),
        checkpoint_name(2),
    ]


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    files = pictures(tmp_path)
    (tmp_path / "a" / "4.png").write_bytes((tmp_path / "a" / "4.png").read_bytes()[:300])
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"a/4\.png: is damaged") as caught:
            train(
                recipe(workers=workers),
                files,
                tmp_path / f"run{workers}",
                device="cpu",
                progress=False,
            )
        assert "\n" not in str(caught.value)


def test_a_table_drops_what_a_killed_run_left_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,cycle,adversarial\n10,1.5,2\n20,1.25,3\n30,1,4\n4")
    table = Table(path, steps=20)
    table.add(30, {"cycle": 0.5, "identity": 7.0})
    assert path.read_text().split() == [
        "step,cycle,adversarial,identity",
        "10,1.5,2,",
        "20,1.25,3,",
        "30,0.5,,7",
    ]


def test_a_meter_gives_means_since_its_last_reading() -> None:
    meter = Meter()
    meter.add({"cycle": torch.tensor(1.0), "identity": torch.tensor(4.0)})
    meter.add({"cycle": torch.tensor(2.0)})
    assert meter.read() == {"cycle": 1.5, "identity": 4.0}
    assert meter.read() == {}


def test_tensorboard_has_the_same_losses(finished: TrainingResult) -> None:
    board = EventAccumulator(str(finished.run / "tensorboard"))
    board.Reload()
    scalars = board.Scalars("loss/cycle_a")
    logged = rows(finished.run / "metrics.csv")
    assert [event.step for event in scalars] == list(range(1, 9))
    for event, row in zip(scalars, logged, strict=True):
        assert event.value == pytest.approx(float(row["cycle_a"]), rel=1e-4)
    assert {"a2b", "b2a"} <= set(board.Tags()["images"])


def test_looking_more_often_changes_nothing(finished: TrainingResult, tmp_path: Path) -> None:
    own = recipe(log_every=3, validate_every=1, preview_every=1, checkpoint_every=8)
    run = train(own, pictures(tmp_path), tmp_path / "run", device="cpu", progress=False).run
    last = Path("checkpoints") / checkpoint_name(8)
    assert differences(run / last, finished.run / last) == []


def test_two_runs_of_one_seed_are_the_same_to_the_bit(
    finished: TrainingResult, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    files = pictures(tmp_path)
    train(recipe(workers=2), files, run, device="cpu", progress=False)
    last = Path("checkpoints") / checkpoint_name(8)
    assert differences(run / last, finished.run / last) == []
    other = train(recipe(seed=1), files, tmp_path / "other", device="cpu", progress=False)
    assert differences(other.run / last, finished.run / last) != []
