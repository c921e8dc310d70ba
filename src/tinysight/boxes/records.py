"""What a reader hands on: the records of annotation files as columns, not yet judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import FindingGroup

Severity = Literal["lossless", "harmless", "orphan", "overhang", "outside", "unusable"]


@dataclass(frozen=True)
class Mark:
    """One kind of defect of some records, found while reading."""

    kind: str
    severity: Severity
    message: str
    """Format string; ``{0}``, ``{1}`` are the columns of ``values``."""
    rows: NDArray[np.int64]
    """The rows of the records."""
    values: tuple[Sequence[Any] | NDArray[Any], ...] = ()
    """Columns as long as ``rows``."""

    def without(self, rows: Collection[int] | NDArray[np.int64]) -> Mark:
        """Return the mark without some rows, which have been marked for a better reason."""
        if len(rows) == 0:
            return self
        return self.at(np.flatnonzero(~np.isin(self.rows, list(rows))))

    def at(self, places: NDArray[np.intp]) -> Mark:
        """Return the mark of those of its rows that are at some places of ``rows``."""
        if len(places) == len(self.rows):
            return self
        values = tuple([column[i] for i in places.tolist()] for column in self.values)
        return Mark(self.kind, self.severity, self.message, self.rows[places], values)


@dataclass(frozen=True)
class RawBoxes:
    """The records of one source as columns; n records, m images, c classes.

    A record that is no box at all is a row too, with NaN for its numbers and a mark that says why,
    so that every record is accounted for.
    """

    format: str
    files: tuple[str, ...]
    """The files of the source."""
    file_index: NDArray[np.int32]
    """(n,) rows of ``files``."""
    positions: NDArray[np.int64]
    """(n,) place of each record in its file, counted as ``record_format`` says."""
    record_format: str
    """How a record is named, such as ``annotations[{position}]``."""
    ids: NDArray[Any] | None
    """(n,) int64 or str; None where the format has no ids of boxes."""
    numbers: NDArray[np.float64]
    """(n, 4) as in the file; NaN where there is no number."""
    declared: BoxOrder | None
    """What the format says the numbers mean."""
    is_first_pixel_open: bool
    """Whether the format leaves open if pixels count from 0 or from 1."""
    image_index: NDArray[np.int32]
    """(n,) rows of ``image_names``."""
    class_index: NDArray[np.int32]
    """(n,) rows of ``class_names``."""
    is_crowd: NDArray[np.bool_]
    image_names: tuple[str, ...]
    image_wh_px: NDArray[np.float64]
    """(m, 2) width, height; NaN where the source does not say."""
    class_names: tuple[str, ...]
    category_ids: tuple[int | str, ...]
    is_image_listed: NDArray[np.bool_]
    """(m,) False for an image that only boxes speak of."""
    is_class_listed: NDArray[np.bool_]
    """(c,) False for a class that only boxes speak of."""
    marks: tuple[Mark, ...] = ()
    notes: tuple[FindingGroup, ...] = ()
    """Findings that are not about boxes: of images, categories or whole files."""
    image_paths: tuple[Path | None, ...] | None = None
    """(m,) the image files beside the annotations, where the format knows them."""
    made_up_names: frozenset[str] = frozenset()
    """Names of images that the source does not name: no image of another source is meant."""
    are_images_named: bool = True
    """Whether the source says which boxes share an image."""
    are_axes_named: bool = False
    """Whether each of the four numbers has a name that says of which axis it is, such as xmin."""
    made_up_class: str | None = None
    """What all boxes are called where the source has no place for their classes."""

    @property
    def where(self) -> str:
        """The first file, and how many more there are."""
        if not self.files:
            return self.format
        more = len(self.files) - 1
        return f"{self.files[0]} and {more:,} more" if more else self.files[0]


@dataclass(frozen=True)
class ReadOptions:
    """What a caller knows that the files do not say."""

    images_dir: Path | None = None
    """Folder with the images, to read their sizes from."""
    image_size_wh: tuple[int, int] | None = None
    """Width, height in pixels of every image whose size is not known otherwise."""
