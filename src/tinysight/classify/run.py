"""From a store and a recipe to a run folder: the training loop with everything written down."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import tinysight
from tinysight import run_folder
from tinysight.classify.batches import place_images, require_equal_parts
from tinysight.classify.checkpoint import load_checkpoint, save_checkpoint, save_model
from tinysight.classify.draws import require_dropout_fits
from tinysight.classify.events import open_event_writer
from tinysight.classify.models import build_model
from tinysight.classify.placement import enough_memory, settle_precision
from tinysight.classify.predictions import require_same_store
from tinysight.classify.processes import Processes
from tinysight.classify.run_lock import sole_training
from tinysight.classify.run_settings import read_settings
from tinysight.classify.schedule import require_sizes_fit, schedule_at
from tinysight.classify.settings import Recipe
from tinysight.classify.split import stratified_split
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.classify.training import EpochRecord, StepRecord, train
from tinysight.classify.training_state import TrainingData, TrainingState
from tinysight.errors import DataError, RecipeError, RunError

# What may differ between a run and its continuation: it changes no weight.
_FREE_ON_RESUME = {("train", "checkpoint_every_s")}


class Listener(Protocol):
    """Hears how a run goes."""

    def on_start(self, first_step: int, num_steps: int) -> None:
        """Training is about to go on from a step."""

    def on_step(self, record: StepRecord) -> None:
        """A step was looked at."""

    def on_epoch(self, record: EpochRecord, row: run_folder.Record) -> None:
        """An epoch is finished; ``row`` is its line in the history."""


class Silence:
    """A listener that says nothing."""

    def on_start(self, first_step: int, num_steps: int) -> None:
        """Training is about to go on from a step."""

    def on_step(self, record: StepRecord) -> None:
        """A step was looked at."""

    def on_epoch(self, record: EpochRecord, row: run_folder.Record) -> None:
        """An epoch is finished."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        is_finished: False when it was stopped and can be resumed.
        epochs: Epochs done.
        steps: Optimizer steps done.
        new_steps: Those that this call has done.
        last: The last line of the history, empty before the first epoch ends.
        seconds: Training time, evaluation not counted.
        run: The run folder.
    """

    is_finished: bool
    epochs: int
    steps: int
    new_steps: int
    last: run_folder.Record
    seconds: float
    run: Path


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the first of CUDA, MPS and the CPU that
            is there.
        local_rank: Number of this process on its machine; each takes the GPU of its number.

    Raises:
        RunError: The device is not there.
    """
    has_mps = torch.backends.mps.is_available()
    is_there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": has_mps}
    if name == "auto":
        name = next(name for name in ("cuda", "mps", "cpu") if is_there[name])
    if not is_there[name]:
        raise RunError(
            f"--device: {name} must be present on this machine, but torch {torch.__version__} "
            f"finds none. Use --device auto."
        )
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def train_run(
    store: Store,
    recipe: Recipe,
    run: Path,
    *,
    device: torch.device | None = None,
    processes: Processes | None = None,
    resume: bool = False,
    stop: StopRequest | None = None,
    listener: Listener | None = None,
    recipe_name: str = "",
) -> RunResult:
    """Train a classifier and write a run folder.

    Args:
        store: The images.
        recipe: Every setting.
        run: Folder to write; see :mod:`tinysight.run_folder` for what is in it.
        device: Where to train; the fastest that is there when not given.
        processes: This process among those that train together; only the first one writes.
            Alone when not given.
        resume: Go on from the newest checkpoint of ``run``.
        stop: When a stop is requested, the state is saved and the call returns.
        listener: Hears how it goes; only that of the first process is called.
        recipe_name: Written down with the run.

    Raises:
        RunError: The folder holds another run, or another training writes into it, or there is
            nothing to resume.
        RecipeError: The recipe does not fit the images or the processes; nothing was written.
        TrainingError: The loss is no longer finite, or the memory of the GPU is too small.
    """
    device = device or choose_device("auto")
    processes = processes or Processes()
    listener = listener or Silence()
    # Whatever can be refused is refused before the folder is begun: the command that is put right
    # must find it empty.
    _require_fitting_recipe(recipe, store, processes)
    if processes.is_first and resume:
        _require_same_run(store, recipe, run)
    recipe = _settle(recipe, device, processes, resumed=run if resume else None)
    if processes.is_first and not resume:
        for path in (run, store.path):
            _require_path_is_text(path)
        _require_empty_folder(run, recipe)
    with sole_training(run) if processes.is_first else nullcontext():
        with enough_memory(recipe.train, device):
            data = training_data(store, recipe, device)
            model = build_model(recipe.model, len(store.wnids), seed=recipe.train.seed)
            state = TrainingState(model, recipe, len(data.train_rows), device)
        if processes.is_first:
            run_folder.remove_unfinished_files(run)
            if not resume:
                _begin_run(store, recipe, run, device, processes, recipe_name=recipe_name)
        processes.wait()
        _resume_from_newest(state, run)
        history = []
        if processes.is_first:
            history = _history_of(state, run)
            steps_done = history[-1]["steps"] if history else 0
            run_folder.keep_records(run / run_folder.STEPS, lambda row: row["step"] < steps_done)
        steps = len(state.step_losses)
        events = open_event_writer(run / run_folder.EVENTS) if processes.is_first else None

        def save(state: TrainingState) -> None:
            if processes.is_first:
                save_checkpoint(run, state.state_dict())
            processes.wait()

        def on_step(record: StepRecord) -> None:
            if processes.is_first:
                listener.on_step(record)

        def on_epoch(record: EpochRecord) -> None:
            if not processes.is_first:
                return
            row = history_row(record, is_tuning=bool(len(data.tuning_rows)))
            history.append(row)
            run_folder.append_records(run / run_folder.STEPS, step_rows(record, recipe))
            run_folder.write_records(run / run_folder.HISTORY, history)
            if events:
                events.write(row)
            listener.on_epoch(record, row)

        steps_before = state.step
        if processes.is_first:
            listener.on_start(state.step, steps * recipe.train.epochs)
        with enough_memory(recipe.train, device):
            is_finished = train(
                state,
                data,
                recipe,
                device=device,
                processes=processes,
                stop=stop or StopRequest(),
                save=save,
                on_step=on_step,
                on_epoch=on_epoch,
            )
        # A run that had ended keeps its file: what was made of it names its checksum.
        has_ended = state.step == steps_before and (run / run_folder.MODEL).exists()
        if is_finished and processes.is_first and not has_ended:
            averaged = state.average
            about = run_folder.read_run(run)
            save_model(
                run,
                averaged or state.model,
                {
                    "format_version": run_folder.FORMAT_VERSION,
                    "weights": "ema" if averaged else "raw",
                    "recipe": recipe.model_dump(),
                    **{key: about[key] for key in ("classes", "mean", "std", "size_px")},
                },
            )
        if events:
            events.close()
        return RunResult(
            is_finished=is_finished,
            epochs=state.recorded_epochs,
            steps=state.step,
            new_steps=state.step - steps_before,
            last=history[-1] if history else {},
            seconds=state.seconds,
            run=run,
        )


