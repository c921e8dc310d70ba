"""What a training hands out, written into its run folder as it comes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from tinysight import run_folder, whole_files
from tinysight.classify.checkpoint import save_checkpoint, save_model
from tinysight.classify.events import EventWriter, open_event_writer
from tinysight.classify.processes import Processes
from tinysight.classify.schedule import schedule_at
from tinysight.classify.settings import Recipe
from tinysight.classify.training_records import EpochRecord
from tinysight.classify.training_state import TrainingState
from tinysight.errors import RunError


class RunWriter:
    """Writes states, the lines of epochs and steps, and the trained weights of one run.

    Of several processes that train together only the first one writes; the others wait for it
    where they must.

    Args:
        run: The run folder, begun. Lines of epochs and steps that lie behind the state are dropped.
        state: Where the training goes on from.
        recipe: Every setting.
        processes: This process among those that train together.
        is_tuning: Whether epochs are scored on the tuning rows instead of the test rows.

    Attributes:
        history: The lines of the epochs so far; empty in other processes than the first.

    Raises:
        RunError: The history lacks epochs that the state has behind it.
    """

    def __init__(
        self,
        run: Path,
        state: TrainingState,
        recipe: Recipe,
        *,
        processes: Processes,
        is_tuning: bool,
    ) -> None:
        self.history: list[whole_files.Record] = []
        self._run = run
        self._recipe = recipe
        self._processes = processes
        self._device = state.step_losses.device
        self._is_tuning = is_tuning
        self._events: EventWriter | None = None
        processes.first_does(lambda: self._begin(state), self._device)

    def _begin(self, state: TrainingState) -> None:
        self.history = _history_of(state, self._run)
        steps_done = self.history[-1]["steps"] if self.history else 0
        # What is left out is done again.
        steps = [row for row in run_folder.read_steps(self._run) if row["step"] < steps_done]
        whole_files.write_records(self._run / run_folder.STEPS, steps)
        self._events = open_event_writer(self._run / run_folder.EVENTS, steps_done=steps_done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._events:
            self._events.close()

    def save(self, state: TrainingState) -> None:
        """Write a state to go on from; every process returns when it is written."""
        self._processes.first_does(
            lambda: save_checkpoint(self._run, state.state_dict()), self._device
        )

    def write_epoch(self, record: EpochRecord) -> whole_files.Record:
        """Write what is known of a finished epoch, and return its line in the history."""
        row = history_row(record, is_tuning=self._is_tuning)

        def write() -> None:
            self.history.append(row)
            steps = step_rows(record, self._recipe)
            whole_files.append_records(self._run / run_folder.STEPS, steps)
            whole_files.write_records(self._run / run_folder.HISTORY, self.history)
            if self._events:
                self._events.write(row)

        self._processes.first_does(write, self._device)
        return row

    def write_model(self, state: TrainingState) -> None:
        """Write the trained weights, the averaged ones where there are any, with what they are."""
        if not self._processes.is_first:
            return
        about = run_folder.read_run(self._run)
        save_model(
            self._run,
            state.average or state.model,
            {
                "format_version": run_folder.FORMAT_VERSION,
                "weights": "ema" if state.average else "raw",
                "recipe": self._recipe.model_dump(),
                **{key: about[key] for key in ("classes", "mean", "std", "size_px")},
            },
        )


def history_row(record: EpochRecord, *, is_tuning: bool) -> whole_files.Record:
    """Return the line of an epoch in ``history.jsonl``."""
    row: whole_files.Record = {
        "epoch": record.epoch,
        "steps": record.steps,
        "train_loss": record.train_loss,
        "train_accuracy": record.train_accuracy,
        "lr": record.lr,
        "momentum": record.momentum,
        "seconds": round(record.seconds, 3),
        "images_per_s": round(record.images_per_s, 1),
        "image_px": record.image_px,
    }
    held_out = "tuning" if is_tuning else "test"
    for prefix, score in (("", record.score), ("ema_", record.ema_score)):
        if score is not None:
            row[f"{prefix}{held_out}_loss"] = score.loss
            row[f"{prefix}{held_out}_accuracy"] = score.accuracy
            row[f"{prefix}{held_out}_top5"] = score.top5
            row[f"{held_out}_image_px"] = record.held_out_px
    return row


def step_rows(record: EpochRecord, recipe: Recipe) -> list[whole_files.Record]:
    """Return the lines of an epoch in ``steps.jsonl``."""
    num_steps = len(record.step_losses)
    rows = []
    for number, loss in enumerate(record.step_losses, record.steps - num_steps):
        now = schedule_at(
            number, recipe.schedule, steps_per_epoch=num_steps, epochs=recipe.train.epochs
        )
        rows.append({"step": number, "loss": float(loss), "lr": now.lr, "momentum": now.momentum})
    return rows


def _history_of(state: TrainingState, run: Path) -> list[whole_files.Record]:
    """Return the lines of the epochs that a state has behind it, and drop the others."""
    path = run / run_folder.HISTORY
    history = [row for row in run_folder.read_history(run) if row["epoch"] < state.recorded_epochs]
    if len(history) != state.recorded_epochs:
        raise RunError(
            f"{path}: must have a line for each of the {state.recorded_epochs} epochs that the "
            f"newest checkpoint has behind it, but has {len(history)}. Copy the file anew from "
            f"where the run was, or choose another --out and train again."
        )
    whole_files.write_records(path, history)
    return history
