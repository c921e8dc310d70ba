"""From a store and a recipe to a run folder: the training loop with everything written down."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

import tinysight
from tinysight import run_folder, whole_files
from tinysight.classify.batches import require_equal_parts
from tinysight.classify.checkpoint import load_checkpoint
from tinysight.classify.compiling import compiler_cache, working_compiler
from tinysight.classify.device_memory import enough_memory
from tinysight.classify.draws import require_dropout_fits
from tinysight.classify.environment import describe_environment
from tinysight.classify.models import build_model
from tinysight.classify.placement import choose_device, settle_precision
from tinysight.classify.processes import Processes
from tinysight.classify.run_lock import sole_training
from tinysight.classify.run_settings import read_settings, require_begun
from tinysight.classify.run_writer import RunWriter
from tinysight.classify.schedule import require_sizes_fit
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.classify.trained_run import require_same_store
from tinysight.classify.training import train
from tinysight.classify.training_images import rows_to_learn_from, training_data
from tinysight.classify.training_records import EpochRecord, StepRecord
from tinysight.classify.training_state import TrainingState
from tinysight.errors import RunError

# What may differ between a run and its continuation: it changes no weight.
_FREE_ON_RESUME = {("train", "checkpoint_every_s")}


class Listener(Protocol):
    """Hears how a run goes."""

    def on_passed_over(self, fault: RunError) -> None:
        """A checkpoint is damaged, and training goes on from an earlier one."""

    def on_start(self, first_step: int, num_steps: int) -> None:
        """Training is about to go on from a step."""

    def on_step(self, record: StepRecord) -> None:
        """A step was looked at."""

    def on_epoch(self, record: EpochRecord, row: whole_files.Record) -> None:
        """An epoch is finished; ``row`` is its line in the history."""


class Silence:
    """A listener that says nothing."""

    def on_passed_over(self, fault: RunError) -> None:
        """A checkpoint is damaged, and training goes on from an earlier one."""

    def on_start(self, first_step: int, num_steps: int) -> None:
        """Training is about to go on from a step."""

    def on_step(self, record: StepRecord) -> None:
        """A step was looked at."""

    def on_epoch(self, record: EpochRecord, row: whole_files.Record) -> None:
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
    last: whole_files.Record
    seconds: float
    run: Path


def train_run(
    store: Store,
    recipe: Recipe,
    run: str | Path,
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
        TrainingError: The loss is no longer finite, the memory is too small, or no compiler works
            where the recipe asks for one.
    """
    run = Path(run)
    processes = processes or Processes()
    device = device or choose_device("auto", processes)
    heard = listener if listener and processes.is_first else Silence()
    recipe = _admit(store, recipe, run, device, processes, resume=resume)
    with ExitStack() as held:
        processes.first_does(lambda: held.enter_context(sole_training(run)), device)
        has_memory = partial(enough_memory, recipe.train, device, num_processes=processes.count)
        with has_memory():
            data = training_data(store, recipe, device)
            model = build_model(recipe.model, len(store.wnids), seed=recipe.train.seed)
            state = TrainingState(model, recipe, len(data.train_rows), device)
        about = _describe_run(store, recipe_name, len(data.tuning_rows))
        processes.first_does(
            lambda: _begin_run(about, recipe, run, device, processes, resume=resume), device
        )
        for fault in _resume_from_newest(state, run):
            heard.on_passed_over(fault)
        _require_same_step(state, run, processes, device)
        is_tuning = bool(len(data.tuning_rows))
        with RunWriter(run, state, recipe, processes=processes, is_tuning=is_tuning) as writer:

            def on_epoch(record: EpochRecord) -> None:
                heard.on_epoch(record, writer.write_epoch(record))

            steps_before = state.step
            heard.on_start(steps_before, len(state.step_losses) * recipe.train.epochs)
            with has_memory(), working_compiler():
                is_finished = train(
                    state,
                    data,
                    recipe,
                    device=device,
                    processes=processes,
                    stop=stop or StopRequest(),
                    save=writer.save,
                    on_step=heard.on_step,
                    on_epoch=on_epoch,
                )
            if recipe.train.compile and processes.is_first and state.step > steps_before:
                _note_compiler_cache(run, steps_before)
            # A run that had ended keeps its file: what was made of it names its checksum.
            had_ended = state.step == steps_before and (run / run_folder.MODEL).exists()
            if is_finished and not had_ended:
                writer.write_model(state)
            return RunResult(
                is_finished=is_finished,
                epochs=state.recorded_epochs,
                steps=state.step,
                new_steps=state.step - steps_before,
                last=writer.history[-1] if writer.history else {},
                seconds=state.seconds,
                run=run,
            )


