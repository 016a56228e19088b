"""Train a recipe: from two folders of files to a model folder. Read :func:`train` top to bottom.

Lightning Fabric supplies device, precision and data parallelism (start under ``torchrun`` for
several processes, with no change here); the step itself is the core's.
"""

from __future__ import annotations


import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn
from tqdm import tqdm

import cyclegan_media
from cyclegan_media.backbones import build, spec_of
from cyclegan_media.core import (
    CycleGAN,
    DivergedError,
    Histories,
    History,
    MovingAverage,
    Optimisers,
    learning_rate_factor,
    normal_init,
    training_step,
)
from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.unpaired import unpaired_loader
from cyclegan_media.errors import RunError, UserError
from cyclegan_media.files import atomic_directory, atomic_file
from cyclegan_media.pretrained import ModelConfig, PretrainedModel, save_model
from cyclegan_media.recipe import Recipe, build_objective, dump_recipe, load_recipe
from cyclegan_media.training import checkpoint as ckpt
from cyclegan_media.training.log import Log, Meter
from cyclegan_media.training.tasks import Generators, Task, make_task, write_preview

logger = logging.getLogger("cyclegan_media")

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class TrainingResult:
    """Where a training ended."""

    run: Path
    steps: int
    model: Path | None
    """The model folder; ``None`` when the run was interrupted before its last step."""
    interrupted: bool


@dataclass
class _State:
    """Everything that changes while training."""

    networks: CycleGAN
    optimisers: Optimisers
    histories: Histories
    average: MovingAverage | None
    steps: int = 0

    def generators(self) -> nn.ModuleDict:
        """The generators to use and to save: the averaged ones where there are any."""
        if self.average is not None:
            return self.average.module
        return _bare_generators(self.networks)


def train(
    recipe: Recipe,
    files: Files,
    run: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
    progress: bool = True,
) -> TrainingResult:
    """Train ``recipe`` on ``files`` into the folder ``run``.

    The folder comes to hold ``recipe.yaml``, ``metrics.csv``, ``validation.csv``, ``tensorboard/``,
    ``previews/``, ``checkpoints/`` and, at the end, ``model/``. The first interrupt (Ctrl-C or
    SIGTERM) ends the run after the current step with a checkpoint, the second at once.

    Args:
        resume: go on from the last checkpoint in ``run``. On the CPU the weights come out the
            same as without the interruption.
        precision: ``auto`` is bf16 on a CUDA device that has it, else fp32.

    Raises:
        UserError: ``run`` holds a training already and ``resume`` is false, or the other way
            round, or the recipe does not fit the checkpoint.
        RunError: the training diverged (names the step and the term; the last checkpoint is
            kept), or the disk is full.
    """
    run = Path(run)
    fabric = _make_fabric(device, precision)
    last_checkpoint = _prepare_folder(run, recipe, resume, fabric)
    say = logger.info if fabric.is_global_zero else lambda message: None
    with fabric.rank_zero_first():
        task = make_task(recipe, files, say)
    objective = build_objective(recipe)
    constant_steps, decay_steps = recipe.trainer.length(max(len(task.domain_a), len(task.domain_b)))
    total = constant_steps + decay_steps

    state = _initial_state(recipe, fabric)
    if last_checkpoint is not None:
        _load(last_checkpoint, state, recipe, files, fabric)
        say(f"resuming after step {state.steps} of {total}")

    loader = fabric.setup_dataloaders(
        unpaired_loader(
            task.domain_a,
            task.domain_b,
            seed=recipe.trainer.seed,
            batch_size=recipe.trainer.batch_size,
            first_step=state.steps,
            last_step=max(total, state.steps),
            workers=_workers(recipe, fabric),
            rank=fabric.global_rank,
            ranks=fabric.world_size,
            pin_memory=fabric.device.type == "cuda",
        ),
        use_distributed_sampler=False,
    )
    log = Log(run, state.steps) if fabric.is_global_zero else None
    meter = Meter()
    every = recipe.trainer
    bar = tqdm(
        total=total,
        initial=state.steps,
        desc=recipe.name,
        unit="step",
        disable=not (progress and fabric.is_global_zero),
        dynamic_ncols=True,
    )
    interrupted = False
    try:
        with _interrupt_flag() as stop, bar:
            for real_a, real_b in loader:
                factor = learning_rate_factor(state.steps, constant_steps, decay_steps)
                _set_learning_rates(state.optimisers, recipe, factor)
                losses, _ = training_step(
                    state.networks,
                    objective,
                    state.optimisers,
                    state.histories,
                    real_a,
                    real_b,
                    state.steps,
                    backward=fabric.backward,
                    limit=recipe.trainer.divergence_limit,
                )
                if state.average is not None:
                    state.average.update_parameters(_bare_generators(state.networks))
                state.steps += 1
                meter.add(losses)
                bar.update()

                done = state.steps == total
                interrupted = _any_rank(fabric, stop.is_set())
                if log is not None and (state.steps % every.log_every == 0 or done):
                    means = meter.read()
                    bar.set_postfix_str(_short(means), refresh=False)
                    log.losses(state.steps, {"learning_rate_factor": factor, **means})
                score = None
                if log is not None and (state.steps % every.validate_every == 0 or done):
                    score = _validate(task, state, log)
                if log is not None and (state.steps % every.preview_every == 0 or done):
                    _preview(task, state, log, run)
                if state.steps % every.checkpoint_every == 0 or done or interrupted:
                    _save(run, state, recipe, files, task, fabric, score)
                if interrupted:
                    break
    except DivergedError as error:
        kept = ckpt.list_checkpoints(run / "checkpoints")
        last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was made yet"
        raise RunError(
            f"{run}: the training diverged at step {error.step}: the term {error.term!r} is "
            f"{error.value:.4g}; {last}; try lower learning rates or fp32"
        ) from error
    finally:
        if log is not None:
            log.close()

    finished = state.steps >= total
    if finished and fabric.is_global_zero:
        _write_model(run / "model", state, recipe, task)
    fabric.barrier()
    return TrainingResult(
        run, state.steps, run / "model" if finished else None, interrupted and not finished
    )


