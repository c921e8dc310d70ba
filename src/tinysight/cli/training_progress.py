"""How training goes, on stderr: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tinysight.numerals import percent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tinysight.classify.training_records import EpochRecord, StepRecord
    from tinysight.errors import RunError

PLAIN_LINE_EVERY_S = 30.0


class TrainingProgress:
    """Shows epoch, step, images a second, loss, accuracy, learning rate and time left.

    Args:
        epochs: Those of the whole run.
        notes: Said once, when nothing was refused and the work begins.
    """

    def __init__(self, epochs: int, notes: Iterable[str] = ()) -> None:
        self._epochs = epochs
        self._notes = notes
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next_line = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("starting", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def on_passed_over(self, fault: RunError) -> None:
        """A checkpoint is damaged, and training goes on from an earlier one."""
        self._say(f"{fault} Going on from the one before.")

    def on_start(self, first_step: int, num_steps: int) -> None:
        """Training is about to go on from a step."""
        for note in self._notes:
            self._say(note)
        if first_step:
            self._say(f"going on from step {first_step:,} of {num_steps:,}")

    def on_step(self, record: StepRecord) -> None:
        """A step was looked at."""
        if self._bar and self._task is not None:
            self._bar.update(
                self._task,
                completed=record.step,
                total=record.num_steps,
                description=self._describe(record),
            )
        elif time.monotonic() >= self._next_line:
            self._say(self._describe(record))
            self._next_line = time.monotonic() + PLAIN_LINE_EVERY_S

    def on_epoch(self, record: EpochRecord, row: dict[str, Any]) -> None:
        """An epoch is finished."""
        parts = [
            f"epoch {record.epoch + 1}/{self._epochs}",
            f"train loss {record.train_loss:.3f} accuracy {percent(record.train_accuracy, 2)}",
        ]
        for prefix, name in (("", ""), ("ema_", "averaged ")):
            for part in ("test", "tuning"):
                if f"{prefix}{part}_loss" in row:
                    loss, accuracy = row[f"{prefix}{part}_loss"], row[f"{prefix}{part}_accuracy"]
                    parts.append(f"{name}{part} loss {loss:.3f} accuracy {percent(accuracy, 2)}")
        parts.append(f"{record.images_per_s:,.0f} images/s of {record.image_px} px")
        self._say("  ".join(parts))

    def _describe(self, record: StepRecord) -> str:
        return (
            f"epoch {record.epoch + 1}/{self._epochs}  step {record.step:,}/{record.num_steps:,}  "
            f"loss {record.loss:.3f}  accuracy {percent(record.accuracy)}  lr {record.lr:.2g}  "
            f"{record.images_per_s:,.0f} images/s  {_duration(record.time_left_s)} left"
        )

    def _say(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
