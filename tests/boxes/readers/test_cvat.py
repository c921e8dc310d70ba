from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.boxes.annotation_files import make_cvat
from tinysight.boxes.findings import Reading
from tinysight.boxes.readers.cvat import box_of_shape
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def image(*shapes: str, name: str = "a.jpg", size: str = 'width="100" height="80"') -> str:
    return "\n".join([f'<image id="0" name="{name}" {size}>', *shapes, "</image>"])


def box(corners: str = "10.00 20.00 40.00 60.00", more: str = 'label="dog"') -> str:
    xtl, ytl, xbr, ybr = corners.split()
    attributes = f'xtl="{xtl}" ytl="{ytl}" xbr="{xbr}" ybr="{ybr}"'
    return f'<box {more} occluded="0" {attributes} z_order="0"></box>'


def read(tmp_path: Path, body: str, meta: str = "", **options: tuple[int, int]) -> Reading:
    path = tmp_path / "annotations.xml"
    path.write_text(make_cvat(body, meta), encoding="utf-8")
    return read_boxes(path, image_size_wh=options.get("image_size_wh"))


def messages(reading: Reading) -> dict[str, str]:
    return {finding.record: f"{finding.kind}: {finding.message}" for finding in reading.findings}


CUBOID = " ".join(
    f'xtl{side}="{left}" ytl{side}="20" xbl{side}="{left}" ybl{side}="60" '
    f'xtr{side}="{left + 10}" ytr{side}="22" xbr{side}="{left + 10}" ybr{side}="58"'
    for side, left in ((1, 10), (2, 30))
)
SHAPES = {
    "box": (box(), [10, 20, 30, 40]),
    "turned box": (box(more='label="dog" rotation="90.00"'), [5, 25, 40, 30]),
    "polygon": ('<polygon label="dog" points="5.00,7.00;50.00,9.00;20.00,60.00"/>', [5, 7, 45, 53]),
    "ellipse": ('<ellipse label="dog" cx="30" cy="40" rx="20" ry="10"/>', [10, 30, 40, 20]),
    "turned ellipse": (
        '<ellipse label="dog" cx="30" cy="40" rx="20" ry="10" rotation="270"/>',
        [20, 20, 20, 40],
    ),
    "mask": (
        '<mask label="dog" rle="3, 5" left="10" top="20" width="30" height="40"/>',
        [10, 20, 30, 40],
    ),
    "cuboid": (f'<cuboid label="dog" {CUBOID}/>', [10, 20, 30, 40]),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_give_the_boxes_around_them(kind: str, tmp_path: Path) -> None:
    text, expected = SHAPES[kind]
    reading = read(tmp_path, image(text))
    assert (reading.format, str(reading.box_order), len(reading.findings)) == ("cvat", "xyxy", 0)
    assert reading.table.xywh_px.tolist() == [expected]
    assert reading.table.image_wh_px.tolist() == [[100, 80]]
    assert (reading.table.image_names, reading.table.class_names) == (("a.jpg",), ("dog", "cat"))


UNUSABLE = {
    "polyline": (
        '<polyline label="dog" points="1,2;3,4"/>',
        "zero_size: a shape must have an area, got a polyline. Left out.",
    ),
    "points": (
        '<points label="dog" points="1,2;3,4"/>',
        "zero_size: a shape must have an area, got points. Left out.",
    ),
    "skeleton": (
        '<skeleton label="dog"><points label="1" points="1,2"/><points label="2" points="3,4"/>'
        "</skeleton>",
        "zero_size: a shape must have an area, got a skeleton. Left out.",
    ),
    "shape of another kind": (
        '<heart label="dog"/>',
        "unknown_shape: a shape must be one of box, polygon, ellipse, mask, cuboid, polyline, "
        "points, skeleton, got heart. Left out.",
    ),
    "two points": (
        '<polygon label="dog" points="1,2;3,4"/>',
        "wrong_number_of_points: a polygon must have three or more points, got 2. Left out.",
    ),
    "broken points": (
        '<polygon label="dog" points="1,2;3;4,5"/>',
        "box_not_numbers: a point must be two numbers, got ['3']. Left out.",
    ),
    "no points": (
        '<polygon label="dog"/>',
        "box_missing: a shape must have points, got []. Left out.",
    ),
    "no corners": (
        '<box label="dog"/>',
        "box_missing: must have a box of four numbers, got none. Left out.",
    ),
    "corner that is no number": (
        box("10 x 40 60"),
        "box_not_numbers: a box must have four numbers, got [10.0, 'x', 40.0, 60.0]. Left out.",
    ),
    "rotation that is no number": (
        box(more='label="dog" rotation="x"'),
        "box_not_numbers: the rotation of a shape must be a number of degrees, got 'x'. Left out.",
    ),
    "radius that is no number": (
        '<ellipse label="dog" cx="30" cy="40" rx="20" ry="nan"/>',
        "box_not_numbers: a shape must have a number as ry, got 'nan'. Left out.",
    ),
    "mask without a side": (
        '<mask label="dog" rle="3, 5" left="10" top="20" width="30"/>',
        "box_not_numbers: a shape must have a number as height, got none. Left out.",
    ),
    "cuboid without a corner": (
        f'<cuboid label="dog" {CUBOID.replace("xtl1", "x")}/>',
        "box_not_numbers: a point must be two numbers, got [null, '20']. Left out.",
    ),
    "no label": (
        box(more=""),
        "unknown_category: a shape must have a label, got none. Left out.",
    ),
    "turned box of negative size": (
        box("90 70 60 40", 'label="dog" rotation="45"'),
        "negative_size: width and height must be > 0 pixels, got -30 x -30. Left out.",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_shape_that_gives_no_box_is_told_with_its_line(kind: str, tmp_path: Path) -> None:
    text, message = UNUSABLE[kind]
    reading = read(tmp_path, image(box(), text, box()))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (3, 2, 1)
    assert messages(reading) == {"line 7": message}


def test_shapes_of_a_file_without_line_breaks_are_named_by_number(tmp_path: Path) -> None:
    reading = read(tmp_path, image(box(), box("90 70 60 40")).replace("\n", ""))
    assert [finding.record for finding in reading.findings] == ["shape 2"]


def test_tags_and_attributes_are_no_shapes(tmp_path: Path) -> None:
    inner = box().replace("></box>", '><attribute name="mood">fine</attribute></box>')
    reading = read(tmp_path, image(inner, '<tag label="cat" source="manual"></tag>'))
    assert (reading.boxes_read, len(reading.findings)) == (1, 0)


def test_shape_beside_the_images_is_told(tmp_path: Path) -> None:
    reading = read(tmp_path, image(box()) + "\n" + box())
    assert (reading.accepted, reading.rejected) == (1, 1)
    assert messages(reading) == {
        "line 8": "unknown_image: a shape must be in an <image>, or in a <track> with a frame; "
        "this <box> is not. Left out."
    }


def test_joints_of_a_skeleton_are_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    joint = "<label><name>knee</name><parent>cat</parent></label>"
    path.write_text(make_cvat(image(box())).replace("<labels>", f"<labels>{joint}"))
    assert read_boxes(path).table.class_names == ("dog", "cat")


def test_image_without_size_keeps_its_boxes_and_is_told_unless_it_is_given(tmp_path: Path) -> None:
    body = image(box(), size='width="0"')
    assert messages(read(tmp_path, body)) == {
        "line 6": "no_image_size: a file must state the size of its image; its boxes were not "
        "checked with it. Kept as it is."
    }
    assert len(read(tmp_path, body, image_size_wh=(100, 80)).findings) == 0


def test_image_that_is_listed_twice_is_one_and_told(tmp_path: Path) -> None:
    other_task = image(box()).replace('id="0"', 'id="0" task_id="9"')
    reading = read(tmp_path, "\n".join([image(box()), image(box()), other_task]))
    assert (reading.images, reading.accepted) == (2, 3)
    assert messages(reading) == {
        "line 8": "repeated_image: an image must be listed once, but a.jpg is listed before. Put "
        "together."
    }


def test_image_without_name_is_not_that_of_another_file(tmp_path: Path) -> None:
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_text(make_cvat(image(box(), name="")))
    reading = read_boxes(tmp_path)
    assert (reading.format, reading.images, reading.accepted) == ("cvat", 2, 2)
    assert reading.table.image_names == ("(image 0)", "(image 0)")
    assert messages(reading) == {
        "line 5": "image_without_name: an image must have a name, got none."
    }


def test_polygons_of_a_group_are_told(tmp_path: Path) -> None:
    polygon = '<polygon label="dog" points="5,7;50,9;20,60" group_id="1"/>'
    reading = read(tmp_path, image(polygon, polygon, polygon.replace("dog", "cat"), box()))
    assert reading.accepted == 4
    told = (
        "parts_of_a_group: outlines of one label in one group may be parts of one object, and 2 "
        "are in this one; each gives a box of its own. Kept as it is."
    )
    assert messages(reading) == {"line 6": told, "line 7": told}


TRACK = """<track id="0" label="cat" source="manual">
<box frame="0" keyframe="1" outside="0" occluded="0" xtl="10" ytl="20" xbr="40" ybr="60"></box>
<box frame="1" keyframe="0" outside="0" occluded="0" xtl="11" ytl="20" xbr="41" ybr="60"></box>
<box frame="2" keyframe="1" outside="1" occluded="0" xtl="12" ytl="20" xbr="42" ybr="60"></box>
</track>
<track id="1" label="dog">
<polygon frame="1" keyframe="1" outside="0" points="5,7;50,9;20,60"></polygon>
</track>"""
SIZE = "<original_size><width>640</width><height>480</height></original_size>"


def test_tracks_of_a_video_give_a_box_in_each_frame_that_shows_them(tmp_path: Path) -> None:
    reading = read(tmp_path, TRACK, SIZE)
    table = reading.table
    assert (reading.format, reading.boxes_read, reading.accepted) == ("cvat", 3, 3)
    assert len(reading.findings) == 0
    assert table.image_names == ("frame_000000", "frame_000001")
    assert table.image_wh_px.tolist() == [[640, 480], [640, 480]]
    assert table.image_index.tolist() == [0, 1, 1]
    assert [table.class_names[i] for i in table.class_index] == ["cat", "cat", "dog"]
    assert table.xywh_px.tolist() == [[10, 20, 30, 40], [11, 20, 30, 40], [5, 7, 45, 53]]


def test_frames_of_two_videos_are_not_one_image(tmp_path: Path) -> None:
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_text(make_cvat(TRACK, SIZE))
    assert read_boxes(tmp_path).images == 4
    assert read_boxes([tmp_path / "a.xml", tmp_path / "b.xml"]).images == 4


def test_frames_of_a_project_have_the_size_of_their_task(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    other = "<task><id>5</id><original_size><width>64</width><height>48</height></original_size>"
    text = make_cvat(
        TRACK.replace('id="0"', 'id="0" task_id="4"').replace('id="1"', 'id="1" task_id="5"'), SIZE
    )
    path.write_text(text.replace("</task>", f"</task>{other}</task>"))
    table = read_boxes(path).table
    assert table.image_wh_px.tolist() == [[640, 480], [640, 480], [64, 48]]


def test_track_without_a_frame_is_told(tmp_path: Path) -> None:
    reading = read(tmp_path, TRACK.replace('<polygon frame="1"', "<polygon"), SIZE)
    assert [finding.kind for finding in reading.findings] == ["unknown_image"]
    assert (reading.accepted, reading.rejected) == (2, 1)


def test_export_folder_and_gzipped_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.xml").write_text(make_cvat(image(box())))
    assert (read_boxes(tmp_path).format, read_boxes(tmp_path).accepted) == ("cvat", 1)
    packed = tmp_path / "a.xml.gz"
    packed.write_bytes(gzip.compress(make_cvat(image(box())).encode()))
    assert (read_boxes(packed).format, read_boxes(packed).accepted) == ("cvat", 1)


def test_folder_of_both_kinds_of_xml_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(make_cvat(image(box())))
    (tmp_path / "b.xml").write_text("<annotation></annotation>")
    with pytest.raises(
        DataError,
        match=r"it holds a tree of voc and one of cvat\. Pass --format voc or --format cvat, or",
    ):
        read_boxes(tmp_path)
    reading = read_boxes(tmp_path, format="cvat")
    (finding,) = reading.findings
    assert (reading.accepted, finding.kind) == (1, "unreadable_file")
    assert finding.message == (
        "must be a CVAT <annotations>, got <annotation>. Check the file, or name its format with "
        "--format."
    )


def test_file_that_is_cut_off_gives_no_half_of_its_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(make_cvat(image(box())))
    (tmp_path / "b.xml").write_text(make_cvat(image(box(), name="b.jpg"))[:-20])
    reading = read_boxes(tmp_path)
    (finding,) = reading.findings
    assert (reading.boxes_read, reading.images, finding.kind) == (1, 1, "unreadable_file")
    assert finding.message.startswith("must be sound XML, but line ")


HOSTILE = {
    "entities": (
        '<!DOCTYPE annotations [<!ENTITY a "b">]><annotations><image name="&a;"/></annotations>',
        "must be a plain CVAT annotation, but it declares a document type. Remove the DOCTYPE.",
    ),
    "depth": (
        "<annotations>" + "<image>" * 500,
        "must be nested at most 100 deep, got more tags within tags. Export the annotations again.",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_file_is_refused(kind: str, tmp_path: Path) -> None:
    text, message = HOSTILE[kind]
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(DataError) as fault:
        read_boxes(path)
    assert str(fault.value) == f"{path}: {message}"


@given(
    st.floats(0, 100), st.floats(0, 80), st.floats(0, 50), st.floats(0, 50), st.floats(-360, 360)
)
def test_turned_box_holds_its_corners_and_half_a_turn_changes_nothing(
    left: float, top: float, width: float, height: float, turn_deg: float
) -> None:
    def around(degrees: float) -> list[float]:
        corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(repr, plain), strict=True))
        found, fault = box_of_shape("box", {**corners, "rotation": repr(degrees)})
        assert fault is None
        assert isinstance(found, list)
        return found

    plain = [left, top, left + width, top + height]
    found = around(turn_deg)
    assert found == pytest.approx(around(turn_deg + 180), abs=1e-6)
    half = math.hypot(width, height) / 2
    assert found[2] - found[0] <= 2 * half + 1e-6
    assert (found[0] + found[2]) / 2 == pytest.approx(left + width / 2, abs=1e-6)
    assert around(0) == plain
