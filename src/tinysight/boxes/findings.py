"""Every defect of an annotation file by record, with what was done about it.

A file can have a defect in each of millions of records, so findings are kept as columns, one group
for a kind of defect, and become :class:`Finding` objects only when somebody looks at them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from tinysight.numerals import images_in_words
from tinysight.whole_files import replace_file
from tinysight.writable_names import writable

if TYPE_CHECKING:
    from tinysight.boxes.box_order import BoxOrder, OrderDecision
    from tinysight.boxes.table import BoxTable

Action = Literal["accepted", "repaired", "rejected"]

WHOLE_FILE = -1
"""The position of a finding that is about a file and not about one of its records."""

COLUMNS = ("kind", "action", "file", "record", "message")
"""Of the CSV file of :func:`save_findings`."""

_MOST_EXAMPLES = 3
_MOST_INSIDE = 2**32


def position_inside(owner: int, position: int) -> int:
    """Return the place of a record of a list that is inside another record, as one number."""
    return owner * _MOST_INSIDE + position


@dataclass(frozen=True)
class Finding:
    """One defect."""

    kind: str
    """Short fixed name of the defect, such as ``outside_image``."""
    where: str
    """The file."""
    record: str
    """The record in the file, such as ``annotations[17] (id=17)``; empty: the file as a whole."""
    message: str
    """What must hold, what was found and what was done."""
    action: Action
    """What became of the record: kept as it is, kept after a change, or left out."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.record, self.message) if part)


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one kind in one set of files, as columns of length n."""

    kind: str
    action: Action
    message: str
    """Format string; ``{0}``, ``{1}`` are the columns of ``values``."""
    files: tuple[str, ...]
    file_index: NDArray[np.int32]
    """(n,) rows of ``files``."""
    record_format: str
    """Format string with ``{position}``, such as ``annotations[{position}]``, and with ``{owner}``
    where records are inside others."""
    positions: NDArray[np.int64]
    """(n,) the place of the record in its file, counted as the file format counts; of one inside
    another, :func:`position_inside`."""
    ids: NDArray[Any] | None = None
    """(n,) the ids the file gives to the records, where it does."""
    values: tuple[Sequence[Any] | NDArray[Any], ...] = ()
    """Columns of length n that ``message`` shows."""
    image_index: NDArray[np.int64] | None = None
    """(n,) the image that each record is, of a finding that more knowledge of it may settle."""

    def at(self, places: NDArray[np.intp]) -> FindingGroup:
        """Return the findings at some places."""
        ids, image_index = (
            None if column is None else column[places] for column in (self.ids, self.image_index)
        )
        return replace(
            self,
            file_index=self.file_index[places],
            positions=self.positions[places],
            ids=ids,
            values=tuple([column[i] for i in places.tolist()] for column in self.values),
            image_index=image_index,
        )

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Finding:
        position = int(self.positions[index])
        record = ""
        if position != WHOLE_FILE:
            owner, position = divmod(position, _MOST_INSIDE)
            record = self.record_format.format(owner=owner, position=position)
            if self.ids is not None:
                record += f" (id={self.ids[index]})"
        return Finding(
            self.kind,
            writable(self.files[int(self.file_index[index])]),
            record,
            self.message.format(*(_shown(column[index]) for column in self.values)),
            self.action,
        )


@dataclass(frozen=True)
class FindingCount:
    """How often one kind of defect was met with one outcome."""

    kind: str
    action: Action
    count: int
    examples: tuple[Finding, ...]


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """All findings of a reading, in groups; a sequence of :class:`Finding`."""

    groups: tuple[FindingGroup, ...] = ()

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def __iter__(self) -> Iterator[Finding]:
        for group in self.groups:
            yield from (group[index] for index in range(len(group)))

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        left = index + len(self) if index < 0 else index
        for group in self.groups:
            if 0 <= left < len(group):
                return group[left]
            left -= len(group)
        raise IndexError(index)

    def by_kind(self, most_examples: int = _MOST_EXAMPLES) -> tuple[FindingCount, ...]:
        """Return the exact count of each kind and action with its first examples, largest first."""
        groups: dict[tuple[str, Action], list[FindingGroup]] = {}
        for group in self.groups:
            groups.setdefault((group.kind, group.action), []).append(group)
        counts = [
            FindingCount(
                kind,
                action,
                sum(len(group) for group in same),
                tuple(islice(Findings(tuple(same)), most_examples)),
            )
            for (kind, action), same in groups.items()
        ]
        return tuple(sorted(counts, key=lambda count: (-count.count, count.kind, count.action)))


@dataclass(frozen=True)
class Reading:
    """What came out of reading annotation files: the table, and an account of every record."""

    table: BoxTable
    format: str
    """Name of the format; several, joined by commas, where the files differ."""
    files: tuple[str, ...]
    """The files that were read, those below folders included."""
    decisions: tuple[OrderDecision, ...]
    """The order of the four numbers in each source and how it was found."""
    policy: str
    boxes_read: int
    """Records that should be boxes, whatever became of them."""
    accepted: int
    """Boxes kept as they are."""
    repaired: int
    """Boxes kept after a change."""
    rejected: int
    """Records left out."""
    findings: Findings = field(repr=False)
    are_images_named: bool = True
    """Whether every source says which boxes share an image."""
    made_up_classes: tuple[tuple[str, str], ...] = ()
    """Each source without a place for classes, and what all its boxes are called."""

    def __post_init__(self) -> None:
        if self.accepted + self.repaired + self.rejected != self.boxes_read:
            raise ValueError("Reading: accepted + repaired + rejected must be boxes_read")
        if self.accepted + self.repaired != self.table.num_boxes:
            raise ValueError("Reading: accepted + repaired must be the boxes of the table")

    @property
    def images(self) -> int:
        """Images, those without boxes included."""
        return self.table.num_images

    @property
    def images_in_words(self) -> str:
        """How many images there are, where the sources tell."""
        return images_in_words(self.images, are_named=self.are_images_named)

    @property
    def box_order(self) -> BoxOrder:
        """The order of the four numbers in the first source."""
        return self.decisions[0].order


def whole_file_finding(kind: str, action: Action, where: str, message: str) -> FindingGroup:
    """Return a group of one finding that is about a file as a whole.

    ``message`` is shown as it is; braces in it are kept.
    """
    return FindingGroup(
        kind=kind,
        action=action,
        message="{0}",
        files=(where,),
        file_index=np.zeros(1, np.int32),
        record_format="",
        positions=np.full(1, WHOLE_FILE, np.int64),
        values=((message,),),
    )


def save_findings(findings: Iterable[Finding], path: Path) -> None:
    """Write every finding as one row of a CSV file: kind, action, file, record, message.

    Raises:
        RunError: The file cannot be written; an older one is still there.
    """

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", errors="backslashreplace")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for finding in findings:
            rows.writerow(
                (finding.kind, finding.action, finding.where, finding.record, finding.message)
            )
        text.flush()
        text.detach()

    replace_file(path, write)


_LONGEST_SHOWN = 1000


def _shown(value: Any) -> Any:
    """Return a value as a message shows it: numbers short, text quoted nowhere and cut."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
