"""Findings of records that are no boxes, such as images, gathered by kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinysight.boxes.findings import Action, FindingGroup


class RecordNotes:
    """Findings of the records of one list of one file.

    Args:
        path: The file.
        record_format: How a record is named, such as ``images[{position}]``.
    """

    def __init__(self, path: Path, record_format: str) -> None:
        self._path, self._record_format = path, record_format
        self._rows: dict[tuple[str, Action, str], list[int]] = {}
        self._found: dict[tuple[str, Action, str], list[str]] = {}

    def add(self, kind: str, action: Action, message: str, position: int, found: str = "") -> None:
        """Add one; ``{0}`` in the message is ``found``."""
        key = (kind, action, message)
        self._rows.setdefault(key, []).append(position)
        self._found.setdefault(key, []).append(found)

    def groups(self) -> list[FindingGroup]:
        """Return all of them."""
        return [
            FindingGroup(
                kind=key[0],
                action=key[1],
                message=key[2],
                files=(str(self._path),),
                file_index=np.zeros(len(rows), np.int32),
                record_format=self._record_format,
                positions=np.array(rows, np.int64),
                values=(self._found[key],),
            )
            for key, rows in self._rows.items()
        ]
