from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.boxes.tables import draw_table, make_table
from tinysight.boxes.near_duplicates import find_near_duplicates
from tinysight.boxes.summary import summarize_boxes
from tinysight.boxes.summary_tables import (
    NEAR_DUPLICATES,
    TABLE_NAMES,
    near_duplicate_table,
    save_tables,
    tables_of,
)
from tinysight.errors import RunError


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = draw_table(1)
    tables = tables_of(summarize_boxes(table))
    tables[NEAR_DUPLICATES] = near_duplicate_table(table, find_near_duplicates(table))
    written = save_tables(tables, tmp_path / "new" / "csv")
    assert sorted(path.name for path in (tmp_path / "new" / "csv").iterdir()) == sorted(tables)
    assert len(written) == 13
    return tmp_path / "new" / "csv"


def test_classes_come_with_boxes_images_and_sizes(folder: Path) -> None:
    rows = read(folder / "classes.csv")
    assert len(rows) == 5
    boxes = [int(row["boxes"]) for row in rows]
    assert boxes == sorted(boxes, reverse=True)
    assert sum(boxes) == 400
    for row in rows:
        assert sum(int(row[size]) for size in ("small", "medium", "large")) == int(row["boxes"])
        assert 0 < float(row["share_of_images"]) <= 1


@pytest.mark.parametrize(
    "name",
    [
        "aspect_ratios.csv",
        "widths_px.csv",
        "heights_px.csv",
        "widths_rel.csv",
        "heights_rel.csv",
        "sizes_px.csv",
        "sizes_rel.csv",
        "sizes.csv",
    ],
)
def test_every_distribution_holds_every_box(folder: Path, name: str) -> None:
    rows = read(folder / name)
    assert sum(int(row["boxes"]) for row in rows) == 400
    assert all(int(row["boxes"]) > 0 for row in rows)


def test_bins_are_named_by_their_edges(folder: Path) -> None:
    for row in read(folder / "widths_px.csv"):
        assert float(row["to_px"]) == pytest.approx(float(row["from_px"]) * 2**0.25, rel=1e-5)


def test_images_are_counted_by_their_boxes(folder: Path) -> None:
    rows = read(folder / "boxes_per_image.csv")
    assert sum(int(row["images"]) for row in rows) == 60
    assert sum(int(row["boxes"]) * int(row["images"]) for row in rows) == 400


def test_positions_have_a_row_for_each_cell(folder: Path) -> None:
    rows = read(folder / "positions.csv")
    assert len(rows) == 32 * 32
    assert sum(int(row["centres"]) for row in rows) == 400


def test_twins_come_closest_first_with_their_ids(folder: Path) -> None:
    rows = read(folder / "near_duplicates.csv")
    assert len(rows) >= 30
    overlaps = [float(row["iou"]) for row in rows]
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[0] == 1.0
    assert rows[0]["image"].endswith(".jpg")
    assert int(rows[0]["annotation_a"]) < int(rows[0]["annotation_b"])


def test_the_names_are_those_of_the_tables() -> None:
    assert (*tables_of(summarize_boxes(draw_table(1))),) == TABLE_NAMES


def test_a_class_does_not_meet_itself(folder: Path) -> None:
    rows = read(folder / "cooccurrence.csv")
    assert len(rows) == 10
    assert all(row["class_a"] != row["class_b"] for row in rows)


def test_a_name_with_commas_and_quotes_stays_whole(tmp_path: Path) -> None:
    name = 'a, "b"\nc'
    table = make_table([(0, 0, 0, 0, 9, 9)], classes=[name])
    save_tables(tables_of(summarize_boxes(table)), tmp_path)
    assert read(tmp_path / "classes.csv")[0]["class"] == name


def test_an_empty_table_gives_empty_files(tmp_path: Path) -> None:
    save_tables(tables_of(summarize_boxes(make_table(image_wh=(), classes=()))), tmp_path)
    assert read(tmp_path / "classes.csv") == []
    assert {row["boxes"] for row in read(tmp_path / "sizes.csv")} == {"0"}


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/x: must be a folder that can be made, but Not a dir"):
        save_tables({}, tmp_path / "file" / "x")