def training_data(store: Store, recipe: Recipe, device: torch.device) -> TrainingData:
    """Return the images of a store, on the device, with the rows that train, test and tune.

    The tuning rows are the same for every seed of the recipe, so that runs can be compared.

    Raises:
        RecipeError: A class has too few training images for the tuning part.
    """
    train_rows = np.flatnonzero(store.is_train)
    is_kept = np.ones(len(train_rows), dtype=np.bool_)
    if recipe.train.tuning_fraction > 0:
        try:
            is_kept = stratified_split(
                [str(store.sample_ids[row]) for row in train_rows],
                store.targets[train_rows],
                store.wnids,
                train_fraction=1 - Fraction(str(recipe.train.tuning_fraction)),
                seed=store.split_seed,
            )
        except DataError as error:
            counts = np.bincount(store.targets[train_rows], minlength=len(store.wnids))
            least = counts.min()
            if least < 2:
                raise RecipeError(
                    f"train.tuning_fraction (={recipe.train.tuning_fraction:g}) must hold back and "
                    f"leave at least 1 training image of every class, but class "
                    f"{store.class_names[counts.argmin()]!r} has {least} in all. Add images to it "
                    f"or leave the class out, or choose 0 for no tuning part."
                ) from error
            raise RecipeError(
                f"train.tuning_fraction (={recipe.train.tuning_fraction:g}) must hold back and "
                f"leave at least 1 training image of every class, but the smallest class has "
                f"{least}. Choose a fraction nearer to one half, or 0 for no tuning part."
            ) from error
    return TrainingData(
        images_u8=place_images(store.images_u8, device),
        targets=store.targets,
        train_rows=train_rows[is_kept],
        test_rows=np.flatnonzero(~store.is_train),
        tuning_rows=train_rows[~is_kept],
        mean=store.mean,
        std=store.std,
    )