def _make_fabric(device: Device, precision: Precision) -> Fabric:
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine or this build of torch has no CUDA device")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: this machine or this build of torch has no MPS device")
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if precision == "auto":
        precision = "bf16" if on_cuda and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and not on_cuda:
        raise UserError("--precision fp16: trains on CUDA devices only; use bf16 or fp32 here")
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device,
        devices=local_ranks,
        num_nodes=max(1, ranks // local_ranks),
        strategy="ddp" if ranks > 1 else "auto",
        precision=_FABRIC_PRECISION[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _prepare_folder(run: Path, recipe: Recipe, resume: bool, fabric: Fabric) -> Path | None:
    """Check and make the run's folder; the checkpoint to resume from, if asked."""
    checkpoints = ckpt.list_checkpoints(run / "checkpoints")
    if resume and not checkpoints:
        raise UserError(f"{run}: holds no checkpoint to resume from; leave out --resume")
    if not resume and (checkpoints or (run / "recipe.yaml").exists()):
        raise UserError(
            f"{run}: holds a training already; pass --resume to go on, or choose another --out"
        )
    if fabric.is_global_zero:
        if resume:
            _check_same_recipe(run, recipe)
        with atomic_file(run / "recipe.yaml", overwrite=True) as partial:
            partial.write_text(dump_recipe(recipe), encoding="utf-8")
        ckpt.sweep(run / "checkpoints")
    fabric.barrier()
    return checkpoints[-1] if resume else None


def _check_same_recipe(run: Path, recipe: Recipe) -> None:
    """A resumed run may be longer or log otherwise, but must train the same thing."""
    before = load_recipe(run / "recipe.yaml").model_dump(mode="json")
    now = recipe.model_dump(mode="json")
    free = {"steps", "decay_steps", "epochs", "decay_epochs", "keep", "workers"}
    free |= {"log_every", "preview_every", "validate_every", "checkpoint_every"}
    for content in (before, now):
        content["trainer"] = {k: v for k, v in content["trainer"].items() if k not in free}
    for section in ("modality", "model", "objective", "data", "optimiser", "trainer"):
        if before[section] != now[section]:
            raise UserError(
                f"{run}: its {section!r} section differs from this recipe's, so it cannot be"
                " resumed with it; give the recipe it was started with or choose another --out"
            )


def _initial_state(recipe: Recipe, fabric: Fabric) -> _State:
    torch.manual_seed(recipe.trainer.seed)
    model, optimiser = recipe.model, recipe.optimiser
    networks = CycleGAN(
        generator_a2b=build(model.generator, where="model.generator"),
        generator_b2a=build(model.generator, where="model.generator"),
        discriminator_a=build(model.discriminator, where="model.discriminator"),
        discriminator_b=build(model.discriminator, where="model.discriminator"),
    )
    if model.init == "normal":
        normal_init(networks)
    networks.to(fabric.device)
    average = None
    if recipe.trainer.ema:
        average = MovingAverage(_bare_generators(networks), recipe.trainer.ema)
    for name, network in list(networks.named_children()):
        setattr(networks, name, fabric.setup_module(network))
    generators, discriminators = fabric.setup_optimizers(
        torch.optim.Adam(
            networks.generator_parameters(), lr=optimiser.generator_lr, betas=optimiser.betas
        ),
        torch.optim.Adam(
            networks.discriminator_parameters(),
            lr=optimiser.discriminator_lr,
            betas=optimiser.betas,
        ),
    )
    size, seed = recipe.trainer.history, recipe.trainer.seed + fabric.global_rank
    # From here on the processes draw different numbers (dropout, penalties).
    torch.manual_seed(seed)
    return _State(
        networks,
        Optimisers(generators, discriminators),
        Histories(History(size, 2 * seed), History(size, 2 * seed + 1)),
        average,
    )


def _bare(network: nn.Module) -> nn.Module:
    """The network inside Fabric's wrapper."""
    return getattr(network, "_original_module", network) or network


def _bare_generators(networks: CycleGAN) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"a2b": _bare(networks.generator_a2b), "b2a": _bare(networks.generator_b2a)}
    )


