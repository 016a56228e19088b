"""Train a recipe: from two folders of files to a model folder. Read :func:`train` top to bottom.

Lightning Fabric supplies device, precision and data parallelism (start under ``torchrun`` for
several processes, with no change here); the step itself is the core's.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from cyclegan_media.core import (
    DivergedError,
    frozen_parameters,
    learning_rate_factor,
    training_step,
)
from cyclegan_media.datasets.discover import Files
from cyclegan_media.datasets.unpaired import unpaired_batches
from cyclegan_media.device import Device
from cyclegan_media.errors import RunError, from_os_error
from cyclegan_media.pretrained import PretrainedModel
from cyclegan_media.recipe import Recipe, build_objective
from cyclegan_media.training.checkpoint import (
    best_checkpoint,
    checkpoint_name,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    score_of,
    steps_of,
)
from cyclegan_media.training.log import Log, Meter, summary
from cyclegan_media.training.processes import (
    Precision,
    interrupt_flag,
    loading_processes,
    make_fabric,
    mean_over_ranks,
    on_any_rank,
)
from cyclegan_media.training.run_folder import prepare_run, publish_model
from cyclegan_media.training.state import (
    TrainingState,
    evaluation,
    initial_state,
    set_learning_rates,
    update_average,
)
from cyclegan_media.training.tasks import Task, make_task, write_preview
from cyclegan_media.training.wandb_log import Wandb, check_wandb

logger = logging.getLogger("cyclegan_media")


@dataclass(frozen=True)
class TrainingResult:
    """Where a training ended."""

    run: Path
    steps: int
    model: Path | None
    """The model folder; ``None`` when the run was interrupted before its last step."""
    interrupted: bool


def train(
    recipe: Recipe,
    files: Files,
    run: str | os.PathLike[str],
    *,
    resume: bool = False,
    start_from: PretrainedModel | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    progress: bool = True,
    wandb: Wandb | None = None,
) -> TrainingResult:
    """Train ``recipe`` on ``files`` into the folder ``run``.

    The folder comes to hold ``recipe.yaml``, ``metrics.csv``, ``validation.csv``, ``tensorboard/``,
    ``previews/``, ``checkpoints/`` and, at the end, ``model/``: the model of the checkpoint that
    did best on the held-out files. The first interrupt (Ctrl-C or SIGTERM) ends the run after the
    current step with a checkpoint, the second at once.

    Args:
        resume: go on from the last checkpoint in ``run``. On the CPU, with as many threads, the
            weights come out the same, to the bit, as without the interruption.
        start_from: a model whose networks to begin with, instead of random ones; a local enhancer
            takes over a global generator. Plays no part when resuming.
        precision: ``auto`` is bf16 on a CUDA device that has it, else fp32. On a CPU with bfloat16
            instructions, bf16 takes about half the time a step.
        compiled: run the generators by ``torch.compile``, which takes a minute or more to begin.
        progress: show a bar with the losses and the time left.
        wandb: log to Weights & Biases, too; what is sent is kept in ``wandb/``.

    Raises:
        UserError: ``run`` holds a training already and ``resume`` is false, or the other way
            round; the recipe or the files do not fit; a file cannot be read; ``wandb`` is asked
            for and not installed.
        RunError: the training diverged (names the step and the term; the last checkpoint is
            kept), or memory or disk space ran out.
    """
    if wandb is not None:
        check_wandb()
    run = Path(run)
    fabric = make_fabric(device, precision)
    resume_from = prepare_run(run, recipe, resume, fabric)
    say = logger.info if fabric.is_global_zero else logger.debug
    with fabric.rank_zero_first():
        task = make_task(recipe, files, say)
    objective = build_objective(recipe)
    constant_steps, decay_steps = recipe.trainer.length(
        max(len(task.domain_a), len(task.domain_b)), fabric.world_size
    )
    total = constant_steps + decay_steps

    state = initial_state(recipe, objective, fabric, start_from, compiled=compiled)
    if resume_from is not None:
        load_checkpoint(resume_from, state, files, fabric)
        say(f"resuming after step {state.steps} of {total}")
    batches = unpaired_batches(
        task.domain_a,
        task.domain_b,
        seed=recipe.trainer.seed,
        batch_size=recipe.trainer.batch_size,
        first_step=state.steps,
        last_step=max(total, state.steps),
        workers=loading_processes(recipe.trainer.workers, fabric.device),
        rank=fabric.global_rank,
        ranks=fabric.world_size,
        device=fabric.device,
    )
    best = score_of(best_checkpoint(run / "checkpoints"))
    bar = tqdm(
        total=total,
        initial=state.steps,
        desc=recipe.name,
        unit="step",
        disable=not progress or not fabric.is_global_zero,
        dynamic_ncols=True,
    )
    meter, every, interrupted = Meter(), recipe.trainer, False
    bare = dict(state.networks.named_children())

    def due(interval: int) -> bool:
        return state.steps == total or state.steps % interval == 0

    with (
        _in_one_sentence(run, state),
        _open_log(run, state, fabric, wandb, recipe) as log,
        closing(batches),
        interrupt_flag() as stop,
        bar,
    ):
        for real_a, real_b, extras in batches:
            factor = learning_rate_factor(state.steps, constant_steps, decay_steps)
            set_learning_rates(state, recipe, factor)
            losses, _ = training_step(
                state.prepared,
                objective,
                state.optimisers,
                state.histories,
                real_a,
                real_b,
                state.steps,
                extras=extras,
                frozen=frozen_parameters(bare, recipe.trainer.freeze, state.steps),
                backward=fabric.backward,
                limit=recipe.trainer.divergence_limit,
            )
            update_average(state)
            state.steps += 1
            meter.add(losses)
            bar.update()

            interrupted = on_any_rank(fabric, stop.is_set())
            if due(every.log_every):
                means = mean_over_ranks(fabric, meter.read())
                bar.set_postfix_str(summary(means), refresh=False)
                if log is not None:
                    log.losses(state.steps, {**means, "learning_rate_factor": factor})
            score = None
            if due(every.validate_every):
                score = _validate(task, state, log, fabric)
            if log is not None and due(every.preview_every):
                _preview(task, state, log, run, fabric.device)
            better = score is not None and (best is None or score < best)
            if due(every.checkpoint_every) or better or interrupted:
                save_checkpoint(run / "checkpoints", state, recipe, files, task, fabric, score)
            best = score if better else best
            if interrupted:
                break

    if state.steps < total:
        return TrainingResult(run, state.steps, None, interrupted=True)
    if fabric.is_global_zero:
        chosen = publish_model(run)
        say(f"{run / 'model'}: the model after step {steps_of(chosen)}, the best by validation.csv")
    fabric.barrier()
    return TrainingResult(run, state.steps, run / "model", interrupted=False)


def _validate(task: Task, state: TrainingState, log: Log | None, fabric: Fabric) -> float | None:
    """The score of the current generators, the same in every process; ``None`` if not finite."""
    score = None
    if log is not None:
        with evaluation(state, fabric.device) as generators:
            figures = task.validate(generators)
        log.validation(state.steps, figures)
        score = figures["score"] if math.isfinite(figures["score"]) else None
    return fabric.broadcast(score)


def _preview(task: Task, state: TrainingState, log: Log, run: Path, device: torch.device) -> None:
    with evaluation(state, device) as generators:
        preview = task.preview(generators)
    write_preview(run / "previews" / checkpoint_name(state.steps), preview)
    for name, pixels in preview.pictures.items():
        log.picture(state.steps, name, pixels)
    for name, (samples, rate) in preview.sounds.items():
        log.sound(state.steps, name, samples, rate)


@contextmanager
def _open_log(
    run: Path, state: TrainingState, fabric: Fabric, wandb: Wandb | None, recipe: Recipe
) -> Iterator[Log | None]:
    """The run's log in the process of rank 0, ``None`` in the others."""
    if not fabric.is_global_zero:
        yield None
        return
    with closing(Log(run, state.steps, wandb, recipe.model_dump(mode="json"))) as log:
        yield log


@contextmanager
def _in_one_sentence(run: Path, state: TrainingState) -> Iterator[None]:
    """Turn what can stop a training into an error that says where it stopped and what is kept."""
    try:
        yield
    except DivergedError as error:
        kept = list_checkpoints(run / "checkpoints")
        last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was made yet"
        raise RunError(
            f"{run}: the training diverged at step {error.step}: the term {error.term!r} is"
            f" {error.value:.4g}; {last}; try lower learning rates or fp32"
        ) from error
    except torch.cuda.OutOfMemoryError as error:
        raise RunError(
            f"{run}: the device ran out of memory at step {state.steps}; lower trainer.batch_size,"
            " the size of crops or segments, or the width of the networks"
        ) from error
    except OSError as error:
        raise from_os_error(error, error.filename or run, "training") from error