def history_row(record: EpochRecord, *, is_tuning: bool) -> run_folder.Record:
    """Return the line of an epoch in ``history.jsonl``."""
    row: run_folder.Record = {
        "epoch": record.epoch,
        "steps": record.steps,
        "train_loss": record.train_loss,
        "train_accuracy": record.train_accuracy,
        "lr": record.lr,
        "momentum": record.momentum,
        "seconds": round(record.seconds, 3),
        "images_per_s": round(record.images_per_s, 1),
    }
    held_out = "tuning" if is_tuning else "test"
    for prefix, score in (("", record.score), ("ema_", record.ema_score)):
        if score is not None:
            row[f"{prefix}{held_out}_loss"] = score.loss
            row[f"{prefix}{held_out}_accuracy"] = score.accuracy
            row[f"{prefix}{held_out}_top5"] = score.top5
    return row


def step_rows(record: EpochRecord, recipe: Recipe) -> list[run_folder.Record]:
    """Return the lines of an epoch in ``steps.jsonl``."""
    num_steps = len(record.step_losses)
    rows = []
    for number, loss in enumerate(record.step_losses, record.steps - num_steps):
        now = schedule_at(
            number, recipe.schedule, steps_per_epoch=num_steps, epochs=recipe.train.epochs
        )
        rows.append({"step": number, "loss": float(loss), "lr": now.lr, "momentum": now.momentum})
    return rows


def _require_fitting_recipe(recipe: Recipe, store: Store, processes: Processes) -> None:
    """Raise what training would raise later about a recipe, these images and these processes."""
    require_equal_parts(
        recipe.train.batch_size,
        num_processes=processes.count,
        accumulate=recipe.train.accumulate,
    )
    require_sizes_fit(recipe.schedule, own_px=store.size_px)
    require_dropout_fits(recipe.augment, size_px=store.size_px)


def _settle(
    recipe: Recipe, device: torch.device, processes: Processes, *, resumed: Path | None
) -> Recipe:
    """Return a recipe that leaves no number format open: a resumed run keeps its own."""
    train = recipe.train
    if resumed is not None and train.precision == "auto":
        train = train.model_copy(update={"precision": read_settings(resumed).train.precision})
    return recipe.model_copy(update={"train": settle_precision(train, device, processes)})


def _require_path_is_text(path: Path) -> None:
    """Refuse a path that run.json and pages, which are UTF-8, cannot hold."""
    name = str(path.resolve())
    if name.encode(errors="ignore").decode() != name:
        raise RunError(
            f"{name}: the path of a run, and that of its store, must be text in UTF-8, and this "
            f"one is not. Rename the folder or choose another."
        )


