"""TensorBoard event files, where the package ``tensorboard`` is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.whole_files import make_folder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class EventWriter:
    """Writes every number of a history line as a scalar at its step."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def write(self, row: dict[str, Any]) -> None:
        """Write one line of the history."""
        for key, value in row.items():
            if key not in ("epoch", "steps"):
                self._writer.add_scalar(key, value, global_step=row["steps"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def open_event_writer(folder: Path, *, steps_done: int) -> EventWriter | None:
    """Return a writer of event files, or None where TensorBoard is not installed.

    Args:
        folder: Where the files of this run are.
        steps_done: Steps behind the run; what the files have of later ones is not shown any more.

    Raises:
        RunError: The folder cannot be made or written to.
    """
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    make_folder(folder)
    is_new = next(folder.iterdir(), None) is None
    return EventWriter(SummaryWriter(folder, purge_step=None if is_new else steps_done + 1))