def _admit(
    store: Store,
    recipe: Recipe,
    run: Path,
    device: torch.device,
    processes: Processes,
    *,
    resume: bool,
) -> Recipe:
    """Return the recipe with no number format left open, or refuse the run.

    Whatever can be refused is refused here, before the folder is begun: the command that is put
    right must find it empty.
    """
    _require_fitting_recipe(recipe, store, processes)
    if resume:
        processes.first_does(lambda: require_begun(run), device)
        processes.first_does(lambda: _require_same_run(store, recipe, run), device)
    settled = _settle(recipe, device, processes, resumed=run if resume else None)
    if not resume:
        processes.first_does(lambda: _require_new_run(store, settled, run), device)
    return settled


def _require_fitting_recipe(recipe: Recipe, store: Store, processes: Processes) -> None:
    """Raise what training would raise later about a recipe, these images and these processes."""
    require_equal_parts(
        recipe.train.batch_size,
        num_processes=processes.count,
        accumulate=recipe.train.accumulate,
    )
    require_sizes_fit(recipe.schedule, own_px=store.size_px)
    require_dropout_fits(recipe.augment, size_px=store.size_px)
    rows_to_learn_from(store, recipe.train)


def _settle(
    recipe: Recipe, device: torch.device, processes: Processes, *, resumed: Path | None
) -> Recipe:
    """Return a recipe that leaves no number format open: a resumed run keeps its own."""
    train = recipe.train
    if resumed is not None and train.precision == "auto":
        train = train.model_copy(update={"precision": read_settings(resumed).train.precision})
    return recipe.model_copy(update={"train": settle_precision(train, device, processes)})


def _require_new_run(store: Store, recipe: Recipe, run: Path) -> None:
    for path in (run, store.path):
        _require_path_is_text(path)
    _require_empty_folder(run, recipe)


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
    whole_files.make_folder(run)


def _describe_run(store: Store, recipe_name: str, num_tuning_images: int) -> whole_files.Record:
    """Return the content of ``run.json``."""
    tests_by_class = np.bincount(store.targets[~store.is_train], minlength=len(store.wnids))
    return {
        "format_version": run_folder.FORMAT_VERSION,
        "tinysight": tinysight.__version__,
        "recipe_name": recipe_name,
        "store": str(store.path.resolve()),
        "split": store.split,
        "split_seed": store.split_seed,
        "split_digest": store.split_digest,
        "train_images": int(store.is_train.sum()),
        "tuning_images": num_tuning_images,
        "test_images": int((~store.is_train).sum()),
        "size_px": store.size_px,
        "mean": store.mean.tolist(),
        "std": store.std.tolist(),
        "classes": [
            {"index": index, "wnid": wnid, "name": name}
            for index, (wnid, name) in enumerate(zip(store.wnids, store.class_names, strict=True))
        ],
        "class_test_images": tests_by_class.tolist(),
    }


def _begin_run(
    about: whole_files.Record,
    recipe: Recipe,
    run: Path,
    device: torch.device,
    processes: Processes,
    *,
    resume: bool,
) -> None:
    """Make the folder ready: that of a new run says what is trained on what."""
    run_folder.remove_unfinished_files(run)
    if resume:
        before = run_folder.read_run(run)
        if before["store"] != about["store"]:  # the same images in another place
            whole_files.write_json(run / run_folder.RUN, before | {"store": about["store"]})
        return
    run_folder.write_recipe(run, recipe.model_dump())
    whole_files.write_json(run / run_folder.ENVIRONMENT, describe_environment(device, processes))
    whole_files.write_json(run / run_folder.RUN, about)


def _note_compiler_cache(run: Path, steps_before: int) -> None:
    """Write down whether the graphs were in torch's cache; of a resumed run that says nothing."""
    path = run / run_folder.ENVIRONMENT
    cache = "mixed" if steps_before else compiler_cache()
    whole_files.write_json(path, whole_files.read_json(path) | {"compiler_cache": cache})


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


def _require_same_step(
    state: TrainingState, run: Path, processes: Processes, device: torch.device
) -> None:
    """Refuse to go on from checkpoints of several steps: sums would mix them up, or never end."""
    first = processes.sum(torch.tensor(state.step if processes.is_first else 0, device=device))
    (is_other,) = processes.any((state.step != int(first),), device)
    if is_other:
        raise RunError(
            f"{run}: all {processes.count} processes must go on from one checkpoint, but the first "
            f"of them found that of step {int(first)} and number {processes.rank} that of step "
            f"{state.step}. Give them a folder that all machines share, and one with whole "
            f"checkpoints."
        )


def _resume_from_newest(state: TrainingState, run: Path) -> list[RunError]:
    """Load the newest whole checkpoint; without any, the run starts at its first step.

    Returns:
        What is wrong with newer ones.
    """
    files = run_folder.checkpoint_files(run)
    faults: list[RunError] = []
    for path in files:
        try:
            saved = load_checkpoint(path)
        except RunError as fault:
            faults.append(fault)
            continue
        state.load_state_dict(saved, where=str(path))
        return faults
    if faults:
        raise faults[0]
    return []