def _bare_networks(networks: CycleGAN) -> dict[str, nn.Module]:
    return {name: _bare(network) for name, network in networks.named_children()}


def _set_learning_rates(optimisers: Optimisers, recipe: Recipe, factor: float) -> None:
    for optimiser, rate in (
        (optimisers.generators, recipe.optimiser.generator_lr),
        (optimisers.discriminators, recipe.optimiser.discriminator_lr),
    ):
        for group in optimiser.param_groups:
            group["lr"] = rate * factor


def _workers(recipe: Recipe, fabric: Fabric) -> int:
    if recipe.trainer.workers is not None:
        return recipe.trainer.workers
    # Crops from memory are quick; only a GPU's step is short enough to wait for them.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, cores or 1) if fabric.device.type == "cuda" else 0


@contextmanager
def _evaluation(state: _State) -> Iterator[Generators]:
    """The generators in evaluation mode, the global random state left as it was."""
    generators = state.generators()
    mode = generators.training
    generators.eval()
    try:
        with torch.random.fork_rng(), torch.inference_mode():
            yield {name: generators[name] for name in ("a2b", "b2a")}
    finally:
        generators.train(mode)


def _validate(task: Task, state: _State, log: Log) -> float:
    with _evaluation(state) as generators:
        figures = task.validate(generators)
    log.validation(state.steps, figures)
    return figures["score"]


def _preview(task: Task, state: _State, log: Log, run: Path) -> None:
    with _evaluation(state) as generators:
        preview = task.preview(generators)
    write_preview(run / "previews" / ckpt.checkpoint_name(state.steps), preview)
    for name, pixels in preview.pictures.items():
        log.picture(state.steps, name, pixels)
    for name, (samples, rate) in preview.sounds.items():
        log.sound(state.steps, name, samples, rate)


