from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinysight.boxes.table import BoxTable


def columns(**over: Any) -> dict[str, Any]:
    return {
        "xywh_px": np.array([[1.0, 2, 3, 4]]),
        "image_index": np.zeros(1, np.int32),
        "class_index": np.zeros(1, np.int32),
        "is_crowd": np.zeros(1, np.bool_),
        "annotation_ids": np.array([17]),
        "image_wh_px": np.array([[9.0, 8], [np.nan, np.nan]]),
        "image_names": ("a.jpg", "b.jpg"),
        "class_names": ("dog",),
        "category_ids": (1,),
    } | over


def test_table_counts_images_and_classes_without_boxes_too() -> None:
    table = BoxTable(**columns(class_names=("dog", "cat"), category_ids=(1, 2)))
    assert (table.num_boxes, table.num_images, table.num_classes) == (1, 2, 2)
    assert table.wh_px.tolist() == [[3, 4]]


def test_empty_table_is_a_table() -> None:
    empty = {
        "xywh_px": np.zeros((0, 4)),
        "image_index": np.zeros(0, np.int32),
        "class_index": np.zeros(0, np.int32),
        "is_crowd": np.zeros(0, np.bool_),
        "annotation_ids": np.zeros(0, np.int64),
    }
    assert BoxTable(**columns(**empty)).num_boxes == 0


@pytest.mark.parametrize(
    ("over", "text"),
    [
        ({"xywh_px": np.zeros((1, 3))}, r"xywh_px must be \(n, 4\)"),
        ({"xywh_px": np.array([[1.0, 2, 0, 4]])}, "width and height must be > 0"),
        ({"xywh_px": np.array([[np.nan, 2, 3, 4]])}, "xywh_px must be finite"),
        ({"image_index": np.array([2], np.int32)}, r"image_index must be in \[0, m\)"),
        ({"class_index": np.array([-1], np.int32)}, r"class_index must be in \[0, c\)"),
        ({"is_crowd": np.zeros(2, np.bool_)}, r"is_crowd must be \(n,\)"),
        ({"image_wh_px": np.zeros((1, 2))}, r"image_wh_px must be \(m, 2\)"),
        ({"category_ids": ()}, r"category_ids must be \(c,\)"),
    ],
)
def test_broken_invariant_is_named(over: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BoxTable(**columns(**over))