def _require_empty_folder(run: Path, recipe: Recipe) -> None:
    in_the_way = run_folder.files_in_the_way(run, recipe.model_dump())
    if in_the_way:
        is_run = run_folder.RUN in in_the_way
        raise RunError(
            f"{run}: a new run must start in an empty folder, but "
            f"{run_folder.RUN if is_run else in_the_way[0]} is in it. "
            f"Choose another --out{', or go on with --resume' if is_run else ''}."
        )
    run_folder.make_folder(run)


def _begin_run(
    store: Store,
    recipe: Recipe,
    run: Path,
    device: torch.device,
    processes: Processes,
    *,
    recipe_name: str,
) -> None:
    run_folder.write_recipe(run, recipe.model_dump())
    run_folder.write_json(run / run_folder.ENVIRONMENT, describe_environment(device, processes))
    run_folder.write_json(
        run / run_folder.RUN,
        {
            "format_version": run_folder.FORMAT_VERSION,
            "tinysight": tinysight.__version__,
            "recipe_name": recipe_name,
            "store": str(store.path.resolve()),
            "split": store.split,
            "split_seed": store.split_seed,
            "split_digest": store.split_digest,
            "train_images": int(store.is_train.sum()),
            "test_images": int((~store.is_train).sum()),
            "size_px": store.size_px,
            "mean": store.mean.tolist(),
            "std": store.std.tolist(),
            "classes": [
                {"index": index, "wnid": wnid, "name": name}
                for index, (wnid, name) in enumerate(
                    zip(store.wnids, store.class_names, strict=True)
                )
            ],
        },
    )


def _require_same_run(store: Store, recipe: Recipe, run: Path) -> None:
    about = run_folder.read_run(run)
    require_same_store(run, about, store)
    # With today's defaults for settings that did not exist then: they change nothing.
    before = read_settings(run).model_dump()
    changed = [
        f"{table}.{key} was {before[table][key]!r} and is now {value!r}"
        for table, values in recipe.model_dump().items()
        for key, value in values.items()
        if before[table][key] != value
        and (table, key) not in _FREE_ON_RESUME
        and (table, key, value) != ("train", "precision", "auto")  # then it keeps its own
    ]
    if changed:
        raise RunError(
            f"{run}: a resumed run must keep its recipe, but {'; '.join(changed)}. "
            f"Leave out --recipe and --set, or choose another --out."
        )


def _resume_from_newest(state: TrainingState, run: Path) -> None:
    """Load the newest whole checkpoint; without any, the run starts at its first step."""
    files = run_folder.checkpoint_files(run)
    faults: list[RunError] = []
    for path in files:
        try:
            saved = load_checkpoint(path)
        except RunError as fault:
            faults.append(fault)
            continue
        state.load_state_dict(saved, where=str(path))
        return
    if faults:
        raise faults[0]


def _history_of(state: TrainingState, run: Path) -> list[run_folder.Record]:
    """Return the lines of the epochs that a state has behind it, and drop the others."""
    path = run / run_folder.HISTORY
    history = run_folder.keep_records(path, lambda row: row["epoch"] < state.recorded_epochs)
    if len(history) != state.recorded_epochs:
        raise RunError(
            f"{path}: must have a line for each of the {state.recorded_epochs} epochs that the "
            f"newest checkpoint has behind it, but has {len(history)}. Copy the file anew from "
            f"where the run was, or choose another --out and train again."
        )
    return history


def describe_environment(device: torch.device, processes: Processes) -> dict[str, Any]:
    """Return versions, hardware and command, for ``environment.json``."""
    packages = ("numpy", "pillow", "pyarrow", "safetensors", "torch")
    return {
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv[1:],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"tinysight": tinysight.__version__}
        | {name: version(name) for name in packages},
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes.count,
    }


def processor_name() -> str:
    """Return what the operating system calls the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
