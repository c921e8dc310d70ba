"""The Parquet files of a run folder: columns, writing, reading.

``predictions.parquet`` is written by ``tinysight train`` and ``tinysight evaluate``, the others by
``tinysight explain``.

A table carries a JSON object in its file metadata, under the key ``tinysight``: its
``format_version``, and what a reader must know to use the rows. The same rows give the same bytes.

    maps.parquet
        sample_id                   one row a test image, in the order of predictions.parquet
        predicted_map, target_map   h * w bytes, row by row; 255 is the maximum of the map itself
        predicted_peak, target_peak that maximum, logits; 0 where nothing speaks for the class
    gallery.parquet
        sample_id, file             one row for each test image that a page can show
        target, predicted           class indices: the right one and the first guess
        target_prob, predicted_prob probabilities of both
        loss                        cross entropy
        top5, top5_probs            the first five guesses (of fewer classes: all)
        why                         what it is shown for, some of REASONS
        predicted_map, target_map   as above
    pictures.parquet
        sample_id, picture          a WebP file, of each image that another table names
    label_issues.parquet
        sample_id                   test images, the worst first
        target, suggested           class indices: as labelled, and the likeliest other class
        target_prob, suggested_prob probabilities of both
        score                       self-confidence, the lower the more suspicious
    duplicates.parquet
        sample_id_a, sample_id_b    a pair of images of either part, the closest first
        target_a, target_b          class indices as labelled
        part_a, part_b              "train" or "test"
        kind                        "identical" (the same file) or "near"
        is_mirrored                 one shows the other left to right
        distance                    see classify.near_duplicates, 0 for identical files
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tinysight.errors import RunError
from tinysight.run_folder import FORMAT_VERSION, PREDICTIONS
from tinysight.whole_files import Record, replace_file

REASONS = ("mistake", "confident mistake", "unsure hit", "label issue", "duplicate")

METADATA_KEY = b"tinysight"

PICTURES_SCHEMA = pa.schema({"sample_id": pa.string(), "picture": pa.binary()})

LABEL_ISSUES_SCHEMA = pa.schema(
    {
        "sample_id": pa.string(),
        "target": pa.int32(),
        "suggested": pa.int32(),
        "target_prob": pa.float32(),
        "suggested_prob": pa.float32(),
        "score": pa.float32(),
    }
)

DUPLICATES_SCHEMA = pa.schema(
    {
        "sample_id_a": pa.string(),
        "sample_id_b": pa.string(),
        "target_a": pa.int32(),
        "target_b": pa.int32(),
        "part_a": pa.string(),
        "part_b": pa.string(),
        "kind": pa.string(),
        "is_mirrored": pa.bool_(),
        "distance": pa.float32(),
    }
)


def maps_schema(map_hw: tuple[int, int]) -> pa.Schema:
    """Return the columns of ``maps.parquet``.

    Args:
        map_hw: Height and width of a map.
    """
    row = pa.list_(pa.uint8(), map_hw[0] * map_hw[1])
    return pa.schema(
        {
            "sample_id": pa.string(),
            "predicted_map": row,
            "target_map": row,
            "predicted_peak": pa.float32(),
            "target_peak": pa.float32(),
        }
    )


def gallery_schema(map_hw: tuple[int, int]) -> pa.Schema:
    """Return the columns of ``gallery.parquet``.

    Args:
        map_hw: Height and width of a map.
    """
    row = pa.list_(pa.uint8(), map_hw[0] * map_hw[1])
    return pa.schema(
        {
            "sample_id": pa.string(),
            "file": pa.string(),
            "target": pa.int32(),
            "predicted": pa.int32(),
            "target_prob": pa.float32(),
            "predicted_prob": pa.float32(),
            "loss": pa.float32(),
            "top5": pa.list_(pa.int32()),
            "top5_probs": pa.list_(pa.float32()),
            "why": pa.list_(pa.string()),
            "predicted_map": row,
            "target_map": row,
        }
    )


def write_table(
    path: Path, columns: Mapping[str, Any], schema: pa.Schema, about: Mapping[str, Any]
) -> None:
    """Replace a file by a table, see :func:`tinysight.whole_files.replace_file`.

    Args:
        path: The file.
        columns: Values by name; an (N, h * w) array stands for a column of fixed-size lists.
        schema: The columns and their types.
        about: What the metadata of the file says, beside ``format_version``; JSON.

    Raises:
        RunError: The file cannot be written.
    """
    metadata = json.dumps({"format_version": FORMAT_VERSION, **about}, sort_keys=True)
    table = pa.table(
        [_column(columns[field.name], field.type) for field in schema],
        schema=schema.with_metadata({METADATA_KEY: metadata.encode()}),
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    replace_file(path, lambda file: file.write(buffer.getbuffer()))


def read_table(path: Path, names: Sequence[str] = ()) -> tuple[pa.Table, Record]:
    """Read a table and what its metadata says.

    Args:
        path: A file that :func:`write_table` wrote.
        names: Columns that it must have.

    Returns:
        The table, and the object of its metadata.

    Raises:
        RunError: The file is missing, is damaged, is of another format version or lacks a column.
    """
    again = f"Write it with: tinysight explain {quote(str(path.parent))}"
    if not path.is_file():
        raise RunError(f"{path}: must be a readable file, but there is none. {again}")
    try:
        table = _read_parquet(path)
        about: Record = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise RunError(
            f"{path}: must be a whole Parquet file, but {reason.rstrip('.')}. {again}"
        ) from error
    version = about.get("format_version")
    if version != FORMAT_VERSION:
        raise RunError(f"{path}: format_version must be {FORMAT_VERSION}, got {version!r}. {again}")
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise RunError(
            f"{path}: must have the columns {', '.join(names)}, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. {again}"
        )
    return table, about


@dataclass(frozen=True)
class SavedPredictions:
    """What ``predictions.parquet`` says, one row a test image.

    Attributes:
        sample_ids: (N,) names of the images.
        targets: (N,) int64, the right class index.
        top_classes: (N, K) int64, the likeliest classes, likeliest first; K is 5, or the number
            of classes where there are fewer.
        top_probs: (N, K) float32, their probabilities.
        losses: (N,) float32, cross entropy; the right class has the probability exp(-loss).
        logits: (N, C) float16.
    """

    sample_ids: npt.NDArray[np.str_]
    targets: npt.NDArray[np.int64]
    top_classes: npt.NDArray[np.int64]
    top_probs: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float16]


def read_predictions(run: Path) -> SavedPredictions:
    """Read what a network says about the test images of its run.

    Args:
        run: A run folder that was evaluated.

    Raises:
        RunError: The file is missing or damaged.
    """
    path = run / PREDICTIONS
    again = f"Write it with: tinysight evaluate {quote(str(run))}"
    if not path.is_file():
        raise RunError(f"{path}: must be a readable file, but there is none. {again}")
    try:
        table = _read_parquet(path)
        return SavedPredictions(
            sample_ids=np.array(table["sample_id"].to_pylist(), dtype=np.str_),
            targets=table["target"].to_numpy().astype(np.int64),
            top_classes=read_matrix(table, "top5").astype(np.int64),
            top_probs=read_matrix(table, "top5_probs"),
            losses=table["loss"].to_numpy(),
            logits=read_matrix(table, "logits"),
        )
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise RunError(
            f"{path}: must be a whole Parquet file, but {reason.rstrip('.')}. {again}"
        ) from error


def read_matrix(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column of lists of one fixed size as an array (N, size)."""
    column = table[name].combine_chunks()
    matrix: npt.NDArray[Any] = column.flatten().to_numpy().reshape(len(column), -1)
    return matrix


def _read_parquet(path: Path) -> pa.Table:
    # Arrow opens no path that is not UTF-8, Python opens any.
    with open(path, "rb") as file:
        return pq.read_table(file)


def _column(values: Any, type_: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(type_):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type_.list_size)
    return pa.array(values, type_)
