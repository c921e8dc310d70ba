"""VIA, WIDER FACE, Tiny ImageNet and plain rows."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def region(name: str, label: Any = "dog", **shape: Any) -> dict[str, Any]:
    return {
        "shape_attributes": {"name": name, **shape},
        "region_attributes": {"class": label} if label is not None else {},
    }


SHAPES = [
    region("rect", x=10, y=20, width=30, height=40),
    region("polygon", "cat", all_points_x=[5, 50, 20], all_points_y=[7, 9, 60]),
    region("circle", cx=30, cy=40, r=10),
    region("ellipse", {"cat": True, "dog": False}, cx=30, cy=40, rx=20, ry=10),
]
AROUND = [[10, 20, 30, 40], [5, 7, 45, 53], [20, 30, 20, 20], [10, 30, 40, 20]]


@pytest.mark.parametrize("version", [1, 2])
def test_via_shapes_give_the_boxes_around_them(version: int, tmp_path: Path) -> None:
    regions: Any = SHAPES if version == 2 else {str(i): shape for i, shape in enumerate(SHAPES)}
    entries = {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": regions}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"_via_img_metadata": entries} if version == 2 else entries))
    reading = read_boxes(path)
    assert (reading.format, len(reading.findings)) == ("via", 0)
    assert reading.table.xywh_px.tolist() == AROUND
    names = [reading.table.class_names[i] for i in reading.table.class_index]
    assert names == ["dog", "cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("theta", "box"),
    [
        (0, [20, 90, 160, 20]),
        (math.pi / 2, [90, 20, 20, 160]),
        ("1.5708", [90, 20, 20, 160]),
        (-math.pi / 4, [100 - 3250**0.5, 100 - 3250**0.5, 2 * 3250**0.5, 2 * 3250**0.5]),
    ],
)
def test_via_ellipse_is_turned_by_radians(theta: Any, box: list[float], tmp_path: Path) -> None:
    shape = region("ellipse", cx=100, cy=100, rx=80, ry=10, theta=theta)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": [shape]}}))
    assert read_boxes(path).table.xywh_px == pytest.approx(np.array([box]), abs=1e-3)


@pytest.mark.parametrize("theta", [math.inf, math.nan, 1e308, "much", None])
def test_via_ellipse_of_no_angle_is_left_out(theta: Any, tmp_path: Path) -> None:
    shape = region("ellipse", cx=100, cy=100, rx=80, ry=10, theta=theta)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": [shape]}}))
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.rejected) == (1, 1)
    assert "box_not_numbers" in {finding.kind for finding in reading.findings}


def test_via_regions_that_are_no_boxes_are_named(tmp_path: Path) -> None:
    regions = [
        *SHAPES,
        region("point", cx=3, cy=4),
        region("rect", None, x=1, y=2, width=3, height=4),
        region("rect", x=1, y=2, width=3),
        {"region_attributes": {}},
        region("polygon", all_points_x=[1], all_points_y=[]),
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"k": {"filename": "a.jpg", "regions": regions}}))
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.table.num_boxes, reading.rejected) == (9, 5, 4)
    assert sorted((finding.record, finding.kind) for finding in reading.findings) == [
        ("images[0].regions[4]", "zero_size"),
        ("images[0].regions[5]", "unknown_category"),
        ("images[0].regions[6]", "box_not_numbers"),
        ("images[0].regions[7]", "box_missing"),
        ("images[0].regions[8]", "box_missing"),
    ]


def test_via_file_without_regions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"_via_img_metadata": {}}')
    with pytest.raises(DataError, match="must have images with `regions`, but has none"):
        read_boxes(path)


WIDER = """0--Parade/a.jpg
2
10 20 30 40 0 0 0 0 0 0\x20
1 2 3 4 2 0 1 1 2 0
0--Parade/b.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/c.jpg
1
5 6 0 9 0 0 0 1 0 0
"""


def test_wider_face_is_read_with_its_images_without_faces(tmp_path: Path) -> None:
    path = tmp_path / "wider_face_train_bbx_gt.txt"
    path.write_text(WIDER)
    reading = read_boxes(path)
    table = reading.table
    assert (reading.format, reading.boxes_read, reading.rejected) == ("wider-face", 3, 1)
    assert table.xywh_px.tolist() == [[10, 20, 30, 40], [1, 2, 3, 4]]
    assert table.image_names == ("0--Parade/a.jpg", "0--Parade/b.jpg", "1--Handshaking/c.jpg")
    assert table.class_names == ("face",)
    (finding,) = reading.findings
    assert (finding.record, finding.kind) == ("line 10", "zero_size")


def test_wider_face_with_a_wrong_count_says_where(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(WIDER.replace("jpg\n2\n", "jpg\n3\n"))
    messages = [finding.message for finding in read_boxes(path).findings]
    assert (
        "before line 5: an image must have as many rows as it says, 3, got 2. All rows were read."
    ) in messages


def test_tiny_imagenet_tree_is_read_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    (tmp_path / "words.txt").write_text("n01\tlemon\nn02\tbrain coral\nn03\tcity\n")
    for wnid in ("n01", "n02"):
        (tmp_path / "train" / wnid).mkdir(parents=True)
        (tmp_path / "train" / wnid / f"{wnid}_boxes.txt").write_text(
            f"{wnid}_0.JPEG\t0\t0\t63\t63\n"
        )
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t5\t7\t5\t20\n")
    reading = read_boxes(tmp_path)
    table = reading.table
    assert (reading.format, str(reading.box_order)) == ("tiny-imagenet", "xyxy:last")
    # 0 to 63 is the whole image, 5 to 5 one column of pixels.
    assert table.xywh_px.tolist() == [[0, 0, 64, 64], [0, 0, 64, 64], [5, 7, 1, 14]]
    assert table.class_names == ("brain coral", "lemon")
    assert table.category_ids == ("n02", "n01")
    assert table.class_index.tolist() == [1, 0, 1]
    assert len(reading.findings) == 0


def test_class_of_a_gzipped_file_of_tiny_imagenet_is_its_wnid(tmp_path: Path) -> None:
    path = tmp_path / "n01443537_boxes.txt.gz"
    path.write_bytes(gzip.compress(b"n01443537_0.JPEG\t0\t0\t63\t63\n"))
    assert read_boxes(path).table.class_names == ("n01443537",)


def test_plain_rows_keep_good_lines_and_name_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "id: 0, height: 330, width: 1093, bbox:[69, 464, 312, 175],\r\n"
        "id: 12, height: 330, width: 1093, bbox:[69, x, 312, 175],\r\n"
        "id: 2, height: , width: 1093, bbox:[69, 464, 312, 175],\r\n"
        "id: 2, height: 330, width: 1093\r\n\r\n"
        "id: 2, height: 330, width: 1093, bbox:[69, 464, 312, 175]"
    )
    reading = read_boxes(path, box_order="yxwh")
    assert reading.table.xywh_px.tolist() == [[464, 69, 312, 175]] * 3
    assert reading.table.class_names == ("0", "2", "12")
    assert {finding.record: finding.kind for finding in reading.findings} == {
        "line 2": "box_not_numbers",
        "line 3": "no_image_size",
        "line 4": "box_missing",
    }


def test_plain_rows_of_one_line_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "id: 0, height: 80, width: 100, bbox:[1, 2, 30, 40], id: 1, bbox:[5, 6, 70, 8],\n"
        "bbox:[1, 2, 3, 4], id: 2, height: 80, width: 100, bbox:[5, 6, 7, 8], id: 3\n"
    )
    reading = read_boxes(path, box_order="xywh")
    table = reading.table
    assert table.xywh_px.tolist() == [[1, 2, 30, 40], [5, 6, 70, 8], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert table.class_names == ("0", "1", "2", "3")
    assert table.image_wh_px.tolist() == [[100, 80]] * 4
    assert len(reading.findings) == 0


def test_plain_row_without_an_id_is_of_no_class(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("height: 80, width: 100, bbox:[1, 2, 30, 40]\n")
    reading = read_boxes(path, box_order="xywh")
    assert reading.table.class_names == ("(no class)",)
    (finding,) = reading.findings
    assert str(finding) == (
        f"{path}: line 1: a row must have an id, which is the class of its box, got none. Kept as "
        f"it is."
    )


def via_file(path: Path, *entries: Any) -> Path:
    named = {f"{i}": {"filename": f"{i}.jpg", "size": 1, **e} for i, e in enumerate(entries)}
    path.write_text(json.dumps(named))
    return path


def with_attributes(*each: dict[str, Any]) -> dict[str, Any]:
    shape = {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 40}
    return {"regions": [{"shape_attributes": shape, "region_attributes": one} for one in each]}


def test_via_regions_are_counted_in_their_image(tmp_path: Path) -> None:
    flat = region("rect", x=1, y=2, width=3, height=0)
    path = via_file(tmp_path / "a.json", {"regions": SHAPES}, {"regions": [SHAPES[0], flat]})
    assert [finding.record for finding in read_boxes(path).findings] == ["images[1].regions[1]"]


def test_via_image_without_regions_is_an_image_without_boxes(tmp_path: Path) -> None:
    path = via_file(tmp_path / "a.json", {"regions": SHAPES}, {"regions": None}, {})
    reading = read_boxes(path)
    assert (reading.images, reading.boxes_read, reading.accepted) == (3, 4, 4)
    message = "an image must have regions, if only an empty list, got none. It has no box."
    assert [(finding.record, finding.kind, finding.message) for finding in reading.findings] == [
        (f"images[{number}]", "image_without_regions", message) for number in (1, 2)
    ]


def test_via_polyline_has_no_area(tmp_path: Path) -> None:
    line = region("polyline", all_points_x=[1, 50], all_points_y=[5, 60])
    reading = read_boxes(via_file(tmp_path / "a.json", {"regions": [line]}))
    (finding,) = reading.findings
    assert (finding.kind, finding.action, finding.message) == (
        "zero_size",
        "rejected",
        "a region must have an area, got a polyline. Left out.",
    )


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ([{"id": "1", "Class": "dog"}, {"id": "2", "Class": "dog"}], ("dog",)),
        ([{"name": "rex", "type": "dog"}, {"name": "bob"}], ("dog", "(no class)")),
        ([{"kind": "dog", "type": "x"}, {"kind": "cat"}, {"kind": "cat"}], ("dog", "cat")),
        (
            [{"n": "1", "kind": "dog"}, {"n": "2", "kind": "cat"}, {"n": 3, "kind": "cat"}],
            ("dog", "cat"),
        ),
        ([{}], ("(no class)",)),
    ],
)
def test_via_class_is_the_attribute_that_names_one(
    attributes: list[dict[str, Any]], names: tuple[str, ...], tmp_path: Path
) -> None:
    path = via_file(tmp_path / "a.json", with_attributes(*attributes))
    assert read_boxes(path).table.class_names == names


def test_via_check_boxes_of_which_two_are_set_are_told(tmp_path: Path) -> None:
    both = {"type": {"ant": False, "dog": True, "cat": True}}
    reading = read_boxes(via_file(tmp_path / "a.json", with_attributes(both)))
    assert reading.table.class_names == ("dog",)
    (finding,) = reading.findings
    assert (finding.kind, finding.message) == (
        "several_classes",
        "a region must have one class, got dog, cat. The first is used. Kept as it is.",
    )


@pytest.mark.parametrize("rows", ["", "10 10 20 30 0 0 0 0 0 0\n"])
def test_wider_face_without_a_count_says_so(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0--P/a.jpg\n1\n10 10 20 20 0 0 0 0 0 0\n0--P/b.jpg\n{rows}")
    reading = read_boxes(path)
    assert reading.boxes_read == (2 if rows else 1)
    (finding,) = reading.findings
    assert (finding.kind, finding.message) == (
        "wrong_row_count",
        f"before line {6 if rows else 5}: an image must state how many faces follow, got none. All "
        f"rows were read.",
    )
