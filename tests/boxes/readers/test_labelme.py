from __future__ import annotations

import base64
import gzip
import io
import json
import math
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.boxes.annotation_files import make_coco, make_labelme, make_labelme_shape, write_json
from tests.builders import encode
from tinysight.boxes.findings import Reading
from tinysight.boxes.readers import file_bytes, json_text
from tinysight.boxes.readers.labelme import Shape, box_of_shape, read_labelme
from tinysight.boxes.reading import read_boxes
from tinysight.boxes.records import ReadOptions
from tinysight.errors import DataError

shape = make_labelme_shape


def png_text(width: int, height: int) -> str:
    return base64.b64encode(encode(Image.new("1", (width, height), 1))).decode()


def messages(reading: Reading) -> dict[str, str]:
    return {finding.record: f"{finding.kind}: {finding.message}" for finding in reading.findings}


SHAPES = {
    "rectangle": (shape("rectangle", [[10, 20], [40, 60]]), [10, 20, 30, 40]),
    "rectangle drawn from right to left": (
        shape("rectangle", [[40, 20], [10, 60]]),
        [10, 20, 30, 40],
    ),
    "rectangle of four corners": (
        shape("rectangle", [[10, 20], [40, 20], [40, 60], [10, 60]]),
        [10, 20, 30, 40],
    ),
    "polygon": (shape("polygon", [[5, 7], [50, 9], [20, 60]]), [5, 7, 45, 53]),
    "shape without a type": (shape(None, [[5, 7], [50, 9], [20, 60]]), [5, 7, 45, 53]),
    "circle": (shape("circle", [[30, 40], [33, 44]]), [25, 35, 10, 10]),
    "oriented_rectangle": (
        shape("oriented_rectangle", [[30, 10], [50, 30], [30, 50], [10, 30]]),
        [10, 10, 40, 40],
    ),
    "rotation": (shape("rotation", [[30, 10], [50, 30], [30, 50], [10, 30]]), [10, 10, 40, 40]),
    # Whole corners of a mask name pixels; its picture is one larger than their difference.
    "mask": (shape("mask", [[10, 20], [39, 59]], mask=png_text(30, 40)), [10, 20, 30, 40]),
    "mask between pixels": (
        shape("mask", [[10.4, 19.6], [40.4, 59.6]], mask=png_text(30, 40)),
        [10, 20, 30, 40],
    ),
    "mask without picture": (shape("mask", [[10, 20], [39, 59]]), [10, 20, 30, 40]),
    "mask of a broken picture": (
        shape("mask", [[10, 20], [39, 59]], mask="iVBO"),
        [10, 20, 30, 40],
    ),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_give_the_boxes_around_them(kind: str, tmp_path: Path) -> None:
    found, box = SHAPES[kind]
    reading = read_boxes(write_json(tmp_path / "a.json", make_labelme(shapes=[found])))
    assert (reading.format, str(reading.box_order), len(reading.findings)) == ("labelme", "xyxy", 0)
    assert reading.table.xywh_px.tolist() == [box]
    assert reading.table.image_wh_px.tolist() == [[100, 80]]
    assert (reading.table.image_names, reading.table.class_names) == (("a.jpg",), ("dog",))


UNUSABLE = {
    "point": (
        shape("point", [[3, 4]]),
        "zero_size: a shape must have an area, got a point. Left out.",
    ),
    "line": (
        shape("line", [[3, 4], [9, 9]]),
        "zero_size: a shape must have an area, got a line. Left out.",
    ),
    "linestrip": (
        shape("linestrip", [[3, 4], [9, 9], [1, 2]]),
        "zero_size: a shape must have an area, got a line strip. Left out.",
    ),
    "unknown type": (
        shape("heptagon", [[3, 4], [9, 9], [1, 2]]),
        "unknown_shape: the type of a shape must be one of rectangle, circle, cuboid, mask, "
        "oriented_rectangle, polygon, quadrilateral, rotation, point, points, line, linestrip, "
        "linestring, got 'heptagon'. Left out.",
    ),
    "one corner": (
        shape("rectangle", [[3, 4]]),
        "wrong_number_of_points: a rectangle must have two or four points, got 1. Left out.",
    ),
    "no rim": (
        shape("circle", [[3, 4]]),
        "wrong_number_of_points: a circle must have two points, got 1. Left out.",
    ),
    "two points": (
        shape("polygon", [[3, 4], [5, 6]]),
        "wrong_number_of_points: a polygon must have three or more points, got 2. Left out.",
    ),
    "mask of one point": (
        shape("mask", [[3, 4]]),
        "wrong_number_of_points: a mask must have two points, got 1. Left out.",
    ),
    "no points": (
        shape("rectangle", []),
        "box_missing: a shape must have points, got []. Left out.",
    ),
    "a point that is none": (
        shape("rectangle", [[1, 2], [3, None]]),
        "box_not_numbers: a point must be two numbers, got [3, null]. Left out.",
    ),
    "no object": (5, "box_missing: a shape must be an object, got 5. Left out."),
    "no label": (
        shape("rectangle", [[1, 2], [3, 4]], label=None),
        "unknown_category: a shape must have a label, got none. Left out.",
    ),
    "blank label": (
        shape("rectangle", [[1, 2], [3, 4]], label=" "),
        "unknown_category: a shape must have a label, got none. Left out.",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_shape_that_gives_no_box_is_told_beside_those_that_do(kind: str, tmp_path: Path) -> None:
    found, message = UNUSABLE[kind]
    sound = shape("rectangle", [[10, 20], [40, 60]])
    value = make_labelme(shapes=[sound, found, sound])
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (3, 2, 1)
    assert messages(reading) == {"shapes[1]": message}


def test_numbers_and_sizes_as_text_are_read_and_told(tmp_path: Path) -> None:
    value = make_labelme(
        shapes=[shape("rectangle", [["10", "20"], ["40", "60"]], label=7)],
        imageHeight="80",
        imageWidth="100",
    )
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert reading.table.xywh_px.tolist() == [[10, 20, 30, 40]]
    assert (reading.repaired, reading.table.class_names) == (1, ("7",))
    assert messages(reading) == {
        "": "image_size_as_text: the size of an image must be numbers, got the text '100' x '80'. "
        "Read as numbers.",
        "shapes[0]": "number_as_text: the numbers of a point must be numbers, got the text "
        "['10', '20']. Repaired.",
    }


def test_outlines_of_a_group_are_told_and_rectangles_of_one_are_not(tmp_path: Path) -> None:
    triangle = [[5, 7], [50, 9], [20, 60]]
    value = make_labelme(
        shapes=[
            shape("polygon", triangle, group_id=1),
            shape("polygon", triangle, group_id=1),
            shape("polygon", triangle, group_id=2),
            shape("polygon", triangle, group_id=1, label="cat"),
            shape("rectangle", [[1, 2], [3, 4]], group_id=1),
            shape("polygon", triangle),
        ]
    )
    first = write_json(tmp_path / "a.json", value)
    second = write_json(tmp_path / "b.json", make_labelme(value["shapes"][:1], imagePath="b.jpg"))
    reading = read_boxes([first, second])
    assert (reading.boxes_read, reading.accepted) == (7, 7)
    told = (
        "parts_of_a_group: outlines of one label in one group may be parts of one object, and 2 "
        "are in this one; each gives a box of its own. Kept as it is."
    )
    assert messages(reading) == {"shapes[0]": told, "shapes[1]": told}


def test_mask_of_a_file_with_a_shape_that_is_no_object_has_the_size_of_its_picture(
    tmp_path: Path,
) -> None:
    mask = shape("mask", [[10.4, 19.6], [40.4, 59.6]], mask=png_text(30, 40))
    reading = read_boxes(write_json(tmp_path / "a.json", make_labelme([mask, 5])))
    assert reading.table.xywh_px.tolist() == [[10, 20, 30, 40]]
    assert reading.rejected == 1


def test_brackets_without_end_beside_a_shape_that_is_no_object_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"imagePath": "a.jpg", "shapes": [5, ' + "[" * 5000 + "]" * 5000 + "]}")
    with pytest.raises(DataError, match="must be JSON nested at most 1000 deep"):
        read_boxes(path)


def test_half_of_a_surrogate_pair_beside_a_shape_that_is_no_object_is_mended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_text(r'{"imagePath": "a.jpg", "shapes": [5, "\ud800"]}')
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.rejected) == (2, 2)
    assert "not_quite_json" in {finding.kind for finding in reading.findings}


def test_folder_beside_its_images_is_one_source(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.jpg").write_bytes(encode(Image.new("RGB", (100, 80)), "JPEG"))
        write_json(tmp_path / part / "a.json", make_labelme())
    packed = json.dumps(make_labelme([], imagePath="b.jpg")).encode()
    (tmp_path / "val/b.json.gz").write_bytes(gzip.compress(packed))
    reading = read_boxes(tmp_path)
    assert (reading.format, len(reading.decisions), len(reading.files)) == ("labelme", 1, 3)
    assert (reading.images, reading.boxes_read, len(reading.findings)) == (3, 2, 0)
    assert reading.table.image_names == ("a.jpg", "a.jpg", "b.jpg")


def test_two_files_of_one_image_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    first = write_json(tmp_path / "a.json", make_labelme(imagePath="images/a.jpg"))
    value = make_labelme(imagePath="..\\images\\a.jpg")
    second = write_json(tmp_path / "labels/a.json", value)
    reading = read_boxes(tmp_path)
    assert (reading.images, reading.boxes_read) == (1, 2)
    (finding,) = reading.findings
    assert (finding.where, finding.kind) == (str(second), "repeated_image")
    assert finding.message == (
        f"an image must have one file, but {first} is of ..\\images\\a.jpg too. Their boxes were "
        f"put together."
    )


def test_other_json_beside_the_files_is_told_by_name(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", make_labelme())
    (tmp_path / "b.json").write_text("")
    write_json(tmp_path / "c.json", {"name": "settings"})
    reading = read_boxes(tmp_path)
    assert reading.accepted == 1
    found = {Path(finding.where).name: finding.message for finding in reading.findings}
    assert set(found) == {"b.json", "c.json"}
    assert found["c.json"] == (
        "must be a LabelMe file with a list as `shapes`, got none. Check the file, or name its "
        "format with --format."
    )
    assert {finding.kind for finding in reading.findings} == {"unreadable_file"}


def test_folder_with_a_coco_file_as_well_is_asked_about(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", make_labelme())
    write_json(tmp_path / "b.json", make_labelme(imagePath="b.jpg"))
    write_json(tmp_path / "coco.json", make_coco())
    with pytest.raises(
        DataError,
        match=r"it holds a tree of labelme and coco\.json\. Pass --format labelme, or name the "
        r"file that is meant\.$",
    ):
        read_boxes(tmp_path)
    reading = read_boxes(tmp_path, format="labelme")
    assert (reading.accepted, [finding.kind for finding in reading.findings]) == (
        2,
        ["unreadable_file"],
    )


@pytest.mark.parametrize(
    ("shapes", "found"), [({"label": "a"}, "{'label': 'a'}"), (5, "5"), (None, "none")]
)
def test_shapes_that_are_no_list_are_refused(shapes: Any, found: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", make_labelme(shapes))
    with pytest.raises(DataError) as fault:
        read_boxes(path)
    assert str(fault.value) == (
        f"{path}: must be a LabelMe file with a list as `shapes`, got {found}. Check the file, or "
        f"name its format with --format."
    )


def test_image_without_name_is_called_by_its_file(tmp_path: Path) -> None:
    reading = read_boxes(write_json(tmp_path / "x.json", make_labelme(imagePath=None)))
    assert reading.table.image_names == ("x",)
    assert messages(reading) == {
        "": "image_without_name: a file must name its image as imagePath, got none. The image is "
        "called x."
    }


def test_size_is_that_of_the_image_beside_upright_then_that_of_the_image_inside(
    tmp_path: Path,
) -> None:
    inside = base64.b64encode(encode(Image.new("RGB", (90, 70)), "JPEG")).decode()
    value = make_labelme(imageHeight=None, imageWidth=None, imageData=inside)
    path = write_json(tmp_path / "a.json", value)
    assert read_boxes(path).table.image_wh_px.tolist() == [[90, 70]]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.new("RGB", (100, 80)).save(tmp_path / "a.jpg", exif=exif)
    reading = read_boxes(path)
    assert reading.table.image_wh_px.tolist() == [[80, 100]]
    assert len(reading.findings) == 0


def test_size_that_nothing_tells_is_told_unless_it_is_given(tmp_path: Path) -> None:
    value = make_labelme(imageHeight=0, imageWidth="x", imageData="no picture")
    path = write_json(tmp_path / "a.json", value)
    assert messages(read_boxes(path)) == {
        "shapes[0]": "no_image_size: a file must state the size of its image; its boxes were not "
        "checked with it. Kept as it is."
    }
    reading = read_boxes(path, image_size_wh=(50, 60))
    assert (reading.table.image_wh_px.tolist(), len(reading.findings)) == ([[50, 60]], 0)


@pytest.mark.parametrize(("num_bytes", "heads"), [(10, 0), (2 * 2**20, 1)])
def test_a_small_file_is_read_at_once(
    num_bytes: int, heads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_json(tmp_path / "a.json", make_labelme(imageData="A" * num_bytes))
    asked: list[Path] = []

    def read_head(path: Path) -> bytes:
        asked.append(path)
        return file_bytes.read_head(path)

    monkeypatch.setattr(json_text, "read_head", read_head)
    assert read_boxes(path).accepted == 1
    assert asked == [path] * heads


@pytest.mark.parametrize("format", ["labelme", "cvat"])
def test_an_archive_is_called_one_by_every_reader(format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(
        DataError, match=r"a\.zip: must be annotations, plain or gzipped, but it is"
    ):
        read_boxes(path, format=format)


def test_picture_inside_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    size = 16 * 2**20
    value = make_labelme(imageData="A" * size)
    path = write_json(tmp_path / "a.json", value)
    tracemalloc.start()
    start = time.process_time()
    raw = read_labelme([path], ReadOptions())
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(raw.numbers) == 1
    assert peak < 1.1 * size  # the file itself
    assert seconds < 5


def test_detection_looks_past_no_picture_and_finds_the_format_by_its_key(tmp_path: Path) -> None:
    value = {"flags": {}, "imageData": "A" * 100_000, **make_labelme()}
    reading = read_boxes(write_json(tmp_path / "a.json", value))
    assert (reading.format, reading.accepted) == ("labelme", 1)


points = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 80)).map(list), min_size=3, max_size=20)


@given(points)
def test_box_around_a_polygon_is_that_of_the_extremes(xy: list[list[float]]) -> None:
    box, fault = box_of_shape("polygon", Shape(points=xy))
    found = np.array(xy)
    assert (box, fault) == ([*found.min(axis=0), *found.max(axis=0)], None)


@given(st.floats(0, 100), st.floats(0, 80), st.floats(0, 50), st.floats(0, 2 * math.pi))
def test_box_around_a_circle_is_the_same_whichever_point_of_its_rim_is_named(
    cx: float, cy: float, radius: float, angle: float
) -> None:
    on_rim = [cx + radius * math.cos(angle), cy + radius * math.sin(angle)]
    box, fault = box_of_shape("circle", Shape(points=[[cx, cy], on_rim]))
    expected = [cx - radius, cy - radius, cx + radius, cy + radius]
    assert fault is None
    assert box == pytest.approx(expected, abs=1e-9)


def test_bytes_of_the_picture_are_not_read_where_the_size_is_stated(tmp_path: Path) -> None:
    inside = base64.b64encode(io.BytesIO(b"no picture").getvalue()).decode()
    reading = read_boxes(write_json(tmp_path / "a.json", make_labelme(imageData=inside)))
    assert (reading.table.image_wh_px.tolist(), len(reading.findings)) == ([[100, 80]], 0)
