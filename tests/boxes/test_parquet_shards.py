from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.boxes.tables import draw_table, write_parquet
from tinysight.boxes.parquet_shards import read_clean_parquet
from tinysight.boxes.reading import read_boxes


def columns_of(path: Path) -> dict[str, Any]:
    return {name: pq.read_table(path)[name].to_pylist() for name in pq.read_schema(path).names}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_parquet(draw_table(1, empty=0), tmp_path / "clean.parquet")


def test_a_clean_file_gives_the_table_of_the_general_reader(clean: Path) -> None:
    found = read_clean_parquet([clean])
    reading = read_boxes(clean)
    assert found is not None
    assert reading.accepted == reading.boxes_read == found.num_boxes
    for name in ("xywh_px", "image_index", "class_index", "is_crowd", "image_wh_px"):
        one, other = getattr(found, name), getattr(reading.table, name)
        assert np.array_equal(one, other), name
        assert one.dtype == other.dtype, name
    assert found.image_names == reading.table.image_names
    assert found.class_names == reading.table.class_names


@pytest.mark.parametrize("classes", [[10, 9, 2], ["10", "9", "x"], ["b", "a", "B"]])
def test_classes_come_in_the_order_of_the_general_reader(
    tmp_path: Path, classes: list[Any]
) -> None:
    columns = columns_of(write_parquet(draw_table(1, classes=3, empty=0), tmp_path / "a.parquet"))
    columns["class"] = [classes[int(name[-1])] for name in columns["class"]]
    columns["image"] = [int(name[:-4]) for name in columns["image"]]
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table(columns), path)
    found, table = read_clean_parquet([path]), read_boxes(path).table
    assert found is not None
    assert found.class_names == table.class_names
    assert found.image_names == table.image_names
    assert np.array_equal(found.class_index, table.class_index)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", None),
        ("x", -0.2),
        ("x", float("nan")),
        ("width", 0.0),
        ("width", 1e6),
        ("height", float("inf")),
        ("image_width", 33),  # the other rows of the image say something else
        ("image_width", 0),
        ("class", None),
        ("class", " class 1"),
        ("image", ""),
    ],
)
def test_anything_unusual_goes_the_general_way(clean: Path, column: str, value: Any) -> None:
    columns = columns_of(clean)
    columns[column][7] = value
    path = clean.with_name("other.parquet")
    pq.write_table(pa.table(columns), path)
    assert read_clean_parquet([path]) is None


def test_classes_that_are_numbers_with_a_point_go_the_general_way(clean: Path) -> None:
    columns = columns_of(clean)
    columns["class"] = ["1.0", "2"] + ["2.0"] * (len(columns["class"]) - 2)
    path = clean.with_name("other.parquet")
    pq.write_table(pa.table(columns), path)
    assert read_clean_parquet([path]) is None
    assert read_boxes(path).table.class_names == ("1", "2")


def test_another_kind_of_file_goes_the_general_way(clean: Path, tmp_path: Path) -> None:
    columns = columns_of(clean)
    renamed = tmp_path / "renamed.parquet"
    pq.write_table(pa.table({**columns, "extra": columns["x"]}), renamed)
    assert read_clean_parquet([renamed]) is None
    texts = tmp_path / "texts.parquet"
    pq.write_table(pa.table({**columns, "x": [str(value) for value in columns["x"]]}), texts)
    assert read_clean_parquet([texts]) is None
    numbers = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({**columns, "class": [0.5] * len(columns["x"])}), numbers)
    assert read_clean_parquet([numbers]) is None
    empty = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(clean)[:0], empty)
    assert read_clean_parquet([empty]) is None
    fake = tmp_path / "fake.parquet"
    fake.write_bytes(b"PAR1 not really")
    assert read_clean_parquet([fake]) is None
    assert read_clean_parquet([clean, clean]) is None
    assert read_clean_parquet([tmp_path]) is None
    assert read_clean_parquet([tmp_path / "none.parquet"]) is None


def test_fractions_go_the_general_way(clean: Path) -> None:
    columns = columns_of(clean)
    for name in ("x", "y", "width", "height"):
        columns[name] = [max(value / 460, 0.002) for value in columns[name]]
    path = clean.with_name("fractions.parquet")
    for largest in (columns["x"][0], 3.5):  # one box far over an edge
        columns["x"][0] = largest
        pq.write_table(pa.table(columns), path)
        assert read_clean_parquet([path]) is None
