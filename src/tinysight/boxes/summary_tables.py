"""A summary as tables: one CSV file for each thing that it counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.distributions import (
    ASPECT_EDGES,
    GRID_CELLS,
    LARGE_FROM_PX2,
    REL_BINS,
    SIDE_EDGES_PX,
    SIZE_NAMES,
    SMALL_BELOW_PX2,
    Counts,
)
from tinysight.boxes.near_duplicates import NearDuplicates
from tinysight.boxes.summary import BoxSummary
from tinysight.errors import RunError
from tinysight.whole_files import write_text

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

Row = Sequence[object]

NEAR_DUPLICATES = "near_duplicates.csv"
TABLE_NAMES = (
    *("classes.csv", "boxes_per_image.csv", "sizes.csv", "cooccurrence.csv", "positions.csv"),
    *("sizes_px.csv", "sizes_rel.csv", "aspect_ratios.csv"),
    *("widths_px.csv", "heights_px.csv", "widths_rel.csv", "heights_rel.csv"),
)
"""Names of the tables of any summary, in their order."""


@dataclass(frozen=True)
class CountTable:
    """Rows of one CSV file."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]


def tables_of(summary: BoxSummary) -> dict[str, CountTable]:
    """Return the tables of a summary by the name of their file; only rows that count something."""
    names = summary.class_names
    rel_edges = np.arange(REL_BINS + 1) / REL_BINS
    binned = {
        "aspect_ratios.csv": (summary.aspect_by_class, ASPECT_EDGES, ""),
        "widths_px.csv": (summary.width_by_class, SIDE_EDGES_PX, "_px"),
        "heights_px.csv": (summary.height_by_class, SIDE_EDGES_PX, "_px"),
        "widths_rel.csv": (summary.width_rel_by_class, rel_edges, "_rel"),
        "heights_rel.csv": (summary.height_rel_by_class, rel_edges, "_rel"),
    }
    tables = {
        "classes.csv": _class_table(summary),
        "boxes_per_image.csv": _table(
            ("boxes", "images"),
            ((boxes, images) for boxes, images in _counted(summary.images_by_num_boxes)),
        ),
        "sizes.csv": _size_table(summary),
        "cooccurrence.csv": _table(
            ("class_a", "class_b", "images"),
            (
                (names[a], names[b], images)
                for (a, b), images in zip(
                    summary.pair_classes.tolist(), summary.pair_images.tolist(), strict=True
                )
                if a != b
            ),
        ),
        "positions.csv": _table(
            ("row", "column", "centres", "covered"),
            (
                (row, column, int(summary.centres[row, column]), int(summary.covered[row, column]))
                for row in range(GRID_CELLS)
                for column in range(GRID_CELLS)
            ),
        ),
        "sizes_px.csv": _joint_table(summary.wh_px, SIDE_EDGES_PX, "_px"),
        "sizes_rel.csv": _joint_table(summary.wh_rel, rel_edges, "_rel"),
    }
    for file_name, (counts, edges, unit) in binned.items():
        tables[file_name] = _table(
            ("class", f"from{unit}", f"to{unit}", "boxes"), _binned_rows(names, counts, edges)
        )
    return tables


def near_duplicate_table(table: BoxTable, twins: NearDuplicates) -> CountTable:
    """Return the pairs of boxes that were probably drawn twice, the closest first."""
    order = np.argsort(-twins.iou, kind="stable")

    def rows() -> Iterator[Row]:
        for pair in order.tolist():
            first, second = int(twins.first[pair]), int(twins.second[pair])
            yield (
                table.image_names[table.image_index[first]],
                table.annotation_ids[first],
                table.annotation_ids[second],
                table.class_names[table.class_index[first]],
                table.class_names[table.class_index[second]],
                round(float(twins.iou[pair]), 6),
            )

    header = ("image", "annotation_a", "annotation_b", "class_a", "class_b", "iou")
    return _table(header, rows())


def save_tables(tables: Mapping[str, CountTable], folder: Path) -> tuple[Path, ...]:
    """Write tables into a folder, which is made where it does not exist.

    Returns:
        The files, in the order of the tables.

    Raises:
        RunError: The folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder}: must be a folder that can be made, but {error.strerror}. Choose another."
        ) from error
    for name, table in tables.items():
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(table.header)
        rows.writerows(table.rows)
        write_text(folder / name, text.getvalue())
    return tuple(folder / name for name in tables)


def _table(header: tuple[str, ...], rows: Iterable[Row]) -> CountTable:
    return CountTable(header, tuple(rows))


def _class_table(summary: BoxSummary) -> CountTable:
    header = ("class", "boxes", "share_of_boxes", "images", "share_of_images", *SIZE_NAMES)
    rows = (
        (
            entry.name,
            entry.boxes,
            _share(entry.boxes, summary.boxes),
            entry.images,
            _share(entry.images, summary.images),
            *entry.sizes.values(),
        )
        for entry in summary.classes
    )
    return _table(header, rows)


def _size_table(summary: BoxSummary) -> CountTable:
    limits = (0, SMALL_BELOW_PX2, LARGE_FROM_PX2, "")
    rows = (
        (name, limits[index], limits[index + 1], boxes, _share(boxes, summary.boxes))
        for index, (name, boxes) in enumerate(summary.sizes.items())
    )
    return _table(("size", "area_from_px2", "area_below_px2", "boxes", "share_of_boxes"), rows)


def _binned_rows(names: Sequence[str], counts: Counts, edges: NDArray[np.float64]) -> Iterator[Row]:
    for owner, place in np.argwhere(counts).tolist():
        low, high = edges[place], edges[place + 1]
        yield names[owner], _short(low), _short(high), int(counts[owner, place])


def _joint_table(counts: Counts, edges: NDArray[np.float64], unit: str) -> CountTable:
    header = tuple(f"{side}_{end}{unit}" for side in ("width", "height") for end in ("from", "to"))
    rows = (
        (
            *(_short(edges[place]) for place in (column, column + 1, row, row + 1)),
            int(counts[row, column]),
        )
        for row, column in np.argwhere(counts).tolist()
    )
    return _table((*header, "boxes"), rows)


def _counted(counts: Counts) -> Iterator[tuple[int, int]]:
    for value in np.flatnonzero(counts).tolist():
        yield value, int(counts[value])


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _short(edge: float) -> float:
    return float(f"{edge:.6g}")
