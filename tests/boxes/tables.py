"""Box tables for tests, written by hand or drawn, and tables of real files."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.real_data import real_file
from tinysight.boxes.quality import GroupQuality, match_anchors
from tinysight.boxes.table import BoxTable


def score_sizes(boxes_wh: Any, anchors_wh: Any) -> GroupQuality:
    """How well anchors fit box sizes, all of them one group."""
    return GroupQuality.of("all", match_anchors(boxes_wh, anchors_wh))


def make_table(
    boxes: Sequence[tuple[int, int, float, float, float, float]] = (),
    *,
    image_wh: Sequence[tuple[float, float]] = ((100.0, 100.0),),
    classes: Sequence[str] = ("cat", "dog"),
    crowd: Sequence[int] = (),
) -> BoxTable:
    """Boxes as (image, class, left, top, width, height)."""
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 6)
    is_crowd = np.zeros(len(rows), dtype=np.bool_)
    is_crowd[list(crowd)] = True
    return BoxTable(
        xywh_px=np.ascontiguousarray(rows[:, 2:]),
        image_index=rows[:, 0].astype(np.int32),
        class_index=rows[:, 1].astype(np.int32),
        is_crowd=is_crowd,
        annotation_ids=np.arange(len(rows)),
        image_wh_px=np.array(image_wh, dtype=np.float64).reshape(-1, 2),
        image_names=tuple(f"{number}.jpg" for number in range(len(image_wh))),
        class_names=tuple(classes),
        category_ids=tuple(range(len(classes))),
    )


def draw_table(
    seed: int = 0, *, boxes: int = 400, images: int = 60, classes: int = 5, empty: int = 5
) -> BoxTable:
    """Random boxes inside random images; the last images have none, rows are in no order."""
    rng = np.random.default_rng(seed)
    image_wh = rng.integers(50, 900, (images, 2)).astype(np.float64)
    image = rng.integers(0, images - empty, boxes)
    wh = image_wh[image] * np.exp(rng.normal(-1.5, 1, (boxes, 2))).clip(0.004, 1)
    xy = (image_wh[image] - wh) * rng.random((boxes, 2))
    rows = np.column_stack([image, rng.integers(0, classes, boxes), xy, wh])
    rows[1::10] = rows[::10]  # some are drawn twice
    return make_table(
        rows.tolist(),
        image_wh=image_wh.tolist(),
        classes=[f"class {index}" for index in range(classes)],
        crowd=range(0, boxes, 37),
    )


def take_images(table: BoxTable, images: Sequence[int]) -> BoxTable:
    """The part of a table that is on some images."""
    place = {image: index for index, image in enumerate(images)}
    rows = np.flatnonzero(np.isin(table.image_index, list(images)))
    return dataclasses.replace(
        table,
        xywh_px=table.xywh_px[rows],
        image_index=np.array([place[int(i)] for i in table.image_index[rows]], dtype=np.int32),
        class_index=table.class_index[rows],
        is_crowd=table.is_crowd[rows],
        annotation_ids=table.annotation_ids[rows],
        image_wh_px=table.image_wh_px[list(images)],
        image_names=tuple(table.image_names[image] for image in images),
    )


def rename_classes(table: BoxTable, order: Sequence[int]) -> BoxTable:
    """The same boxes with the classes listed in another order; ``order`` holds old indices."""
    new_index = np.empty(len(order), dtype=np.int32)
    new_index[list(order)] = np.arange(len(order))
    return dataclasses.replace(
        table,
        class_index=new_index[table.class_index],
        class_names=tuple(table.class_names[index] for index in order),
        category_ids=tuple(table.category_ids[index] for index in order),
    )


def assert_same_bits(one: Any, other: Any) -> None:
    """Two results of dataclass type agree in every field, arrays to the bit."""
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert left.shape == right.shape, field.name
            assert left.tobytes() == right.tobytes(), field.name
        elif dataclasses.is_dataclass(left):
            assert_same_bits(left, right)
        else:
            assert left == right, field.name


def as_coco(table: BoxTable) -> dict[str, Any]:
    """The table as COCO json."""
    return {
        "images": [
            {"id": index, "file_name": name, "width": int(wh[0]), "height": int(wh[1])}
            for index, (name, wh) in enumerate(
                zip(table.image_names, table.image_wh_px.tolist(), strict=True)
            )
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(table.class_names)],
        "annotations": [
            {
                "id": row,
                "image_id": int(table.image_index[row]),
                "category_id": int(table.class_index[row]),
                "bbox": table.xywh_px[row].tolist(),
                "iscrowd": int(table.is_crowd[row]),
            }
            for row in range(table.num_boxes)
        ],
    }


def write_coco(table: BoxTable, path: Path) -> Path:
    """Write the table as COCO json."""
    path.write_text(json.dumps(as_coco(table)))
    return path


def real_table(name: str) -> BoxTable:
    """A real file of the data folder, read here and not by the package."""
    with gzip.open(real_file(name)) as file:
        value = json.load(file)
    images = {image["id"]: index for index, image in enumerate(value["images"])}
    classes = {entry["id"]: index for index, entry in enumerate(value["categories"])}
    rows = [
        (images[entry["image_id"]], classes[entry["category_id"]], *entry["bbox"])
        for entry in value["annotations"]
    ]
    return make_table(
        rows,
        image_wh=[(image["width"], image["height"]) for image in value["images"]],
        classes=[entry["name"] for entry in value["categories"]],
    )


COCO_VAL = "coco-val2017/instances_val2017_boxes.json.gz"
VOC_TRAINVAL = "voc2007/voc2007_trainval_boxes.json.gz"
VOC_TEST = "voc2007/voc2007_test_boxes.json.gz"


def write_parquet(table: BoxTable, path: Path) -> Path:
    """Write the boxes of a table as Parquet, one a row."""
    width, height = table.image_wh_px[table.image_index].T
    left, top, box_width, box_height = table.xywh_px.T
    columns = {
        "image": [table.image_names[index] for index in table.image_index],
        "image_width": width.astype(np.int32),
        "image_height": height.astype(np.int32),
        "x": left,
        "y": top,
        "width": box_width,
        "height": box_height,
        "class": [table.class_names[index] for index in table.class_index],
    }
    pq.write_table(pa.table(columns), path)
    return path
