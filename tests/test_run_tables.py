from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinysight.errors import RunError
from tinysight.run_tables import (
    LABEL_ISSUES_SCHEMA,
    METADATA_KEY,
    gallery_schema,
    maps_schema,
    read_matrix,
    read_predictions,
    read_table,
    write_table,
)


def label_issues(count: int = 3) -> dict[str, object]:
    return {
        "sample_id": [f"{number}.png" for number in range(count)],
        "target": np.arange(count),
        "suggested": np.arange(count) + 1,
        "target_prob": np.full(count, 0.1),
        "suggested_prob": np.full(count, 0.8),
        "score": np.full(count, 0.1),
    }


def write_predictions(path: Path) -> None:
    columns = {
        "sample_id": pa.array(["a", "b"]),
        "target": pa.array([1, 0], pa.int32()),
        "top5": pa.FixedSizeListArray.from_arrays(pa.array([1, 0, 1, 0], pa.int32()), 2),
        "top5_probs": pa.FixedSizeListArray.from_arrays(
            pa.array([0.75, 0.25, 0.5, 0.5], pa.float32()), 2
        ),
        "loss": pa.array([0.3, 0.7], pa.float32()),
        "logits": pa.FixedSizeListArray.from_arrays(
            pa.array(np.array([0, 1, 0, 0], np.float16)), 2
        ),
    }
    pq.write_table(pa.table(columns), path)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "label_issues.parquet"
    write_table(path, label_issues(), LABEL_ISSUES_SCHEMA, {"method": "grad-cam"})
    table, about = read_table(path)
    assert table.schema.equals(LABEL_ISSUES_SCHEMA)
    assert table["suggested"].to_pylist() == [1, 2, 3]
    assert about == {"format_version": 1, "method": "grad-cam"}


def test_an_empty_table_comes_back_empty(tmp_path: Path) -> None:
    path = tmp_path / "label_issues.parquet"
    write_table(path, label_issues(0), LABEL_ISSUES_SCHEMA, {})
    assert read_table(path)[0].num_rows == 0


def test_maps_come_back_as_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "maps.parquet"
    maps = np.arange(2 * 6, dtype=np.uint8).reshape(2, 6)
    columns = {
        "sample_id": ["a", "b"],
        "predicted_map": maps,
        "target_map": maps[::-1],
        "predicted_peak": [1.0, 2.0],
        "target_peak": [0.5, 0.0],
    }
    write_table(path, columns, maps_schema((2, 3)), {})
    table, _ = read_table(path)
    np.testing.assert_array_equal(read_matrix(table, "predicted_map"), maps)
    np.testing.assert_array_equal(read_matrix(table, "target_map"), maps[::-1])
    np.testing.assert_array_equal(read_matrix(table.slice(1), "target_map"), maps[:1])


def test_a_gallery_has_maps_of_its_size() -> None:
    assert gallery_schema((8, 8)).field("target_map").type == pa.list_(pa.uint8(), 64)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for path, about in zip(paths, ({"x": 1, "y": 2}, {"y": 2, "x": 1}), strict=True):
        write_table(path, label_issues(), LABEL_ISSUES_SCHEMA, about)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_missing_table_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"maps\.parquet: must be a readable file, but there is none\. "
        r"Write it with: tinysight explain ",
    ):
        read_table(tmp_path / "maps.parquet")


@pytest.mark.parametrize("length", [0, 100, -10])
def test_a_damaged_table_is_said(length: int, tmp_path: Path) -> None:
    path = tmp_path / "label_issues.parquet"
    write_table(path, label_issues(), LABEL_ISSUES_SCHEMA, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(
        RunError,
        match=r"label_issues\.parquet: must be a whole Parquet file, but .*[^.]\. Write .*explain",
    ):
        read_table(path)


@pytest.mark.parametrize("metadata", [None, {METADATA_KEY: json.dumps({"format_version": 99})}])
def test_a_table_of_another_version_is_refused(
    metadata: dict[bytes, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "maps.parquet"
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    found = "99" if metadata else "None"
    with pytest.raises(
        RunError, match=rf"maps\.parquet: format_version must be 1, got {found}\. Write it with"
    ):
        read_table(path)


def test_predictions_come_back_as_arrays(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.parquet")
    predictions = read_predictions(tmp_path)
    assert predictions.sample_ids.tolist() == ["a", "b"]
    assert predictions.targets.tolist() == [1, 0]
    assert predictions.top_classes.tolist() == [[1, 0], [1, 0]]
    assert predictions.top_probs.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert predictions.losses.tolist() == pytest.approx([0.3, 0.7])
    assert predictions.logits.dtype == np.float16


def test_missing_predictions_name_the_command_that_writes_them(tmp_path: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"predictions\.parquet: must be a readable file, but there is none\. "
        r"Write it with: tinysight evaluate ",
    ):
        read_predictions(tmp_path)


def test_damaged_predictions_are_said(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(
        RunError,
        match=r"predictions\.parquet: must be a whole Parquet file, but .*[^.]\. Write .*evaluate",
    ):
        read_predictions(tmp_path)