def _save(
    run: Path,
    state: _State,
    recipe: Recipe,
    files: Files,
    task: Task,
    fabric: Fabric,
    score: float | None,
) -> None:
    folder = run / "checkpoints"
    target = folder / ckpt.checkpoint_name(state.steps)
    rank_state = {
        "histories": {"a": state.histories.a.state_dict(), "b": state.histories.b.state_dict()},
        "random": {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if fabric.device.type == "cuda" else None,
        },
    }
    # Every process's state reaches the one that writes, so that the folder is renamed once.
    ranks = [rank_state] if fabric.world_size == 1 else _gather(rank_state, fabric)
    if fabric.is_global_zero:
        with atomic_directory(target, overwrite=True) as partial:
            content = {
                "steps": state.steps,
                "files": files.fingerprint(),
                "world_size": fabric.world_size,
                "networks": {
                    name: network.state_dict()
                    for name, network in _bare_networks(state.networks).items()
                },
                "average": state.average.state_dict() if state.average is not None else None,
                "generators": state.optimisers.generators.state_dict(),
                "discriminators": state.optimisers.discriminators.state_dict(),
            }
            ckpt.write_state(partial / "training.pt", content)
            for rank, own in enumerate(ranks):
                ckpt.write_state(partial / f"rank-{rank}.pt", own)
            _write_model(partial / "model", state, recipe, task)
        best = ckpt.read_best(run)
        if score is not None and (best is None or score < best[1]):
            ckpt.write_best(run, state.steps, score)
            best = (state.steps, score)
        ckpt.prune(folder, recipe.trainer.keep, best[0] if best else None)
    fabric.barrier()


def _gather(own: dict[str, Any], fabric: Fabric) -> list[dict[str, Any]]:
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether any process was interrupted; all must stop at the same step."""
    if fabric.world_size == 1:
        return flag
    counted = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return bool(counted.item() > 0)  # type: ignore[union-attr]


def _write_model(folder: Path, state: _State, recipe: Recipe, task: Task) -> None:
    generators = state.generators()
    model = PretrainedModel(
        config=ModelConfig(
            toolkit_version=cyclegan_media.__version__,
            modality=recipe.modality,
            domains={"a": recipe.domains[0], "b": recipe.domains[1]},
            generators={name: spec_of(generators[name]) for name in ("a2b", "b2a")},  # type: ignore[arg-type]
            recipe=recipe.name,
            paper=recipe.paper or None,
            steps=state.steps,
            origin="trained",
            ema=state.average is not None,
            analysis=task.analysis(),
        ),
        generators={name: generators[name] for name in ("a2b", "b2a")},  # type: ignore[misc]
        statistics=task.statistics(),
    )
    save_model(folder, model, overwrite=True)


def _load(path: Path, state: _State, recipe: Recipe, files: Files, fabric: Fabric) -> None:
    content = ckpt.read_state(path / "training.pt", fabric.device)
    if content["world_size"] != fabric.world_size:
        raise UserError(
            f"{path}: was made by {content['world_size']} processes, this run has "
            f"{fabric.world_size}; start as many"
        )
    if content["files"] != files.fingerprint():
        logger.warning("the training files differ from those that this run was started with")
    own = ckpt.read_state(path / f"rank-{fabric.global_rank}.pt", fabric.device)
    try:
        for name, network in _bare_networks(state.networks).items():
            network.load_state_dict(content["networks"][name])
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        state.optimisers.generators.load_state_dict(content["generators"])
        state.optimisers.discriminators.load_state_dict(content["discriminators"])
        state.histories.a.load_state_dict(own["histories"]["a"], fabric.device)
        state.histories.b.load_state_dict(own["histories"]["b"], fabric.device)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: does not fit this recipe's networks: {reason}") from error
    torch.set_rng_state(own["random"]["torch"].cpu())
    if own["random"]["cuda"] is not None and fabric.device.type == "cuda":
        torch.cuda.set_rng_state(own["random"]["cuda"].cpu())
    state.steps = content["steps"]


@contextmanager
def _interrupt_flag() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second has its usual effect."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous: dict[signal.Signals, Any] = {}

    def on_signal(number: int, frame: object) -> None:
        if not flag.is_set():
            logger.warning("stopping after this step with a checkpoint; once more stops at once")
        flag.set()
        for known, handler in previous.items():
            signal.signal(known, handler)

    for known in (signal.SIGINT, signal.SIGTERM):
        previous[known] = signal.signal(known, on_signal)
    try:
        yield flag
    finally:
        for known, handler in previous.items():
            signal.signal(known, handler)


def _short(means: dict[str, float]) -> str:
    """The losses for a progress bar: domains and directions summed."""
    groups: dict[str, float] = {}
    for name, value in means.items():
        group = name.rpartition("_")[0] or name
        groups[group] = groups.get(group, 0.0) + value
    names = {"adversarial": "adv", "identity": "id", "discriminator": "D"}
    return " ".join(f"{names.get(name, name)}={value:.3f}" for name, value in groups.items())
