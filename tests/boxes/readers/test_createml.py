from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.boxes.annotation_files import make_createml, write_json
from tinysight.boxes.findings import Reading
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

BOX = {"x": 25, "y": 40, "width": 30, "height": 40}


def messages(reading: Reading) -> dict[str, str]:
    return {finding.record: f"{finding.kind}: {finding.message}" for finding in reading.findings}


def test_x_and_y_are_the_centre(tmp_path: Path) -> None:
    reading = read_boxes(write_json(tmp_path / "a.json", make_createml()))
    assert (reading.format, str(reading.box_order)) == ("createml", "cxcywh")
    assert reading.table.xywh_px.tolist() == [[10, 20, 30, 40]]
    assert reading.table.image_names == ("a.jpg", "b.jpg")
    assert reading.table.class_names == ("dog",)
    assert len(reading.findings) == 0


def test_keys_of_the_documentation_are_those_in_use(tmp_path: Path) -> None:
    value = [{"imagefilename": "a.jpg", "annotation": [{"label": "dog", "coordinates": BOX}]}]
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.format, reading.accepted, len(reading.findings)) == ("createml", 1, 0)


def test_sizes_come_from_the_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 80)).save(tmp_path / "images/a.jpg")
    path = write_json(tmp_path / "a.json", make_createml())
    reading = read_boxes(path, images_dir=tmp_path / "images")
    assert reading.table.image_wh_px[0].tolist() == [30, 80]
    assert reading.table.xywh_px.tolist() == [[10, 20, 20, 40]]
    assert [finding.kind for finding in reading.findings] == ["over_edge"]


@pytest.mark.parametrize(
    ("order", "box", "expected"),
    [
        ("xywh", BOX, [25, 40, 30, 40]),
        ("cxcywh:rel", {"x": 0.5, "y": 0.5, "width": 0.5, "height": 0.25}, [25, 30, 50, 20]),
    ],
)
def test_another_anchor_or_unit_is_said_by_an_option(
    order: str, box: dict[str, float], expected: list[float], tmp_path: Path
) -> None:
    value = make_createml(annotations=[{"label": "dog", "coordinates": box}])
    path = write_json(tmp_path / "a.json", value)
    reading = read_boxes(path, box_order=order, image_size_wh=(100, 80))
    assert reading.table.xywh_px.tolist() == [expected]


BAD = {
    "no coordinates": (
        {"label": "dog"},
        "box_missing: an annotation must have coordinates with x, y, width and height, got null. "
        "Left out.",
    ),
    "a list of coordinates": (
        {"label": "dog", "coordinates": [1, 2, 3, 4]},
        "box_missing: an annotation must have coordinates with x, y, width and height, got "
        "[1, 2, 3, 4]. Left out.",
    ),
    "a text": (
        "dog",
        "box_missing: an annotation must have coordinates with x, y, width and height, got 'dog'. "
        "Left out.",
    ),
    "no width": (
        {"label": "dog", "coordinates": {"x": 1, "y": 2, "height": 4}},
        "box_not_numbers: a box must have four numbers, got [1, 2, null, 4]. Left out.",
    ),
    "no label": (
        {"coordinates": BOX},
        "unknown_category: an annotation must have a label, got none. Left out.",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_annotation_is_told_beside_good_ones(kind: str, tmp_path: Path) -> None:
    annotation, message = BAD[kind]
    sound = {"label": "dog", "coordinates": BOX}
    value = [
        {"image": "before.jpg", "annotations": [sound, sound]},
        *make_createml(annotations=[sound, annotation, sound]),
    ]
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (5, 4, 1)
    assert messages(reading) == {"images[1].annotations[1]": message}


def test_numbers_as_text_are_read_and_told(tmp_path: Path) -> None:
    text = {key: str(value) for key, value in BOX.items()}
    value = make_createml(annotations=[{"label": 3, "coordinates": text}])
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.repaired, reading.table.class_names) == (1, ("3",))
    assert messages(reading) == {
        "images[0].annotations[0]": "number_as_text: the numbers of a box must be numbers, got the "
        "text ['25', '40', '30', '40']. Repaired."
    }


def test_image_that_is_listed_twice_is_one_and_told(tmp_path: Path) -> None:
    value = [*make_createml(), *make_createml()]
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.images, reading.accepted) == (2, 2)
    told = "repeated_image: an image must be listed once, but {} too is of it. Put together."
    assert messages(reading) == {
        "images[2]": told.format("images[0]"),
        "images[3]": told.format("images[1]"),
    }


def test_image_without_name_and_entry_that_is_no_image_are_told(tmp_path: Path) -> None:
    value: list[Any] = [*make_createml(image=""), 5]
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (2, 1, 1)
    assert reading.table.image_names == ("(image 0)", "b.jpg", "(image 2)")
    assert messages(reading) == {
        "images[0]": "image_without_name: an image must have a file name as `image`, got ''.",
        "images[2].annotations[0]": "box_missing: an annotation must have coordinates with x, y, "
        "width and height, got 5. Left out.",
    }


def test_object_in_the_place_of_the_list_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", make_createml()[0])
    with pytest.raises(DataError) as fault:
        read_boxes(path, format="createml")
    assert str(fault.value) == (
        f"{path}: the whole file: must be what the format has there, but: Expected array, got "
        f"object. Check that this is an annotation file, or name its format with --format."
    )
